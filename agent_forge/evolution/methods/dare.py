"""DARE: drop entries of task vectors at random and rescale the rest (Yu et al. 2023, https://arxiv.org/abs/2311.03099).

The paper rescales by 1 / density, which keeps every entry's expectation. mergekit rescales by the ratio of the l1
norms before and after, which is 1 / density on average and keeps the norm itself.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import torch

from agent_forge.evolution.methods.task_arithmetic import combine
from agent_forge.evolution.methods.ties import agree

Rescale = Literal["norm", "density", "none"]

# Norms below this are not divided by; mergekit's value.
_NOTHING = 1e-7


def dare(
    base: torch.Tensor,
    parents: Iterable[torch.Tensor],
    masks: Iterable[torch.Tensor],
    weights: Sequence[float],
    densities: Sequence[float],
    *,
    rescale: Rescale = "norm",
    scale: float = 1.0,
    normalize: bool = False,
    elect: bool = False,
) -> torch.Tensor:
    """Return base + scale * the sum of weighted task vectors of which only what the masks keep is left.

    Args:
        base: what the parents were fine-tuned from.
        parents: tensors of its shape, one at a time.
        masks: one for each parent: true where an entry is kept.
        weights: one for each parent.
        densities: fraction of entries that each mask keeps on average, in (0, 1].
        rescale: what makes up for the dropped entries.
        scale: of the sum.
        normalize: whether it is divided by the weights.
        elect: whether signs are elected as in TIES (dare_ties) or all are added (dare_linear).
    """
    deltas = (
        drop(parent - base, mask, density, rescale)
        for parent, mask, density in zip(parents, masks, densities, strict=True)
    )
    if elect:
        return agree(base, list(deltas), weights, scale, normalize)
    return combine(base, deltas, weights, scale, normalize)


def drop(delta: torch.Tensor, mask: torch.Tensor, density: float, rescale: Rescale) -> torch.Tensor:
    """Return what the mask keeps, rescaled; with density 1 nothing is dropped."""
    if density >= 1:
        return delta
    kept = delta * mask
    if rescale == "density":
        return kept.div_(density)
    if rescale == "norm":
        before, after = float(delta.abs().sum()), float(kept.abs().sum())
        return kept.mul_(before / after) if min(before, after) >= _NOTHING else kept
    return kept


def drop_mask(shape: torch.Size, density: float, *origin: object) -> torch.Tensor:
    """Return a random mask of booleans that depends on nothing but its arguments.

    Args:
        shape: of the mask.
        density: probability that an entry is kept.
        origin: what the generator is seeded by, e.g. the recipe's seed, the tensor's name and the parent's number: so
            neither the order of tensors nor what else is merged shows in a mask.
    """
    seed = int.from_bytes(hashlib.sha256(repr(origin).encode()).digest()[:8], "little") >> 1
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(shape, dtype=torch.bool).bernoulli_(density, generator=generator)
