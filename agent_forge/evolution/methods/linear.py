"""Weighted average of parameters: model soups (Wortsman et al. 2022, https://arxiv.org/abs/2203.05482)."""

from collections.abc import Iterable, Sequence

import torch


def linear(parents: Iterable[torch.Tensor], weights: Sequence[float], normalize: bool = True) -> torch.Tensor:
    """Return sum(w_i x_i), divided by sum(w_i) where `normalize`.

    Args:
        parents: floating tensors of one shape, one at a time.
        weights: one for each parent; their sum must not be zero where `normalize`.
        normalize: whether only the ratios of weights matter.
    """
    total: torch.Tensor | None = None
    for parent, weight in zip(parents, weights, strict=True):
        total = parent * weight if total is None else total.add_(parent, alpha=weight)
    if total is None:
        raise ValueError("no parents to average")
    return total.div_(sum(weights)) if normalize else total
