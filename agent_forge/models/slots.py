"""The key-value store of the sharing engine: one head that all rows begin with, and one slot of its own per row.

    positions      0 ... P-1      P ... P+cached-1
    in memory      head, once     the row's slot, left-aligned

One forward pass takes a flat sequence of tokens, some for each of several rows: one token of a row that is being
decoded, many of one whose prompt is read. Only attention needs to know which token belongs to which row, so the pass
runs through any model whose attention goes by transformers' AttentionInterface. See `slot_attention.py` for what a
row's queries meet.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AttentionInterface, Cache

from agent_forge.models.passes import Long, Pass
from agent_forge.models.slot_attention import Keys, Scoring, attend, joined, part

ATTENTION = "forge_slots"
# Slots grow by so many positions at a time, so that they are seldom copied.
GROWTH = 64


@dataclass
class _Layer:
    """Keys and values of one layer: head (H, P, D) and slots (slots, H, capacity, D)."""

    head: tuple[torch.Tensor, torch.Tensor] | None = None
    slots: tuple[torch.Tensor, torch.Tensor] | None = None


class SlotCache(Cache):  # type: ignore[misc]
    """Keys and values of the shared head and of every row; handed to the model as its cache.

    Attributes:
        head: tokens of the head.
        moves: how often any of the keys and values have come to stand elsewhere in memory.
        plan: the pass that is being made.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._stored: list[_Layer] = []
        self.head = self.moves = 0
        self.plan: Pass | None = None
        self._current = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """Return 0: every token of a pass brings its own position."""
        return 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write what this pass adds to one layer; return it unchanged, attention reads the rest by itself."""
        plan = self._planned
        while len(self._stored) <= layer_idx:
            self._stored.append(_Layer())
        self._current = layer_idx
        layer = self._stored[layer_idx]
        self._move(layer, _roomy(layer.slots, (key_states, value_states), len(plan.counts), plan.longest))
        assert layer.slots is not None
        index = plan.index("slots", key_states.device), plan.index("places", key_states.device)
        for stored, new in zip(layer.slots, (key_states, value_states), strict=True):
            stored[index[0], :, index[1]] = new[0].transpose(0, 1)
        return key_states, value_states

    def attend(self, query: torch.Tensor, scoring: Scoring) -> torch.Tensor:
        """Return attention of a pass's queries (1, heads, N, D) in the layer updated last; shape 1, N, heads, D."""
        plan, layer = self._planned, self._stored[self._current]
        if layer.slots is None:
            raise ValueError("a layer attends before it has stored anything")
        queries_HND = query[0]
        if plan.all_single:
            return _decode(queries_HND, layer, plan, scoring)[None]
        out_NHD = query.new_empty(query.shape[2], query.shape[1], layer.slots[1].shape[-1])
        if plan.any_single:
            last, fed = plan.index("last", query.device), plan.index("fed", query.device)
            found_BHD = _decode(queries_HND[:, last], layer, plan, scoring)
            out_NHD[plan.index("last_fed", query.device)] = found_BHD[fed]
        if plan.long and plan.together:
            tokens_N = plan.index("long_tokens", query.device).flatten()
            # Repeated tokens are computed alike, so that it does not matter which of them is kept.
            out_NHD[tokens_N] = _read_together(queries_HND[:, tokens_N], layer, plan, scoring)
            return out_NHD[None]
        for row in plan.long:
            part_HND = queries_HND[:, row.first : row.first + row.count]
            out_NHD[row.first : row.first + row.count] = _read(part_HND, layer, plan, row, scoring)
        return out_NHD[None]

    def take_head(self, length: int) -> None:
        """Make what slot 0 holds the head of all rows, and empty every slot."""
        for layer in self._stored:
            if layer.slots is not None:
                keys, values = (stored[0, :, :length].clone() for stored in layer.slots)
                layer.head, layer.slots = (keys, values), None
        self.head = length
        self.moves += 1

    def forget_head(self) -> None:
        """Let rows begin with nothing in common, and empty every slot."""
        for layer in self._stored:
            layer.head = layer.slots = None
        self.head = 0
        self.moves += 1

    def copy(self, moves: Sequence[tuple[int, int]], length: int) -> None:
        """Copy the first `length` positions of slots into others; `moves` are pairs of source and target."""
        room = max(target for _, target in moves) + 1
        by_device: dict[torch.device, tuple[torch.Tensor, ...]] = {}
        for layer in self._stored:
            if layer.slots is not None:
                self._move(layer, _roomy(layer.slots, layer.slots, room, length))
                device = layer.slots[0].device
                if device not in by_device:
                    by_device[device] = torch.tensor(moves, device=device).unbind(1)
                sources, targets = by_device[device]
                for stored in layer.slots:
                    stored[:, :, :length].index_copy_(0, targets, stored[:, :, :length].index_select(0, sources))

    def reserve(self, slots: int, length: int) -> None:
        """Make room for so many slots of so many positions in every layer that has any."""
        for layer in self._stored:
            if layer.slots is not None:
                self._move(layer, _roomy(layer.slots, layer.slots, slots, length))

    @property
    def capacity(self) -> int:
        """Positions that every slot has room for."""
        return min((layer.slots[0].shape[2] for layer in self._stored if layer.slots is not None), default=0)

    def shrink(self, slots: int, length: int) -> None:
        """Give back the memory beyond so many slots of so many positions."""
        for layer in self._stored:
            if layer.slots is not None:
                keys, values = (stored[:slots, :, :length].clone() for stored in layer.slots)
                self._move(layer, (keys, values))

    def _move(self, layer: _Layer, slots: tuple[torch.Tensor, torch.Tensor]) -> None:
        if slots is not layer.slots:
            layer.slots = slots
            self.moves += 1

    @property
    def _planned(self) -> Pass:
        if self.plan is None:
            raise ValueError("the cache is used outside of a planned pass")
        return self.plan


