"""Packing: several training examples share one row, and none of them can see another.

    row of 12    a a a a b b b c c . . .      three examples, then padding
    positions    0 1 2 3 0 1 2 0 1 0 0 0      each starts again at 0
    labels       - a a a - b b - c - - -      the first token of an example is predicted by nobody
    mask         block-diagonal and causal: a token sees the earlier tokens of its own example

Which examples share a row is decided from their lengths alone, for all epochs, before the first step (`plan_epochs`);
tensors are built when a batch is due (`collate`). The rows are filled best-fit-decreasing (Johnson et al., 1974,
"Worst-case performance bounds for simple one-dimensional packing algorithms") inside windows of the shuffled examples,
so that epochs differ and no row is far from full.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import torch

from agent_forge.errors import InputError

IGNORED_LABEL = -100
WINDOW = 1024

Row = tuple[int, ...]
Batch = tuple[Row, ...]
Step = tuple[Batch, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class TrainingExample:
    """One text to learn from.

    Attributes:
        input_ids: its tokens.
        supervised: for each token, whether predicting it counts in the loss. The first token has nothing before it
            to be predicted from and never counts.
        source: a trace, or a replayed answer of the champion.

    Raises:
        InputError: when the two differ in length or no token would be learnt.
    """

    input_ids: tuple[int, ...]
    supervised: tuple[bool, ...]
    source: Literal["trace", "replay"] = "trace"

    def __post_init__(self) -> None:
        if len(self.input_ids) != len(self.supervised):
            raise InputError(
                f"training example has {len(self.input_ids)} tokens and {len(self.supervised)} supervision flags;"
                " give one flag per token"
            )
        if not self.targets:
            raise InputError(
                f"training example of {len(self.input_ids)} tokens supervises none after the first;"
                " mark the tokens to be learnt"
            )

    @cached_property
    def targets(self) -> int:
        """Number of tokens that count in the loss."""
        return sum(self.supervised[1:])


@dataclass(frozen=True)
class Layout:
    """The shape of the rows.

    Attributes:
        row_length: tokens a row holds at most.
        packed: whether examples share rows; otherwise each has its own.
        rows_per_batch: rows per forward pass.
        batches_per_step: forward passes per optimizer step.
        masked: whether a mask keeps packed examples apart; otherwise attention is computed example by example.
    """

    row_length: int
    packed: bool
    rows_per_batch: int
    batches_per_step: int
    masked: bool = True


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """The tensors of one forward pass, B rows of T tokens.

    Attributes:
        input_ids_BT: token ids; padding is 0.
        labels_BT: the token itself where it is a target, else -100. Not shifted: logits at t-1 predict label t.
        segments_BT: 1, 2, ... for the row's examples, 0 for padding.
        position_ids_BT: position within the example; None when examples have rows of their own.
        attention_mask: additive (B, 1, T, T) when packed, else 1 for tokens and 0 for padding, (B, T); None when
            attention is computed example by example.
        tokens: tokens in it, padding left out.
        targets: tokens that count in the loss.
        spans: lengths of all examples and paddings, row by row; their sum is B * T.
    """

    input_ids_BT: torch.Tensor
    labels_BT: torch.Tensor
    segments_BT: torch.Tensor
    position_ids_BT: torch.Tensor | None
    attention_mask: torch.Tensor | None
    tokens: int
    targets: int
    spans: tuple[int, ...]

    def inputs(self) -> dict[str, torch.Tensor]:
        """Return the keyword arguments of the model's forward pass."""
        inputs = {
            "input_ids": self.input_ids_BT,
            "attention_mask": self.attention_mask,
            "position_ids": self.position_ids_BT,
        }
        return {name: value for name, value in inputs.items() if value is not None}


def pack_rows(lengths: Sequence[int], row_length: int, generator: np.random.Generator) -> tuple[Row, ...]:
    """Spread examples over rows, each example in exactly one.

    Args:
        lengths: tokens of each example.
        row_length: tokens a row holds at most.
        generator: decides the order; the same state gives the same rows.

    Returns:
        Rows as tuples of indices into `lengths`, in random order.

    Raises:
        InputError: when an example is longer than a row.
    """
    _check_lengths(lengths, row_length)
    order = [int(index) for index in generator.permutation(len(lengths))]
    rows = [
        row
        for start in range(0, len(order), WINDOW)
        for row in _best_fit(order[start : start + WINDOW], lengths, row_length)
    ]
    return tuple(rows[index] for index in generator.permutation(len(rows)))


def plan_epochs(
    lengths: Sequence[int], layout: Layout, epochs: int, generator: np.random.Generator
) -> tuple[Step, ...]:
    """Decide every optimizer step of a training run; each epoch is shuffled and packed anew.

    Raises:
        InputError: when an example is longer than a row.
    """
    steps: list[Step] = []
    for _ in range(epochs):
        batches = plan_batches(lengths, layout, generator)
        steps.extend(_chunks(batches, layout.batches_per_step))
    return tuple(steps)


