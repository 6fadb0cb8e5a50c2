"""TIES: trim, elect signs, merge what agrees (Yadav et al. 2023, https://arxiv.org/abs/2306.01708).

Trim keeps the largest entries of every task vector. The elected sign of a parameter is that of the sum of the
weighted, trimmed task vectors. Only the entries of that sign are averaged; a trimmed entry has none and does not count.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

_CHUNK = 1 << 20


def ties(
    base: torch.Tensor,
    parents: Iterable[torch.Tensor],
    weights: Sequence[float],
    densities: Sequence[float],
    scale: float = 1.0,
    normalize: bool = True,
) -> torch.Tensor:
    """Return base + scale * the disjoint mean of trimmed task vectors.

    Args:
        base: what the parents were fine-tuned from.
        parents: tensors of its shape, one at a time.
        weights: one for each parent.
        densities: fraction of entries that every task vector keeps, in (0, 1].
        scale: of the mean, lambda in the paper.
        normalize: mean (the paper) or sum of what agrees.
    """
    trimmed = [trim(parent - base, density) for parent, density in zip(parents, densities, strict=True)]
    return agree(base, trimmed, weights, scale, normalize)


def trim(delta: torch.Tensor, density: float) -> torch.Tensor:
    """Return a copy with exactly max(1, floor(density * n)) entries of largest magnitude, zeros elsewhere.

    Of equal magnitudes the first in memory are kept, so the result does not depend on how anything sorts.
    """
    count = delta.numel()
    if density >= 1 or count == 0:
        return delta.clone()
    kept = max(1, int(density * count))
    sizes = delta.detach().abs().reshape(-1).numpy()
    smallest = float(np.partition(sizes, count - kept)[count - kept])
    mask = sizes > smallest
    ties_at_edge = np.flatnonzero(sizes == smallest)
    mask[ties_at_edge[: kept - int(mask.sum())]] = True
    return delta * torch.from_numpy(mask).reshape(delta.shape)


def agree(
    base: torch.Tensor, deltas: Sequence[torch.Tensor], weights: Sequence[float], scale: float, normalize: bool
) -> torch.Tensor:
    """Return base + scale * the sum of weighted entries of the elected sign, divided by their weights if `normalize`.

    A sum of zero elects plus. Where the weights that count sum to zero, the sum is left undivided.
    """
    merged = torch.empty_like(base, memory_format=torch.contiguous_format)
    flat = [delta.reshape(-1) for delta in (base, *deltas)]
    weights_K1 = torch.tensor(weights, dtype=base.dtype).unsqueeze(1)
    for start in range(0, base.numel(), _CHUNK):
        base_N, *deltas_N = (part[start : start + _CHUNK] for part in flat)
        mixed = _elected(torch.stack(deltas_N).mul_(weights_K1), weights_K1, normalize)
        merged.view(-1)[start : start + _CHUNK] = mixed.mul_(scale).add_(base_N)
    return merged


def _elected(deltas_KN: torch.Tensor, weights_K1: torch.Tensor, normalize: bool) -> torch.Tensor:
    positive_N = deltas_KN.sum(dim=0) >= 0
    counts_KN = torch.where(positive_N, deltas_KN > 0, deltas_KN < 0)
    mixed_N = (deltas_KN * counts_KN).sum(dim=0)
    if normalize:
        divisor_N = (weights_K1 * counts_KN).sum(dim=0)
        mixed_N.div_(torch.where(divisor_N == 0, 1, divisor_N))
    return mixed_N
