"""Whether a model keeps packed examples apart, found out by asking it rather than by its name.

Since transformers 4.4x nearly every decoder passes a four-dimensional mask through to its attention as it is. Models
that do not (recurrent ones, or those that derive position biases from a two-dimensional mask) get one example per row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from agent_forge.models.packing import Layout, PackedBatch, TrainingExample, collate

MASKABLE_ATTENTION = ("eager", "sdpa")
PROBE_LENGTHS = (5, 7)


def choose_layout(model: PreTrainedModel, lengths: Sequence[int], layout: Layout) -> tuple[Layout, tuple[str, ...]]:
    """Fit the wanted layout to what a model can do.

    Args:
        model: the model; its attention must already be one of `MASKABLE_ATTENTION`.
        lengths: tokens of every example.
        layout: the wanted one.

    Returns:
        The layout with rows no longer than the model's context, packed only where that changes no logit; and warnings.
    """
    config = model.config.get_text_config()
    row_length = min(layout.row_length, getattr(config, "max_position_embeddings", None) or layout.row_length)
    window = _smallest_window(config)
    problem = None
    if window is not None and max(lengths) > window:
        problem = f"an example of {max(lengths)} tokens is longer than the attention window of {window}"
    elif layout.packed and not keeps_examples_apart(model):
        problem = f"{type(model).__name__} does not keep packed examples apart"
    fitted = Layout(row_length, layout.packed and problem is None, layout.rows_per_batch, layout.batches_per_step)
    return fitted, () if problem is None else (f"{problem}: one example per row, slower",)


@torch.no_grad()
def keeps_examples_apart(model: PreTrainedModel) -> bool:
    """Return whether packed examples have the logits they have alone, whatever else is in their row.

    Two short made-up examples are run packed, packed beside another neighbour, and alone.
    """
    was_training = model.training
    model.eval()
    try:
        return _probe(model)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False  # the forward pass refuses such a mask or explicit positions: an answer too
    finally:
        model.train(was_training)


@contextmanager
def maskable_attention(model: PreTrainedModel) -> Iterator[tuple[str, ...]]:
    """Switch to an attention backend that takes any mask, and back at the end; yields warnings.

    Flash and flex attention cannot take a mask of four dimensions.
    """
    backend = model.config._attn_implementation
    if backend in MASKABLE_ATTENTION:
        yield ()
        return
    substitute = "sdpa" if model._supports_sdpa else "eager"
    model.set_attn_implementation(substitute)
    try:
        yield (f"{backend} takes no block-diagonal mask: {substitute} was used for the bake",)
    finally:
        model.set_attn_implementation(backend)


def _smallest_window(config: Any) -> int | None:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and set(kinds) == {"full_attention"}:
        return None
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size"))
    return min((window for window in windows if isinstance(window, int)), default=None)


def _probe(model: PreTrainedModel) -> bool:
    first, second = (_example(model, length, 3) for length in PROBE_LENGTHS)
    other = _example(model, PROBE_LENGTHS[0], 11)
    alone_TV = _logits(model, collate([[second]], packed=False, dtype=model.dtype, device=model.device))
    packed_TV, beside_other_TV = (
        _logits(model, collate([[neighbour, second]], packed=True, dtype=model.dtype, device=model.device))[
            -PROBE_LENGTHS[1] :
        ]
        for neighbour in (first, other)
    )
    # A leak shows in any precision, as masked scores are exact zeros; positions only as far as arithmetic agrees.
    exact = model.dtype in (torch.float32, torch.float64)
    size = float(alone_TV.abs().max())
    leak = float((packed_TV - beside_other_TV).abs().max())
    shift = float((packed_TV - alone_TV).abs().max())
    return leak <= 1e-5 * size and shift <= (1e-4 if exact else 5e-2) * size


def _example(model: PreTrainedModel, length: int, stride: int) -> TrainingExample:
    ids = tuple((1 + stride * index) % model.config.get_text_config().vocab_size for index in range(length))
    return TrainingExample(ids, (True,) * length)


def _logits(model: PreTrainedModel, batch: PackedBatch) -> torch.Tensor:
    logits_BTV: torch.Tensor = model(**batch.inputs(), use_cache=False).logits
    return logits_BTV[0].float()