def _roomy(
    slots: tuple[torch.Tensor, torch.Tensor] | None, like: tuple[torch.Tensor, torch.Tensor], count: int, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return slots with room for `count` rows of `length`, with what was in them."""
    have, capacity = (slots[0].shape[0], slots[0].shape[2]) if slots else (0, 0)
    if slots and have >= count and capacity >= length:
        return slots
    rows, room = max(have, count), max(capacity, -(-length // GROWTH) * GROWTH)
    grown = tuple(new.new_zeros(rows, new.shape[1], room, new.shape[3]) for new in like)
    for old, new in zip(slots or (), grown, strict=False):
        new[:have, :, :capacity] = old
    return grown[0], grown[1]


def _read(query_HND: torch.Tensor, layer: _Layer, plan: Pass, row: Long, scoring: Scoring) -> torch.Tensor:
    """Attend from several tokens of one row; returns shape s, heads, D."""
    assert layer.slots is not None
    kinds, length, device = layer.slots[0].shape[1], row.cached + row.count, query_HND.device
    groups = query_HND.shape[0] // kinds
    query_KRND = query_HND.reshape(kinds, groups, row.count, -1)
    keys, values = (stored[row.slot, :, None, :length].expand(-1, groups, -1, -1) for stored in layer.slots)
    causal = row.cached == 0 and scoring.window is None
    hidden = None if causal else plan.hidden_from(row, plan.head, length, device, scoring.window)
    own = Keys(keys, values, hidden, causal)
    if layer.head is None:
        found_KRND = attend(query_KRND, own, scoring)
    else:
        keys, values = (side[:, None].expand(-1, groups, -1, -1) for side in layer.head)
        window = scoring.window
        hidden = None if window is None else plan.hidden_from(row, 0, plan.head, device, window)
        found_KRND = joined(part(query_KRND, Keys(keys, values, hidden), scoring), part(query_KRND, own, scoring))
    return found_KRND.reshape(kinds * groups, row.count, -1).transpose(0, 1)


def _read_together(query_HND: torch.Tensor, layer: _Layer, plan: Pass, scoring: Scoring) -> torch.Tensor:
    """Attend from the tokens of all slots that are fed several, R with N each; returns shape R x N, heads, D."""
    assert layer.slots is not None
    (heads, _, depth), kinds, device = query_HND.shape, layer.slots[0].shape[1], query_HND.device
    slots_R, groups = plan.index("long_slots", device), heads // kinds
    length = max(row.cached + row.count for row in plan.long)
    # Query heads that share keys are read as further queries of one head.
    query_KGRND = query_HND.reshape(kinds, groups, len(slots_R), -1, depth)
    query_RKQD = query_KGRND.permute(2, 0, 1, 3, 4).reshape(len(slots_R), kinds, -1, depth)
    hidden = plan.hidden_together(plan.head, length, device, scoring.window)[:, None].repeat(1, 1, groups, 1)
    keys, values = (stored[slots_R, :, :length] for stored in layer.slots)
    own = Keys(keys, values, hidden)
    if layer.head is None:
        found_RKQD = attend(query_RKQD, own, scoring)
    else:
        window = scoring.window
        beyond_RNP = None if window is None else plan.hidden_together(0, plan.head, device, window)
        found_RKQD = joined(_on_head(query_RKQD, layer.head, beyond_RNP, scoring), part(query_RKQD, own, scoring))
    found_RKGND = found_RKQD.reshape(len(slots_R), kinds, groups, -1, found_RKQD.shape[-1])
    return found_RKGND.permute(0, 3, 1, 2, 4).reshape(query_HND.shape[1], heads, -1)


def _on_head(
    query_RKQD: torch.Tensor,
    head: tuple[torch.Tensor, torch.Tensor],
    hidden_RNP: torch.Tensor | None,
    scoring: Scoring,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the part of the head for N tokens of each of R slots, Q queries with their groups, as `part` does."""
    rows, kinds, count, depth = query_RKQD.shape
    hidden = None if hidden_RNP is None else hidden_RNP.repeat(1, count // hidden_RNP.shape[1], 1).flatten(0, 1)
    keys = Keys(head[0][None], head[1][None], hidden)
    out, log_sum = part(query_RKQD.transpose(0, 1).reshape(1, kinds, rows * count, depth), keys, scoring)
    return (
        out.reshape(kinds, rows, count, -1).transpose(0, 1),
        log_sum.reshape(kinds, rows, count).transpose(0, 1),
    )


def _decode(query_HBD: torch.Tensor, layer: _Layer, plan: Pass, scoring: Scoring) -> torch.Tensor:
    """Attend from one token of every slot; returns shape n, heads, D."""
    assert layer.slots is not None
    (heads, count, depth), kinds, device = query_HBD.shape, layer.slots[0].shape[1], query_HBD.device
    groups = heads // kinds
    keys, values = (stored[:count, :, : plan.longest] for stored in layer.slots)
    own = Keys(keys, values, plan.hidden(device, scoring.window), added=plan.added(query_HBD, scoring.window))
    query_BKRD = query_HBD.transpose(0, 1).reshape(count, kinds, groups, depth)
    if layer.head is None:
        return attend(query_BKRD, own, scoring).reshape(count, heads, -1)
    beyond_B1P = None if scoring.window is None else plan.hidden_head(device, scoring.window)[:, None]
    on_head = _on_head(query_BKRD, layer.head, beyond_B1P, scoring)
    return joined(on_head, part(query_BKRD, own, scoring)).reshape(count, heads, -1)


_RUNNING: ContextVar[SlotCache] = ContextVar("running")


def slot_attention(
    _module: Any,
    query: torch.Tensor,
    _key: torch.Tensor,
    _value: torch.Tensor,
    _mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend to the head and the rows' own slots; takes the place of a model's attention during a pass.

    Raises:
        NotImplementedError: for a kind of attention that this one does not know.
    """
    unknown = [name for name in ("s_aux", "position_bias", "head_mask") if others.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"attention with {', '.join(unknown)}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _RUNNING.get().attend(query, Scoring(scale, sliding_window, softcap)), None


AttentionInterface.register(ATTENTION, slot_attention)


@contextmanager
def running(model: Any, cache: SlotCache) -> Iterator[None]:
    """Let a model's attention read from `cache` while the context is open."""
    usual, token = model.config._attn_implementation, _RUNNING.set(cache)
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        _RUNNING.reset(token)
        model.set_attn_implementation(usual)


@lru_cache(maxsize=8)
def _accepts(kind: Any) -> frozenset[str]:
    return frozenset(inspect.signature(kind.forward).parameters)


def feed(model: Any, cache: SlotCache, plan: Pass, tokens: Sequence[int] | NDArray[np.int64]) -> torch.Tensor:
    """Make one pass; return logits (n, V; float32) after the last token of every slot that was fed, in their order."""
    tokens_BN = torch.from_numpy(np.array([tokens])).to(model.device)
    return forward(model, cache, plan, tokens_BN, plan.index("positions", model.device)[None]).float()


def forward(
    model: Any, cache: SlotCache, plan: Pass, tokens_BN: torch.Tensor, positions_BN: torch.Tensor
) -> torch.Tensor:
    """Make one pass of tokens and positions on the model's device; see `feed`. Logits are in the model's arithmetic."""
    accepts = _accepts(type(model))  # type: ignore[arg-type]
    cache.plan = plan
    last = plan.index("last_fed", model.device)
    # Some architectures always return every token's logits.
    optional = {"logits_to_keep": last} if "logits_to_keep" in accepts else {}
    output = model(
        input_ids=tokens_BN,
        position_ids=positions_BN,
        use_cache=True,
        # transformers 5.24 gave it its new name; models that bring code of their own keep the old one.
        **{"cache" if "cache" in accepts else "past_key_values": cache},
        **optional,
    )
    logits_BV: torch.Tensor = output.logits[0] if optional else output.logits[0, last]
    return logits_BV
