"""Keeping packed examples apart, and whether a model does, found out by asking it rather than by its name.

Best is attention that is computed example by example (`span_attention`): no token is compared with one that it may not
see, and there is no mask of T x T. It takes the place of scaled dot product attention in models whose attention goes by
transformers' AttentionInterface. Where it does not do, the mask does: since transformers 4.4x nearly every decoder
passes a four-dimensional one through to its attention as it is. Models that do not (recurrent ones, or those that
derive position biases from a two-dimensional mask) get one example per row.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from agent_forge.models.memory import is_out_of_memory
from agent_forge.models.packing import Layout, PackedBatch, TrainingExample, collate


def _varlen() -> Any:
    """Return PyTorch's flash attention over pieces of several lengths, None where this PyTorch has none that does."""
    try:
        found = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return None
    return found if {"scale", "window_size"} <= inspect.signature(found).parameters.keys() else None


flash_varlen = _varlen()
# PyTorch before 2.12 wants as many heads of keys as of queries.
_TAKES_GROUPS = flash_varlen is not None and "enable_gqa" in inspect.signature(flash_varlen).parameters
MASKABLE_ATTENTION = ("eager", "sdpa")
PROBE_LENGTHS = (5, 7)
BY_SPANS = "forge_spans"
_SPANS: ContextVar[tuple[int, ...]] = ContextVar("spans", default=())


def span_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each of the spans that `attending` has named, or else within rows; shapes are (B, H, T, D).

    A sliding window needs no regard: packed examples are never longer.

    Raises:
        NotImplementedError: for a kind of attention that this one does not know.
    """
    unknown = [name for name in ("s_aux", "softcap", "position_bias", "head_mask") if others.get(name) is not None]
    if unknown or mask is not None or not getattr(module, "is_causal", True):
        raise NotImplementedError(f"attention with {', '.join(unknown) or 'a mask, or to later tokens'}")
    batch, heads, length, _ = query.shape
    spans = _SPANS.get() or (length,) * batch
    # As one long row, whose pieces autograd puts together again without a copy for each.
    rows = [_one_row(states) for states in (query, key, value)]
    if fits_flash(query, dropout):
        return _by_flash(rows, spans, scaling).view(batch, length, heads, value.shape[-1]), None
    queries, keys, values = (torch.split(row, list(spans)) for row in rows)
    attended = []
    for query_NHD, key_NHD, value_NHD in zip(queries, keys, values, strict=True):
        one_BHND = functional.scaled_dot_product_attention(
            query_NHD.transpose(0, 1)[None],
            key_NHD.transpose(0, 1)[None],
            value_NHD.transpose(0, 1)[None],
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=heads != key.shape[1],
        )
        attended.append(one_BHND[0].transpose(0, 1))
    return torch.cat(attended).view(batch, length, heads, value.shape[-1]), None


def fits_flash(states: torch.Tensor, dropout: float = 0.0) -> bool:
    """Whether PyTorch's flash attention takes these queries; its kernels are for GPUs and 16 bits."""
    return (
        flash_varlen is not None
        and states.device.type == "cuda"
        and states.dtype in (torch.float16, torch.bfloat16)
        and dropout == 0
    )


def _by_flash(rows: Sequence[torch.Tensor], spans: Sequence[int], scaling: float | None) -> torch.Tensor:
    """Attend within all spans by one kernel; queries, keys and values (N, H, D)."""
    query_NHD, key_NHD, value_NHD = rows
    bounds = torch.tensor([0, *accumulate(spans)], dtype=torch.int32, device=query_NHD.device)
    groups = query_NHD.shape[1] // key_NHD.shape[1]
    grouped = {"enable_gqa": True} if groups > 1 and _TAKES_GROUPS else {}
    if groups > 1 and not _TAKES_GROUPS:
        key_NHD, value_NHD = (side.repeat_interleave(groups, dim=1) for side in (key_NHD, value_NHD))
    attended: torch.Tensor = flash_varlen(
        *(query_NHD, key_NHD, value_NHD, bounds, bounds, max(spans), max(spans)),
        scale=scaling,
        window_size=(-1, 0),
        **grouped,
    )
    return attended


def described(model: PreTrainedModel, layout: Layout) -> str:
    """Say how a model attends in a layout that `choose_layout` gave."""
    backend = model.config._attn_implementation
    if backend == BY_SPANS:
        found = next(model.parameters())
        return f"{'flash' if fits_flash(found) else 'sdpa'}, example by example"
    return f"{backend}, {'block-diagonal mask' if layout.packed else 'one example per row'}"


def _one_row(states_BHTD: torch.Tensor) -> torch.Tensor:
    return states_BHTD.transpose(1, 2).flatten(0, 1)


AttentionInterface.register(BY_SPANS, span_attention)


@contextmanager
def attending(batch: PackedBatch) -> Iterator[None]:
    """Name the spans of a batch while the context is open: a pass forward and, with checkpointing, the one back."""
    token = _SPANS.set(batch.spans)
    try:
        yield
    finally:
        _SPANS.reset(token)


