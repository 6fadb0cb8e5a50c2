"""How fast a bake trains, in tokens per second and as a share of what the device's matrix products could do.

Model flops are those that training cannot do without (Chowdhery et al., PaLM, 2022, arXiv:2204.02311, appendix B): two
for each weight and token forward, two backward for the hidden states, and two more where the weight itself is trained,
which under LoRA it is not. The output head counts for supervised tokens only, since it is computed for no others.
Attention between tokens is left out: traces are short. The device's rate is measured, not looked up: the best of a few
plain products of large matrices in the arithmetic of the bake. So utilisation holds for this machine as it is now.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedModel

from agent_forge.models.packing import TrainingExample

PRODUCTS = 5


@dataclass(frozen=True)
class Throughput:
    """Training tokens per second, and model flops as a share of the rate of plain matrix products."""

    tokens_per_second: float
    utilisation: float


class Stopwatch:
    """Times the steps of a bake, evaluations between them included; the first step seen starts it."""

    def __init__(self, flops_per_token: float) -> None:
        self._flops_per_token = flops_per_token
        self._ticks: list[tuple[float, int]] = []

    def tick(self, tokens: int) -> None:
        """Note that a step has ended, and how many tokens have been trained on by then."""
        self._ticks = [*self._ticks[:1], (time.perf_counter(), tokens)]

    def read(self, device: torch.device, dtype: torch.dtype) -> Throughput | None:
        """Return the throughput; None when fewer than two steps were seen."""
        if len(self._ticks) < 2:
            return None
        (began, before), (ended, after) = self._ticks
        rate = (after - before) / (ended - began)
        return Throughput(rate, rate * self._flops_per_token / product_rate(device, dtype))


def flops_per_token(
    model: PreTrainedModel, method: Literal["lora", "full"], examples: Sequence[TrainingExample]
) -> float:
    """Return the model flops of one training token, averaged over the examples' supervised and other tokens."""
    head = getattr(model.get_output_embeddings(), "weight", None)
    tables = {id(head), id(getattr(model.get_input_embeddings(), "weight", None))}
    body = sum(value.numel() for value in model.parameters() if value.ndim > 1 and id(value) not in tables)
    supervised = sum(example.targets for example in examples) / sum(len(example.input_ids) for example in examples)
    output = 0 if head is None else head.numel()
    return float((6 if method == "full" else 4) * (body + supervised * output))


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the flops per second of the fastest of a few products of square matrices."""
    size = 8192 if device.type == "cuda" else 1024
    # Numbers as models have them: a GPU multiplies equal ones faster, at less power.
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator, device=device, dtype=dtype) for _ in range(2))
    fastest = float("inf")
    for _ in range(PRODUCTS):
        began = time.perf_counter()
        product = left @ right
        float(product[0, 0])  # waits for the device
        fastest = min(fastest, time.perf_counter() - began)
    return 2 * size**3 / fastest
