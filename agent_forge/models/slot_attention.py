"""Attention to a shared head and to rows' own slots: two parts, joined into what one softmax over both would give.

A part yields its output and the logarithm of the sum of its softmax. Of two parts the whole follows exactly
(Milakov and Gimelshein 2018):

    whole = (e^l1 out1 + e^l2 out2) / (e^l1 + e^l2)

So the head's keys are read once for all rows, in one matrix product, and neither copied nor padded. Query heads that
share keys (groups) are read as further queries of one head.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Scoring:
    """How a layer scores keys: scale of the products, reach of a sliding window, bound that tanh puts on scores."""

    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True)
class Keys:
    """Keys and values that queries meet; both (..., T, D).

    Attributes:
        hidden: which keys a query may not see, broadcast to the scores' shape; None when all are seen.
        causal: as many queries as keys, each sees those up to its own place.
        added: `hidden` as what is added to the scores, in the dtype of the queries, where it is at hand.
    """

    keys: torch.Tensor
    values: torch.Tensor
    hidden: torch.Tensor | None = None
    causal: bool = False
    added: torch.Tensor | None = None


def attend(query: torch.Tensor, own: Keys, scoring: Scoring) -> torch.Tensor:
    """Attend to one set of keys; query (b, h, n, D), result of the same shape."""
    if scoring.softcap is not None:
        return _part(query, own, scoring)[0]
    mask = own.added if own.added is not None or own.hidden is None else ~own.hidden
    return F.scaled_dot_product_attention(
        query, own.keys, own.values, attn_mask=mask, is_causal=own.causal, scale=scoring.scale
    )


def part(query: torch.Tensor, keys: Keys, scoring: Scoring) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output (b, h, n, D) and the logarithm of the softmax's sum (b, h, n; float32) of a part.

    A query that sees no key of the part gets zeros and -inf.
    """
    fused = _fused(query, keys, scoring)
    return _part(query, keys, scoring) if fused is None else fused


def joined(one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return what one softmax over the keys of both parts gives."""
    (out, log_sum), (other_out, other_log_sum) = one, other
    share = torch.sigmoid(log_sum - other_log_sum)[..., None].to(out.dtype)
    return torch.lerp(other_out, out, share)


def _fused(query: torch.Tensor, keys: Keys, scoring: Scoring) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the part by one of PyTorch's own kernels, None where there is none or it does not do."""
    alike = query.shape[-1] == keys.keys.shape[-1] == keys.values.shape[-1]
    # Behind a window a query may see nothing of a part, which the kernels make no zeros of.
    if not alike or scoring.softcap or scoring.window:
        return None
    return _fused_on_cpu(query, keys, scoring) if query.device.type == "cpu" else _fused_on_gpu(query, keys, scoring)


def _fused_on_cpu(query: torch.Tensor, keys: Keys, scoring: Scoring) -> tuple[torch.Tensor, torch.Tensor] | None:
    kernel: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if kernel is None:
        return None
    mask = None if keys.hidden is None else _added(keys, query)
    out, log_sum = kernel(query, keys.keys, keys.values, is_causal=keys.causal, attn_mask=mask, scale=scoring.scale)
    return out, log_sum


def _fused_on_gpu(query: torch.Tensor, keys: Keys, scoring: Scoring) -> tuple[torch.Tensor, torch.Tensor] | None:
    kernel: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention", None)
    depth, half = query.shape[-1], query.dtype in (torch.float16, torch.bfloat16)
    if kernel is None or query.device.type != "cuda" or not half or keys.hidden is not None or depth % 8 or depth > 256:
        return None
    out, log_sum, *_ = kernel(query, keys.keys, keys.values, 0.0, keys.causal, False, scale=scoring.scale)
    return out, log_sum


def _added(keys: Keys, query: torch.Tensor) -> torch.Tensor:
    assert keys.hidden is not None
    added = keys.added
    if added is None:
        added = torch.zeros_like(keys.hidden, dtype=query.dtype).masked_fill_(keys.hidden, -torch.inf)
    return added.expand(*added.shape[:-2], query.shape[-2], added.shape[-1])


def _part(query: torch.Tensor, keys: Keys, scoring: Scoring) -> tuple[torch.Tensor, torch.Tensor]:
    scores = (query * scoring.scale) @ keys.keys.mT
    if scoring.softcap is not None:
        scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    scores = scores.float()
    if keys.causal:
        scores = scores.masked_fill(_later(scores.shape[-2], scores.device), -torch.inf)
    if keys.hidden is not None:
        scores = scores.masked_fill(keys.hidden, -torch.inf)
    log_sum = scores.logsumexp(dim=-1)
    weights = (scores - log_sum.nan_to_num(neginf=0.0)[..., None]).exp().to(keys.values.dtype)
    return weights @ keys.values, log_sum


def _later(count: int, device: torch.device) -> torch.Tensor:
    return torch.ones(count, count, dtype=torch.bool, device=device).triu(1)
