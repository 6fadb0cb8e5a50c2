"""What vLLM calls after each of its steps; vLLM imports it by name, and nothing else may, for it needs vLLM."""

from typing import Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from agent_forge.models.vllm_engine import KEY, RUNNING
from agent_forge.models.vllm_rows import Places


class RowProcessor(LogitsProcessor):  # type: ignore[misc]
    """Feeds the rows of `vllm_engine.RUNNING` what they are to be fed."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        del vllm_config, device, is_pin_memory
        self._places = Places()

    def is_argmax_invariant(self) -> bool:
        """Say that it decides, greedy or not."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow a change of the batch."""
        if batch_update is None:
            return
        self._places.update(
            batch_update.removed,
            [(place, RUNNING[params.extra_args[KEY]], tokens) for place, params, _, tokens in batch_update.added],
            [(source, target, how == MoveDirectionality.SWAP) for source, target, how in batch_update.moved],
        )

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Leave every row its next token."""
        return self._places.choose(logits)
