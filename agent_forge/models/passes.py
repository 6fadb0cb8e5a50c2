"""What one forward pass of the sharing engine does, and which keys its tokens may not see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass
class Pass:
    """What one forward pass does: `counts[r]` tokens for slot r, which holds `cached[r]` before it.

    Attributes:
        head: tokens of the shared head.
        cached, counts: per slot; a slot with count 0 only stands by.
        together: whether slots that are fed several tokens attend side by side, padded, and not one after the other:
            more work in fewer calls, which is what a GPU wants.
    """

    head: int
    cached: Sequence[int] | NDArray[np.int64]
    counts: Sequence[int] | NDArray[np.int64]
    together: bool = False
    _on_device: dict[tuple[str, torch.device], torch.Tensor] = field(default_factory=dict)
    _hiding: dict[Any, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cached_R, counts_R = np.array(self.cached), np.array(self.counts)
        ends_R = counts_R.cumsum()
        self.longest = int((cached_R + counts_R).max())
        self.fed = counts_R.nonzero()[0]
        self.last = (ends_R - 1).clip(min=0)
        self.last_fed = ends_R[self.fed] - 1
        self.last_places = (cached_R + counts_R - 1).clip(min=0)
        self.slots = np.arange(len(counts_R)).repeat(counts_R)
        self.places: NDArray[np.int64] = np.arange(len(self.slots)) + (cached_R - ends_R + counts_R)[self.slots]
        self.long = [
            Long(slot, int(ends_R[slot] - counts_R[slot]), int(counts_R[slot]), int(cached_R[slot]))
            for slot in (counts_R > 1).nonzero()[0].tolist()
        ]
        self.any_single = bool((counts_R == 1).any())
        self.all_single = bool((counts_R == 1).all())

    @property
    def positions(self) -> NDArray[np.int64]:
        """The position of every token in its own row."""
        return self.places + self.head

    @property
    def long_slots(self) -> NDArray[np.int64]:
        """The slots that are fed several tokens; shape R."""
        return np.array([row.slot for row in self.long])

    @property
    def long_tokens(self) -> NDArray[np.int64]:
        """Their tokens' places in the pass, the last one repeated up to the longest; shape R, N."""
        return self._long("first")

    @property
    def long_places(self) -> NDArray[np.int64]:
        """The same tokens' places in their slots; shape R, N."""
        return self._long("cached")

    def _long(self, begin: str) -> NDArray[np.int64]:
        first_R1, count_R1 = (np.array([[getattr(row, name)] for row in self.long]) for name in (begin, "count"))
        numbers: NDArray[np.int64] = first_R1 + np.minimum(np.arange(count_R1.max()), count_R1 - 1)
        return numbers

    def index(self, name: str, device: torch.device) -> torch.Tensor:
        """Return one of the arrays of integers as a tensor on a device."""
        if (name, device) not in self._on_device:
            self._on_device[name, device] = torch.from_numpy(getattr(self, name)).to(device)
        return self._on_device[name, device]

    def read_places_from(self, places_N: torch.Tensor) -> None:
        """Read places from a buffer from now on; for passes of one token per slot."""
        for name in ("places", "last_places"):
            self._on_device[name, places_N.device] = places_N

    def forget_hidden(self) -> None:
        """Find out anew what is hidden, since the places have changed."""
        self._hiding.clear()

    def hidden(self, device: torch.device, window: int | None) -> torch.Tensor:
        """Return which positions of its slot the last token of each may not see; shape n, 1, 1, T."""
        return self._hidden_once(
            ("own", device, window),
            lambda: _hidden(self.index("last_places", device)[:, None], 0, self.longest, window)[:, None, None],
        )

    def added(self, like: torch.Tensor, window: int | None) -> torch.Tensor:
        """Return the same as what is added to scores, in the dtype of `like`: 0 or -inf."""
        hidden = self.hidden(like.device, window)
        return self._hidden_once(
            ("added", like.device, like.dtype, window),
            lambda: torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, -torch.inf),
        )

    def hidden_head(self, device: torch.device, window: int) -> torch.Tensor:
        """Return which positions of the head the last token of each slot may not see; shape n, P."""
        query = self.index("last_places", device)[:, None] + self.head
        return self._hidden_once(("head", device, window), lambda: _hidden(query, 0, self.head, window))

    def hidden_together(self, first: int, length: int, device: torch.device, window: int | None) -> torch.Tensor:
        """Return which positions from `first` on the tokens of all long slots may not see; shape R, N, length."""
        return self._hidden_once(
            ("long", first, device, window),
            lambda: _hidden(self.index("long_places", device)[..., None] + self.head, first, length, window),
        )

    def hidden_from(
        self, row: "Long", first: int, length: int, device: torch.device, window: int | None
    ) -> torch.Tensor:
        """Return which of the positions from `first` on each token of a long row may not see; shape s, length."""

        def make() -> torch.Tensor:
            start = self.head + row.cached
            query_N1 = torch.arange(start, start + row.count, device=device)[:, None]
            return _hidden(query_N1, first, length, window)

        return self._hidden_once((row, first, device, window), make)

    def _hidden_once(self, key: Any, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        if key not in self._hiding:
            self._hiding[key] = make()
        return self._hiding[key]


def _hidden(query_N1: torch.Tensor, first: int, length: int, window: int | None) -> torch.Tensor:
    key_L = torch.arange(first, first + length, device=query_N1.device)
    hidden_NL = key_L > query_N1
    return hidden_NL if window is None else hidden_NL | (key_L <= query_N1 - window)


@dataclass(frozen=True)
class Long:
    """A row with several tokens in a pass: its slot, its first token in the pass, how many, cached before."""

    slot: int
    first: int
    count: int
    cached: int
