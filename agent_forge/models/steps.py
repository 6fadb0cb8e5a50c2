"""Passes of one shape, one token for every slot, which a GPU is given as one recorded graph.

In small passes a GPU waits for Python, which launches kernel after kernel, and then for the host, which looks at every
token before the next pass. Recorded once as a CUDA graph, a pass and the choice of the tokens after it cost one launch;
and since a row's next token is nearly always the one just chosen, several passes are made before the host looks. A
recording is bound to shapes and addresses, so these passes have few of both:

    slots      rounded up to the next of 1, 2, 4, 8, 16, 24, 32 ...; what surplus slots compute is not read
    places     in steps of PLACES; those that a row has not come to are hidden
    inputs     one buffer that is written before the first of several passes; each pass writes what the next one reads

Passes are padded alike whenever they are made, so that a run that is continued rounds as one that never stopped.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray

from agent_forge.models.choosing import Decoding, choose_tokens
from agent_forge.models.passes import Pass
from agent_forge.models.slots import SlotCache, forward

# Passes before the host looks at what was chosen. What a row computes after it has come to an end is for nothing.
AHEAD = 4
# In place of a token: the one that is chosen.
CHOSEN = -1
# Places are read so many at a time: the more, the fewer recordings and the more hidden places are read.
PLACES = 256
_FINE = 8

Run = Callable[[], torch.Tensor]
Record = Callable[[Run], Run]


@dataclass(frozen=True)
class Choice:
    """How tokens are chosen in every pass.

    Attributes:
        decoding: temperature and the rest.
        banned: the tokens that rows may ban.
        last: last position that the model has; None when unlimited.
    """

    decoding: Decoding
    banned: tuple[int, int]
    last: int | None


@dataclass(frozen=True)
class Ahead:
    """What several passes are told of each of the first n slots.

    Attributes:
        cached: places that the slot holds; shape n.
        first: token of the first pass; shape n.
        given: token of the pass after each, or CHOSEN; shape passes, n.
        uniforms: number in [0, 1) that chooses the token after each pass; shape passes, n.
        bans: which of `Choice.banned` may not be chosen; shape 2, n.
    """

    cached: NDArray[np.int64]
    first: NDArray[np.int64]
    given: NDArray[np.int64]
    uniforms: NDArray[np.float64]
    bans: NDArray[np.bool_]


class Steps:
    """Makes passes of one token per slot over a cache.

    Args:
        model: takes the passes, within `slots.running`.
        cache: the rows' keys and values; its head must be there.
        record: turns what makes a pass into what repeats it, reading and writing the same buffers and giving the same
            tensor; see `CudaGraphs`.
        choice: how tokens are chosen.

    Attributes:
        room: places that slots are to have room for from the start, since recordings are lost when they are moved.
    """

    def __init__(self, model: Any, cache: SlotCache, record: Record, choice: Choice) -> None:
        self._model = model
        self._cache = cache
        self._record = record
        self._choice = choice
        self._moves = cache.moves
        self.room = 0
        self._made: dict[tuple[int, int], _Step] = {}
        self._last: _Step | None = None

    def make(self, ahead: Ahead) -> NDArray[np.int64]:
        """Make at most AHEAD passes.

        Returns:
            The token chosen after each; shape passes, n.
        """
        passes, count = ahead.given.shape
        slots, places = rounded(count), in_places(int(ahead.cached.max()) + passes)
        self._cache.reserve(slots, max(places, self.room))
        if self._cache.moves != self._moves:
            self.forget()
            self._moves = self._cache.moves
        if (slots, places) not in self._made:
            self._made[slots, places] = _Step(self._model, self._cache, (slots, places), self._choice)
        self._last = self._made[slots, places]
        return self._last.make(ahead, self._record)

    @property
    def logits(self) -> torch.Tensor:
        """Logits (slots, V; float32) of the last pass, valid until the next one; banned tokens have -inf."""
        if self._last is None or self._last.logits is None:
            raise ValueError("no pass was made")
        return self._last.logits

    def forget(self) -> None:
        """Give back what recordings hold."""
        self._made.clear()
        self._last = None


class _Step:
    """Passes over one number of slots and of places, somewhere in memory.

    The buffer of inputs has a row of n integers for each of: token, position, place, two bans, AHEAD given tokens, the
    bits of AHEAD uniform numbers.
    """

    def __init__(self, model: Any, cache: SlotCache, shape: tuple[int, int], choice: Choice) -> None:
        count, places = shape
        self._model = model
        self._cache = cache
        self._choice = choice
        self._plan = Pass(cache.head, [places - 1] * count, [1] * count)
        self._inputs_KB = torch.zeros(5 + 2 * AHEAD, count, dtype=torch.int64, device=model.device)
        self._plan.read_places_from(self._inputs_KB[2])
        self._bans_2B, self._given_KB = self._inputs_KB[3:5], self._inputs_KB[5 : 5 + AHEAD]
        self._uniforms_KB = self._inputs_KB[5 + AHEAD :].view(torch.float64)
        self._chosen_KB = torch.zeros(AHEAD, count, dtype=torch.int64, device=model.device)
        self._number_1 = torch.zeros(1, dtype=torch.int64, device=model.device)
        for name in ("slots", "last", "fed", "last_fed"):
            # No recording holds a copy from the host.
            self._plan.index(name, model.device)
        self._again: Run | None = None
        self.logits: torch.Tensor | None = None

    def make(self, ahead: Ahead, record: Record) -> NDArray[np.int64]:
        passes, count = ahead.given.shape
        inputs_KB = torch.from_numpy(self._packed(ahead))
        self._begin(inputs_KB)
        if self._again is None:
            self._again = record(self._run)
            # Making the recording may have made the pass.
            self._begin(inputs_KB)
        for _ in range(passes):
            self.logits = self._again()
        chosen_KB: NDArray[np.int64] = self._chosen_KB[:passes, :count].cpu().numpy()
        return chosen_KB

    def _packed(self, ahead: Ahead) -> NDArray[np.int64]:
        passes, count = ahead.given.shape
        packed_KB = np.zeros(self._inputs_KB.shape, dtype=np.int64)
        # Surplus slots stay where they are: at their first places.
        packed_KB[:3, :count] = ahead.first, self._cache.head + ahead.cached, ahead.cached
        packed_KB[3:5, :count] = ahead.bans
        packed_KB[5 : 5 + passes, :count] = ahead.given
        packed_KB[5 + AHEAD : 5 + AHEAD + passes, :count] = ahead.uniforms.view(np.int64)
        return packed_KB

    def _begin(self, inputs_KB: torch.Tensor) -> None:
        self._inputs_KB.copy_(inputs_KB)
        self._number_1.zero_()

    def _run(self) -> torch.Tensor:
        """Make a pass and choose the tokens after it; return its logits."""
        self._plan.forget_hidden()
        token_B, position_B, place_B = self._inputs_KB[:3].unbind()
        logits_BV = forward(self._model, self._cache, self._plan, token_B[None], position_B[None]).float()
        for token, banned_B in zip(self._choice.banned, self._bans_2B.unbind(), strict=True):
            logits_BV[:, token].masked_fill_(banned_B.bool(), -torch.inf)
        uniforms_B, given_B = (rows_KB[self._number_1][0] for rows_KB in (self._uniforms_KB, self._given_KB))
        chosen_B = choose_tokens(logits_BV, uniforms_B, self._choice.decoding, waits=False)
        self._chosen_KB.index_copy_(0, self._number_1, chosen_B[None])
        token_B.copy_(torch.where(given_B == CHOSEN, chosen_B, given_B))
        # A row that is done may run over the end of what the model knows; what it computes there is not read.
        position_B.add_(1)
        if self._choice.last is not None:
            position_B.clamp_(max=self._choice.last)
        place_B.add_(1)
        self._number_1.add_(1)
        return logits_BV


def rounded(count: int) -> int:
    """Return how many slots a pass over `count` of them has."""
    if count < _FINE:
        return 1 << (count - 1).bit_length()
    return -(-count // _FINE) * _FINE


def in_places(length: int) -> int:
    """Return how many places a pass reads of slots that hold at most so many."""
    return -(-length // PLACES) * PLACES


class CudaGraphs:
    """Records passes as CUDA graphs, which share their memory: no two are replayed at once.

    Args:
        device: the GPU that the passes are made on.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._recorded: WeakSet[_Recorded] = WeakSet()
        self._memory: Any = None

    def __call__(self, run: Run) -> Run:
        """Record a pass; the buffers hold a pass that may be made again.

        Raises:
            RuntimeError: when the pass waits for the GPU, or does anything else that no graph can hold.
        """
        if not self._recorded:
            # Memory that no graph holds any more is given back, and its name with it.
            self._memory = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            graph.capture_begin(pool=self._memory, capture_error_mode="thread_local")
            try:
                found = run()
            except BaseException:
                # The recording is spoilt and ends with an error of its own; the one that counts is what spoilt it.
                with suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()
        recorded = _Recorded(graph, found)
        self._recorded.add(recorded)
        return recorded


@dataclass(frozen=True, eq=False)
class _Recorded:
    """A graph, and the tensor that it leaves its result in."""

    graph: torch.cuda.CUDAGraph
    found: torch.Tensor

    def __call__(self) -> torch.Tensor:
        self.graph.replay()
        return self.found


def graphs_for(model: Any) -> Record | None:
    """Return what records a model's passes, None where it is not on one GPU."""
    place, *others = {parameter.device for parameter in model.parameters()}
    return CudaGraphs(place) if place.type == "cuda" and not others else None
