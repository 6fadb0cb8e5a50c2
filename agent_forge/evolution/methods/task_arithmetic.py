"""Task arithmetic (Ilharco et al. 2022, https://arxiv.org/abs/2212.04089).

A task vector is what fine-tuning changed: parent minus base. Weighted task vectors are added to the base.
"""

from collections.abc import Iterable, Sequence

import torch

# A sum of weights below this is taken as one; mergekit's value.
_NOTHING = 1e-8


def task_arithmetic(
    base: torch.Tensor,
    parents: Iterable[torch.Tensor],
    weights: Sequence[float],
    scale: float = 1.0,
    normalize: bool = False,
) -> torch.Tensor:
    """Return base + scale * sum(w_i (x_i - base)).

    Args:
        base: what the parents were fine-tuned from.
        parents: tensors of its shape, one at a time.
        weights: one for each parent.
        scale: of the sum, lambda in the paper.
        normalize: whether the sum is divided by the sum of weights.
    """
    return combine(base, (parent - base for parent in parents), weights, scale, normalize)


def combine(
    base: torch.Tensor, deltas: Iterable[torch.Tensor], weights: Sequence[float], scale: float, normalize: bool
) -> torch.Tensor:
    """Return base + scale * sum(w_i d_i), the sum divided by that of the weights where `normalize`."""
    total = torch.zeros_like(base)
    for delta, weight in zip(deltas, weights, strict=True):
        total.add_(delta, alpha=weight)
    divisor = sum(weights)
    if normalize and abs(divisor) >= _NOTHING:
        total.div_(divisor)
    return total.mul_(scale).add_(base)