def plan_batches(lengths: Sequence[int], layout: Layout, generator: np.random.Generator) -> tuple[Batch, ...]:
    """Decide the forward passes of one pass over the examples.

    Raises:
        InputError: when an example is longer than a row.
    """
    if layout.packed:
        rows = pack_rows(lengths, layout.row_length, generator)
    else:
        _check_lengths(lengths, layout.row_length)
        rows = tuple((int(index),) for index in generator.permutation(len(lengths)))
    return tuple(_chunks(rows, layout.rows_per_batch))


def packing_efficiency(steps: Sequence[Step], lengths: Sequence[int]) -> float:
    """Return the share of computed positions that hold tokens, in (0, 1]; the rest is padding."""
    batches = [[sum(lengths[index] for index in row) for row in batch] for step in steps for batch in step]
    return sum(map(sum, batches)) / sum(len(batch) * max(batch) for batch in batches)


def collate(
    rows: Sequence[Sequence[TrainingExample]],
    packed: bool,
    dtype: torch.dtype,
    device: torch.device,
    masked: bool = True,
) -> PackedBatch:
    """Build the tensors of one forward pass, padded to its longest row.

    Args:
        rows: the examples of each row.
        packed: whether to keep the examples of a row apart; otherwise each row holds one.
        dtype: of the additive mask: the model's.
        device: where the tensors go.
        masked: whether packed examples are kept apart by a mask.
    """
    width = max(sum(len(example.input_ids) for example in row) for row in rows)
    fields_KBT = np.stack([_padded_row(row, width) for row in rows], axis=1)
    ids_BT, labels_BT, segments_BT, positions_BT = torch.from_numpy(fields_KBT).to(device)
    return PackedBatch(
        input_ids_BT=ids_BT,
        labels_BT=labels_BT,
        segments_BT=segments_BT,
        position_ids_BT=positions_BT if packed else None,
        attention_mask=_attention_mask(segments_BT, dtype, masked) if packed else (segments_BT > 0).long(),
        tokens=sum(len(example.input_ids) for row in rows for example in row),
        targets=sum(example.targets for row in rows for example in row),
        spans=tuple(span for row in rows for span in _spans(row, width)),
    )


def _attention_mask(segments_BT: torch.Tensor, dtype: torch.dtype, masked: bool) -> torch.Tensor | None:
    return block_causal_mask(segments_BT, dtype) if masked else None


def _spans(row: Sequence[TrainingExample], width: int) -> list[int]:
    lengths = [len(example.input_ids) for example in row]
    padding = width - sum(lengths)
    return [*lengths, padding] if padding else lengths


def block_causal_mask(segments_BT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the additive mask (B, 1, T, T) under which a token sees its own segment up to itself.

    Padding is a segment of its own, so every query sees at least itself: a row without any visible key would make
    softmax return NaN. Blocked is the dtype's minimum, not -inf.
    """
    same_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    blocked_BTT = ~same_BTT.tril()
    mask_BTT = torch.zeros(blocked_BTT.shape, dtype=dtype, device=segments_BT.device)
    return mask_BTT.masked_fill_(blocked_BTT, torch.finfo(dtype).min)[:, None]


def _check_lengths(lengths: Sequence[int], row_length: int) -> None:
    if not lengths:
        raise InputError("there are no examples to train on; at least one is needed")
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    if lengths[longest] > row_length:
        raise InputError(
            f"example {longest} has {lengths[longest]} tokens but a row holds {row_length};"
            " raise pack_length (up to the model's context) or leave the example out"
        )


def _best_fit(order: Sequence[int], lengths: Sequence[int], row_length: int) -> list[Row]:
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens left, row), sorted: the tightest row that still fits is a bisection away
    for index in sorted(order, key=lambda example: -lengths[example]):
        place = bisect_left(free, (lengths[index], -1))
        if place < len(free):
            space, row = free.pop(place)
        else:
            space, row = row_length, len(rows)
            rows.append([])
        rows[row].append(index)
        insort(free, (space - lengths[index], row))
    return [tuple(row) for row in rows]


def _chunks(items: Sequence[T], size: int) -> Iterator[tuple[T, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))


def _padded_row(row: Sequence[TrainingExample], width: int) -> np.ndarray:
    """Return ids, labels, segments and positions of one row, (4, width)."""
    fields_KT = np.zeros((4, width), dtype=np.int64)
    fields_KT[1] = IGNORED_LABEL
    start = 0
    for number, example in enumerate(row, start=1):
        end = start + len(example.input_ids)
        fields_KT[0, start:end] = example.input_ids
        counted = np.array(example.supervised[1:], dtype=bool)
        fields_KT[1, start + 1 : end][counted] = fields_KT[0, start + 1 : end][counted]
        fields_KT[2, start:end] = number
        fields_KT[3, start:end] = np.arange(end - start)
        start = end
    return fields_KT
