"""The key-value store of the sharing engine: one head that all rows begin with, and one slot of its own per row.

    positions      0 ... P-1      P ... P+cached-1
    in memory      head, once     the row's slot, left-aligned

One forward pass takes a flat sequence of tokens, some for each of several rows: one token of a row that is being
decoded, many of one whose prompt is read. Only attention needs to know which token belongs to which row, so the pass
runs through any model whose attention goes by transformers' AttentionInterface. A row's queries meet the head in one
matrix product for all rows together and the row's own slot in another; one softmax is taken over both, so nothing is
approximated.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, Cache

ATTENTION = "forge_slots"
# Slots grow by so many positions at a time, so that they are seldom copied.
GROWTH = 64


@dataclass
class Pass:
    """What one forward pass does: `counts[r]` tokens for slot r, which holds `cached[r]` before it.

    Attributes:
        head: tokens of the shared head.
        cached, counts: per slot; a slot with count 0 only stands by.
    """

    head: int
    cached: Sequence[int]
    counts: Sequence[int]
    _on_device: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.total = sum(self.counts)
        self.longest = max(had + count for had, count in zip(self.cached, self.counts, strict=True))
        ends = list(accumulate(self.counts))
        self.fed = [slot for slot, count in enumerate(self.counts) if count]
        self.last = [max(end - 1, 0) for end in ends]
        self.last_fed = [ends[slot] - 1 for slot in self.fed]
        self.slots = [slot for slot, count in enumerate(self.counts) for _ in range(count)]
        self.places = [had + k for had, count in zip(self.cached, self.counts, strict=True) for k in range(count)]
        # Rows with several tokens: slot, first token in the pass, tokens, cached before.
        self.long = [
            (slot, ends[slot] - count, count, self.cached[slot]) for slot, count in enumerate(self.counts) if count > 1
        ]

    def positions(self) -> list[int]:
        """Return the position of every token in its own row."""
        return [self.head + place for place in self.places]

    def index(self, name: str, device: torch.device) -> torch.Tensor:
        """Return one of the integer lists as a tensor on a device."""
        key = (name, device)
        if key not in self._on_device:
            self._on_device[key] = torch.tensor(getattr(self, name), device=device)
        return self._on_device[key]  # type: ignore[no-any-return]

    def hidden(self, device: torch.device, window: int | None) -> torch.Tensor:
        """Return which positions (head, then slot) the last token of each slot may not see; shape n, 1, 1, P + T."""
        key = ("hidden", device, window)
        if key not in self._on_device:
            query_B1 = self.index("last_places", device)[:, None] + self.head
            self._on_device[key] = _hidden(query_B1, self.head + self.longest, window)[:, None, None]
        return self._on_device[key]  # type: ignore[no-any-return]

    def hidden_from(self, row: tuple[int, int, int, int], device: torch.device, window: int | None) -> torch.Tensor:
        """Return which positions each token of a long row may not see; shape s, P + cached + s."""
        key = ("row", row, device, window)
        if key not in self._on_device:
            _, _, count, had = row
            query_N1 = torch.arange(self.head + had, self.head + had + count, device=device)[:, None]
            self._on_device[key] = _hidden(query_N1, self.head + had + count, window)
        return self._on_device[key]  # type: ignore[no-any-return]

    @property
    def last_places(self) -> list[int]:
        """The place, in its slot, of the last token that each slot holds after this pass."""
        return [max(had + count - 1, 0) for had, count in zip(self.cached, self.counts, strict=True)]


def _hidden(query_N1: torch.Tensor, length: int, window: int | None) -> torch.Tensor:
    key_L = torch.arange(length, device=query_N1.device)
    hidden_NL = key_L > query_N1
    return hidden_NL if window is None else hidden_NL | (key_L <= query_N1 - window)


@dataclass
class _Layer:
    """Keys and values of one layer: head (H, P, D) and slots (slots, H, capacity, D)."""

    head: tuple[torch.Tensor, torch.Tensor] | None = None
    slots: tuple[torch.Tensor, torch.Tensor] | None = None


class SlotCache(Cache):  # type: ignore[misc]
    """Keys and values of the shared head and of every row; handed to the model as its cache."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._stored: list[_Layer] = []
        self.head = 0
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
        layer.slots = _roomy(layer.slots, (key_states, value_states), len(plan.counts), plan.longest)
        index = plan.index("slots", key_states.device), plan.index("places", key_states.device)
        for stored, new in zip(layer.slots, (key_states, value_states), strict=True):
            stored[index[0], :, index[1]] = new[0].transpose(0, 1)
        return key_states, value_states

    def attend(self, query: torch.Tensor, scaling: float, window: int | None, softcap: float | None) -> torch.Tensor:
        """Return attention of a pass's queries (1, heads, N, D) in the layer updated last; shape 1, N, heads, D."""
        plan, layer = self._planned, self._stored[self._current]
        if layer.slots is None:
            raise ValueError("a layer attends before it has stored anything")
        queries_HND = query[0]
        out_NHD = query.new_empty(query.shape[2], query.shape[1], layer.slots[1].shape[-1])
        last = plan.index("last", query.device)
        if any(plan.counts[slot] == 1 for slot in plan.fed):
            fed = plan.index("fed", query.device)
            found_BHD = _decode(queries_HND[:, last], layer, plan, scaling, window, softcap)
            out_NHD[plan.index("last_fed", query.device)] = found_BHD[fed]
        for row in plan.long:
            slot, first, count, _ = row
            hidden_NL = plan.hidden_from(row, query.device, window)
            keys, values = (_joined(layer, side, slot, hidden_NL.shape[1]) for side in (0, 1))
            part_HND = queries_HND[:, first : first + count]
            out_NHD[first : first + count] = _read(part_HND, keys, values, hidden_NL, scaling, softcap)
        return out_NHD[None]

    def take_head(self, length: int) -> None:
        """Make what slot 0 holds the head of all rows, and empty every slot."""
        for layer in self._stored:
            if layer.slots is not None:
                keys, values = (stored[0, :, :length].clone() for stored in layer.slots)
                layer.head, layer.slots = (keys, values), None
        self.head = length

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot into another."""
        for layer in self._stored:
            if layer.slots is not None:
                layer.slots = _roomy(layer.slots, layer.slots, target + 1, length)
                for stored in layer.slots:
                    stored[target, :, :length] = stored[source, :, :length]

    def shrink(self, slots: int, length: int) -> None:
        """Give back the memory beyond so many slots of so many positions."""
        for layer in self._stored:
            if layer.slots is not None:
                keys, values = (stored[:slots, :, :length].clone() for stored in layer.slots)
                layer.slots = keys, values

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


def _joined(layer: _Layer, side: int, slot: int, length: int) -> torch.Tensor:
    """Return keys (side 0) or values (1) of a row from its first position on; shape H, length, D."""
    assert layer.slots is not None
    if layer.head is None:
        return layer.slots[side][slot, :, :length]
    head_KLD = layer.head[side]
    return torch.cat([head_KLD, layer.slots[side][slot, :, : length - head_KLD.shape[1]]], dim=1)


def _read(
    query_HND: torch.Tensor,
    keys_KLD: torch.Tensor,
    values_KLD: torch.Tensor,
    hidden_NL: torch.Tensor,
    scaling: float,
    softcap: float | None,
) -> torch.Tensor:
    """Attend from several tokens of one row; returns shape s, heads, D.

    Query heads that share keys stand one after the other, so they are read as further tokens of one head.
    """
    heads, count, depth = query_HND.shape
    groups = heads // keys_KLD.shape[0]
    grouped_KND = query_HND.reshape(keys_KLD.shape[0], groups * count, depth)
    hidden_grouped = hidden_NL.repeat(groups, 1)
    if softcap is None:
        found = F.scaled_dot_product_attention(
            grouped_KND[None], keys_KLD[None], values_KLD[None], attn_mask=~hidden_grouped, scale=scaling
        )[0]
    else:
        scores = _capped(grouped_KND @ keys_KLD.mT * scaling, softcap).masked_fill(hidden_grouped, -torch.inf)
        found = scores.softmax(dim=-1, dtype=torch.float32).to(values_KLD.dtype) @ values_KLD
    return found.reshape(heads, count, -1).transpose(0, 1)


def _decode(
    query_HBD: torch.Tensor, layer: _Layer, plan: Pass, scaling: float, window: int | None, softcap: float | None
) -> torch.Tensor:
    """Attend from one token of every slot; returns shape n, heads, D."""
    assert layer.slots is not None
    keys, values = (stored[: len(plan.counts), :, : plan.longest] for stored in layer.slots)
    (heads, count, depth), groups = query_HBD.shape, query_HBD.shape[0] // keys.shape[1]
    kinds = heads // groups
    query_BKRD = query_HBD.transpose(0, 1).reshape(count, kinds, groups, depth) * scaling
    scores = query_BKRD @ keys.mT
    if layer.head is not None:
        query_KND = query_BKRD.transpose(0, 1).reshape(kinds, count * groups, depth)
        on_head = (query_KND @ layer.head[0].mT).reshape(kinds, count, groups, -1).transpose(0, 1)
        scores = torch.cat([on_head, scores], dim=-1)
    scores = _capped(scores, softcap).masked_fill(plan.hidden(query_HBD.device, window), -torch.inf)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype)
    head = 0 if layer.head is None else layer.head[0].shape[1]
    found_BKRD = weights[..., head:] @ values
    if layer.head is not None:
        on_head_KNL = weights[..., :head].transpose(0, 1).reshape(kinds, count * groups, head)
        found_BKRD += (on_head_KNL @ layer.head[1]).reshape(kinds, count, groups, -1).transpose(0, 1)
    return found_BKRD.reshape(count, heads, -1)


def _capped(scores: torch.Tensor, softcap: float | None) -> torch.Tensor:
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap


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
    return _RUNNING.get().attend(query, scale, sliding_window, softcap), None


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


def feed(model: Any, cache: SlotCache, plan: Pass, tokens: Sequence[int]) -> torch.Tensor:
    """Make one pass; return logits (n, V; float32) after the last token of every slot that was fed, in their order."""
    accepts = inspect.signature(model.forward).parameters
    cache.plan = plan
    last = torch.tensor(plan.last_fed, device=model.device)
    # Some architectures always return every token's logits.
    optional = {"logits_to_keep": last} if "logits_to_keep" in accepts else {}
    output = model(
        input_ids=torch.tensor([tokens], device=model.device),
        position_ids=torch.tensor([plan.positions()], device=model.device),
        use_cache=True,
        # transformers 5.24 gave it its new name; models that bring code of their own keep the old one.
        **{"cache" if "cache" in accepts else "past_key_values": cache},
        **optional,
    )
    logits_BV: torch.Tensor = output.logits[0] if optional else output.logits[0, last]
    return logits_BV.float()
