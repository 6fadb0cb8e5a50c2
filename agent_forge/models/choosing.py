"""Choosing tokens: one per row, from its logits and a number in [0, 1), by inverting the cumulative distribution."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

# Tokens whose probabilities are summed before one of them is looked for.
BLOCK = 256
# Likeliest tokens among which a nucleus is looked for first; of a row whose nucleus is larger, more and more of them.
NUCLEUS, NUCLEUS_GROWTH = 256, 16
# Below it float32 does not tell what a logit is divided by from zero.
LEAST_TEMPERATURE = 1e-6


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen: temperature 0 is greedy; top_k 0 and top_p 1 keep every token."""

    temperature: float
    top_p: float = 1.0
    top_k: int = 0


def choose_tokens(
    logits_BV: torch.Tensor, uniforms_B: torch.Tensor, decoding: Decoding, waits: bool = True
) -> torch.Tensor:
    """Choose one token per row.

    Args:
        logits_BV: float32; banned tokens are -inf.
        uniforms_B: one number in [0, 1) per row; the inverse of the cumulative distribution is taken there.
        decoding: temperature, top-k, nucleus (Holtzman et al. 2020: the smallest set whose mass reaches top_p).
        waits: whether the host may wait for values to do less; without, a nucleus takes a sort of the vocabulary.

    Returns:
        Token ids, shape B.
    """
    if decoding.temperature == 0:
        return logits_BV.argmax(dim=-1)
    if not decoding.top_k and decoding.top_p == 1:
        return _choose_among_all(logits_BV, uniforms_B, decoding.temperature)
    if not decoding.top_k:
        return _choose_in_nucleus(logits_BV, uniforms_B, decoding, NUCLEUS if waits else logits_BV.shape[-1])
    count = min(decoding.top_k, logits_BV.shape[-1])
    logits_BK, ids_BK = logits_BV.topk(count, dim=-1)
    below_BK = (logits_BK - logits_BK.amax(dim=-1, keepdim=True)).double()
    probabilities_BK = (below_BK / decoding.temperature).softmax(dim=-1)
    if decoding.top_p < 1:
        before_BK = probabilities_BK.cumsum(dim=-1) - probabilities_BK
        probabilities_BK = probabilities_BK.masked_fill(before_BK >= decoding.top_p, 0)
    chosen_B1 = _invert(probabilities_BK.cumsum(dim=-1), uniforms_B)
    return ids_BK.gather(1, chosen_B1).squeeze(1)


def _choose_among_all(logits_BV: torch.Tensor, uniforms_B: torch.Tensor, temperature: float) -> torch.Tensor:
    """Choose a block of the vocabulary by the blocks' sums, then a token of the block.

    The running sum over a whole vocabulary is slow, and drifts in float32; over blocks it is short enough for float64.
    """
    blocks_BNW = _weights(logits_BV, temperature).view(len(logits_BV), -1, BLOCK)
    sums_BN = blocks_BNW.sum(dim=-1).double().cumsum(dim=-1)
    wanted_B1 = uniforms_B.to(sums_BN)[:, None]
    block_B1 = _invert(sums_BN, wanted_B1.squeeze(1))
    before_B1 = F.pad(sums_BN, (1, 0)).gather(1, block_B1)
    inner_BW = (
        blocks_BNW[torch.arange(len(blocks_BNW), device=block_B1.device), block_B1.squeeze(1)].double().cumsum(-1)
    )
    within_B = (wanted_B1 * sums_BN[:, -1:] - before_B1).squeeze(1) / inner_BW[:, -1]
    return (block_B1 * BLOCK + _invert(inner_BW, within_B)).squeeze(1)


def _choose_in_nucleus(
    logits_BV: torch.Tensor, uniforms_B: torch.Tensor, decoding: Decoding, count: int
) -> torch.Tensor:
    """Choose within the nucleus without sorting the vocabulary: some likeliest tokens hold it as a rule."""
    below_BV = (logits_BV - logits_BV.amax(dim=-1, keepdim=True)).double()
    total_B1 = below_BV.div_(decoding.temperature).exp_().sum(dim=-1, keepdim=True)
    return _among_likeliest(logits_BV, uniforms_B, total_B1, decoding, count)


def _among_likeliest(
    logits_BV: torch.Tensor, uniforms_B: torch.Tensor, total_B1: torch.Tensor, decoding: Decoding, count: int
) -> torch.Tensor:
    """Choose within the nucleus among `count` tokens, and among more where their mass does not reach it."""
    count = min(count, logits_BV.shape[-1])
    logits_BK, ids_BK = logits_BV.topk(count, dim=-1)
    below_BK = (logits_BK - logits_BK[:, :1]).double()
    probabilities_BK = (below_BK / decoding.temperature).exp() / total_B1
    upto_BK = probabilities_BK.cumsum(dim=-1)
    kept_BK = probabilities_BK.masked_fill(upto_BK - probabilities_BK >= decoding.top_p, 0)
    chosen_B = ids_BK.gather(1, _invert(kept_BK.cumsum(dim=-1), uniforms_B)).squeeze(1)
    if count == logits_BV.shape[-1]:
        return chosen_B
    larger_B = upto_BK[:, -1] < decoding.top_p
    # No further token is likelier than the last one here, so at least as many as this are in the nucleus.
    least_B = count + (decoding.top_p - upto_BK[:, -1]) / probabilities_BK[:, -1]
    near_B = least_B <= count * NUCLEUS_GROWTH
    for rows_B, more in ((larger_B & near_B, count * NUCLEUS_GROWTH), (larger_B & ~near_B, logits_BV.shape[-1])):
        if rows_B.any():
            rows = logits_BV[rows_B], uniforms_B[rows_B], total_B1[rows_B]
            chosen_B[rows_B] = _among_likeliest(*rows, decoding, more)
    return chosen_B


def _weights(logits_BV: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return what the probabilities are proportional to, with zeros up to whole blocks; in one piece of memory."""
    count = logits_BV.shape[1]
    weights_BV = logits_BV.new_zeros(len(logits_BV), -(-count // BLOCK) * BLOCK)
    # Below the largest logit, because a small temperature would turn that logit itself into infinity.
    own_BV = torch.sub(logits_BV, logits_BV.amax(dim=-1, keepdim=True), out=weights_BV[:, :count])
    if temperature < LEAST_TEMPERATURE:
        own_BV.copy_((own_BV.double() / temperature).exp())
    else:
        own_BV.div_(temperature).exp_()
    return weights_BV


def _invert(cumulative_BK: torch.Tensor, uniforms_B: torch.Tensor) -> torch.Tensor:
    """Return the place of the first sum above that share of the total; shape B, 1."""
    total_B1 = cumulative_BK[:, -1:]
    # Strictly below the total: then the first sum above the threshold belongs to a token of positive probability.
    threshold_B1 = (uniforms_B.to(total_B1)[:, None] * total_B1).minimum(total_B1.nextafter(total_B1.new_zeros(())))
    return torch.searchsorted(cumulative_BK, threshold_B1, right=True)
