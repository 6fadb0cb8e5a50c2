"""The vLLM engine: vLLM computes logits, this package chooses what is fed; see `vllm_rows.py`.

vLLM shares what prompts begin with (automatic prefix caching) and lets rows come and go. It runs in this very process,
because its batches ask this process's rows what to feed. vLLM is no dependency of the package but wants an environment
of its own: this module is imported where `engine` is `vllm`, and imports vLLM where it is used.
"""

import importlib.util
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from agent_forge.errors import ConfigError, EngineError
from agent_forge.models.choosing import Decoding, choose_tokens
from agent_forge.models.device import resolve_device
from agent_forge.models.engine import STRETCH
from agent_forge.models.load import LoadedModel, load_outline
from agent_forge.models.memory import give_back_memory
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, Sampled, TransformersSampler, plan_batches
from agent_forge.models.vllm_rows import Row
from agent_forge.thoughts import RowState, ThoughtRules

# Wherever the user has set nothing else. In this process: rows are here. No usage statistics: nobody asked for them.
# The first runner: the second takes no logits processors of this interface. Threads are not bound to cores, because
# the bake runs in this process too. Gibibytes for keys and values where there is no device memory to take a share of.
SURROUNDINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "2",
}
# Under this name a row's number goes through vLLM's sampling parameters.
KEY = "forge_row"
# The rows that vLLM is decoding, by number: it copies parameters, so they cannot carry the rows themselves.
RUNNING: dict[int, Row] = {}
_numbers = count()


def require_vllm() -> None:
    """Refuse to go on without vLLM.

    Raises:
        ConfigError: when it is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "engine is vllm but vllm is not installed; pip install 'agent-forge[vllm]' in an environment of its own, "
            "or use engine sharing"
        )


class VllmModel:
    """A model in vLLM.

    Args:
        path: directory of the model.
        device, dtype: as in the configuration.

    Attributes:
        loaded: everything about the model but its weights.
    """

    def __init__(self, path: Path, device: str, dtype: str) -> None:
        require_vllm()
        outlined = load_outline(path, device, dtype)
        # vLLM takes a share of the whole device, so what was loaded before must not be kept for later.
        give_back_memory()
        os.environ.update({name: value for name, value in SURROUNDINGS.items() if name not in os.environ})
        self._llm = _open(path, outlined, resolve_device(device))
        most = int(self._llm.llm_engine.model_config.max_model_len)
        self.loaded = replace(outlined, context_length=min(most, outlined.context_length or most))
        # Its memory is the device's, not only Python's: given back as soon as nobody holds the model.
        weakref.finalize(self, _close, self._llm)

    def decode(self, rows: Sequence[tuple[Sequence[int], int, Row]]) -> None:
        """Decode rows until they are done.

        Args:
            rows: what each is given, the most tokens it can come to, and the row.

        Raises:
            EngineError: when vLLM ends a row before it is done, or has other tokens than it was left with.
        """
        from vllm import SamplingParams

        keys = {next(_numbers): row for *_, row in rows}
        RUNNING.update(keys)
        try:
            written = self._llm.generate(
                [{"prompt_token_ids": list(known)} for known, *_ in rows],
                [
                    SamplingParams(
                        temperature=0,
                        max_tokens=most,
                        detokenize=False,
                        ignore_eos=True,
                        stop_token_ids=[row.stop_id],
                        extra_args={KEY: key},
                    )
                    for key, (_, most, row) in zip(keys, rows, strict=True)
                ],
                use_tqdm=False,
            )
        finally:
            for key in keys:
                del RUNNING[key]
            # A stretch shares nothing with the next, so that a run which goes on after it makes the same passes.
            self._llm.reset_prefix_cache()
        for (*_, row), output in zip(rows, written, strict=True):
            _check_whole(row, output.outputs[0])


class VllmSampler(TransformersSampler):
    """Samples like the reference from a model in vLLM, which decides how many rows are decoded together."""

    shares = True

    def __init__(self, model: VllmModel, prompting: Prompting, rules: ThoughtRules, decoding: Decoding) -> None:
        super().__init__(model.loaded.model, prompting, rules, decoding, model.loaded.context_length)
        self._vllm = model

    def batches(self, requests: Sequence[Request], batch_size: int) -> Iterator[list[Sampled]]:
        """Yield the samples of one stretch of rows after the other, in the order of `plan_batches`.

        Raises:
            QuestionError: when a row cannot fit in the model's context.
        """
        self.check_fits(requests)
        for stretch in plan_batches(requests, batch_size * STRETCH):
            yield self._write([requests[number] for number in stretch])

    def propose(self, logits_BV: torch.Tensor, rows: Sequence[RowState], numbers: Sequence[float]) -> list[int]:
        """Choose a token per row as the reference does; see `vllm_rows.Chooser`."""
        self._ban(logits_BV, list(rows))
        numbers_B = torch.tensor(numbers, dtype=torch.float64).to(logits_BV.device)
        proposed: list[int] = choose_tokens(logits_BV, numbers_B, self._decoding).tolist()
        return proposed

    def _write(self, requests: list[Request]) -> list[Sampled]:
        rows = [self._row(request) for request in requests]
        self._vllm.decode(
            [
                ((*request.prompt_ids, *request.script.prefix_ids), self._most_steps(request.script) + 1, row)
                for request, row in zip(requests, rows, strict=True)
            ]
        )
        return [self._outcome(row.state) for row in rows]

    def _row(self, request: Request) -> Row:
        (numbers,) = self._uniforms([request])
        return Row(lambda: self._state(request), numbers, min(self._rules.eos_ids), self)


def _open(path: Path, outlined: LoadedModel, device: torch.device) -> Any:
    """Load a model into vLLM.

    Raises:
        ConfigError: when vLLM is built for another device, or cannot hold the model.
    """
    from vllm import LLM
    from vllm.platforms import current_platform

    if current_platform.device_type != device.type:
        raise ConfigError(
            f"the installed vllm runs on {current_platform.device_type}, and device is {device}; install vllm's build "
            "for this device, or choose the other device"
        )
    if device.index:
        raise ConfigError(f"device is {device}, but vllm takes the first it sees; set CUDA_VISIBLE_DEVICES instead")
    try:
        return LLM(
            model=str(path),
            dtype=str(outlined.dtype).removeprefix("torch."),
            max_model_len=outlined.context_length or -1,
            skip_tokenizer_init=True,
            enable_prefix_caching=True,
            # The choice of a token waits for the logits, so there is nothing to run ahead of.
            async_scheduling=False,
            logits_processors=["agent_forge.models.vllm_processor:RowProcessor"],
            disable_log_stats=True,
            # What is compiled depends on the device; without one, compiling costs more than it saves.
            enforce_eager=device.type == "cpu",
        )
    except (ValueError, RuntimeError, NotImplementedError) as cause:
        first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise ConfigError(f"vLLM cannot load {path}: {first}; use engine sharing") from cause


def _check_whole(row: Row, written: Any) -> None:
    if not row.state.done or list(written.token_ids) != row.fed:
        raise EngineError(
            f"vLLM ended a row after {len(written.token_ids)} tokens ({written.finish_reason}) that was fed "
            f"{len(row.fed)}; use engine sharing"
        )


def _close(llm: Any) -> None:
    llm.llm_engine.engine_core.shutdown()
    give_back_memory()