def choose_layout(model: PreTrainedModel, lengths: Sequence[int], layout: Layout) -> tuple[Layout, tuple[str, ...]]:
    """Fit the wanted layout to what a model can do, and let the model attend by spans where it can.

    Args:
        model: the model; its attention must already be one of `MASKABLE_ATTENTION`.
        lengths: tokens of every example.
        layout: the wanted one.

    Returns:
        The layout with rows no longer than the model's context, packed only where that changes no logit; and warnings.
    """
    config = model.config.get_text_config()
    row_length = min(layout.row_length, getattr(config, "max_position_embeddings", None) or layout.row_length)
    fitted = replace(layout, row_length=row_length)
    window = _smallest_window(config)
    if window is not None and max(lengths) > window:
        problem = f"an example of {max(lengths)} tokens is longer than the attention window of {window}"
    elif not layout.packed:
        return fitted, ()
    elif _attends_by_spans(model):
        return replace(fitted, masked=False), ()
    elif keeps_examples_apart(model):
        return fitted, ()
    else:
        problem = f"{type(model).__name__} does not keep packed examples apart"
    return replace(fitted, packed=False), (f"{problem}: one example per row, slower",)


def _attends_by_spans(model: PreTrainedModel) -> bool:
    """Switch a model to attention by spans and find out whether it does; switch back where it does not."""
    backend = model.config._attn_implementation
    # Whoever asks for eager attention, or whose model has no other, gets it.
    if backend == "eager" or not model._can_set_attn_implementation():
        return False
    model.set_attn_implementation(BY_SPANS)
    if keeps_examples_apart(model, masked=False):
        return True
    model.set_attn_implementation(backend)
    return False


@torch.no_grad()
def keeps_examples_apart(model: PreTrainedModel, masked: bool = True) -> bool:
    """Return whether packed examples have the logits they have alone, whatever else is in their row.

    Two short made-up examples are run packed, packed beside another neighbour, and alone.

    Args:
        model: the model.
        masked: whether a mask is to keep them apart, or attention by spans, to which the model is switched.
    """
    was_training = model.training
    model.eval()
    try:
        return _probe(model, masked)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        return False  # the forward pass refuses such a mask or explicit positions: an answer too
    finally:
        model.train(was_training)


@contextmanager
def maskable_attention(model: PreTrainedModel) -> Iterator[tuple[str, ...]]:
    """Switch to an attention backend that takes any mask, and back at the end; yields warnings.

    Flash and flex attention cannot take a mask of four dimensions.
    """
    backend = model.config._attn_implementation
    notes: tuple[str, ...] = ()
    if backend not in MASKABLE_ATTENTION:
        substitute = "sdpa" if model._supports_sdpa else "eager"
        model.set_attn_implementation(substitute)
        notes = (f"{backend} takes no block-diagonal mask: {substitute} was used for the bake",)
    try:
        yield notes
    finally:
        if model.config._attn_implementation != backend:
            model.set_attn_implementation(backend)


def _smallest_window(config: Any) -> int | None:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and set(kinds) == {"full_attention"}:
        return None
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size"))
    return min((window for window in windows if isinstance(window, int)), default=None)


def _probe(model: PreTrainedModel, masked: bool) -> bool:
    first, second = (_example(model, length, 3) for length in PROBE_LENGTHS)
    other = _example(model, PROBE_LENGTHS[0], 11)

    def logits_of(*examples: TrainingExample, packed: bool) -> torch.Tensor:
        return _logits(model, collate([examples], packed, model.dtype, model.device, masked))

    alone_TV = _alone(model, lambda: logits_of(second, packed=False))
    packed_TV, beside_other_TV = (
        logits_of(neighbour, second, packed=True)[-PROBE_LENGTHS[1] :] for neighbour in (first, other)
    )
    # A leak shows in any precision, as masked scores are exact zeros; positions only as far as arithmetic agrees.
    exact = model.dtype in (torch.float32, torch.float64)
    size = float(alone_TV.abs().max())
    leak = float((packed_TV - beside_other_TV).abs().max())
    shift = float((packed_TV - alone_TV).abs().max())
    return leak <= 1e-5 * size and shift <= (1e-4 if exact else 5e-2) * size


def _alone(model: PreTrainedModel, logits: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Return what a model's own attention makes of an example: what attention by spans is held against."""
    backend = model.config._attn_implementation
    if backend != BY_SPANS:
        return logits()
    model.set_attn_implementation("sdpa" if model._supports_sdpa else "eager")
    try:
        return logits()
    finally:
        model.set_attn_implementation(BY_SPANS)


def _example(model: PreTrainedModel, length: int, stride: int) -> TrainingExample:
    ids = tuple((1 + stride * index) % model.config.get_text_config().vocab_size for index in range(length))
    return TrainingExample(ids, (True,) * length)


def _logits(model: PreTrainedModel, batch: PackedBatch) -> torch.Tensor:
    with attending(batch):
        logits_BTV: torch.Tensor = model(**batch.inputs(), use_cache=False).logits
    return logits_BTV[0].float()
