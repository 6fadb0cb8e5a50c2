"""Spherical linear interpolation (Shoemake 1985, Animating rotation with quaternion curves, doi:10.1145/325165.325242).

Each tensor is one vector. With the angle theta between two of them the point at t is

    (sin((1 - t) theta) first + sin(t theta) second) / sin(theta)

on the vectors as they are, whatever their lengths. Where they are nearly parallel or opposed the quotient loses its
meaning, and the straight line is taken instead. A vector of zeros counts as at right angles to any other, as in
mergekit.
"""

import math

import torch

# |cos(theta)| from which the straight line is taken; mergekit's value.
_PARALLEL = 0.9995
# Vectors shorter than this have no direction; mergekit's value.
_SHORTEST = 1e-8
_CHUNK = 1 << 20


def slerp(first: torch.Tensor, second: torch.Tensor, t: float) -> torch.Tensor:
    """Return the point at `t` of the arc from `first` (0) to `second` (1), which have one shape."""
    a, b = coefficients(_cosine(first.reshape(-1), second.reshape(-1)), t)
    return (first * a).add_(second, alpha=b)


def coefficients(cosine: float, t: float) -> tuple[float, float]:
    """Return what two vectors with this cosine between them are multiplied by."""
    if abs(cosine) > _PARALLEL:
        return 1 - t, t
    theta = math.acos(cosine)
    return math.sin((1 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)


def _cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    # In float64 a chunk at a time: sums over millions of float32 products would lose digits.
    dot = first_square = second_square = 0.0
    for start in range(0, first.numel(), _CHUNK):
        a, b = first[start : start + _CHUNK].double(), second[start : start + _CHUNK].double()
        dot, first_square, second_square = dot + float(a @ b), first_square + float(a @ a), second_square + float(b @ b)
    lengths = [length if (length := math.sqrt(square)) > _SHORTEST else 1.0 for square in (first_square, second_square)]
    return max(-1.0, min(1.0, dot / lengths[0] / lengths[1]))
