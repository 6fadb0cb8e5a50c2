"""Passes of one shape, one token for every slot, which a GPU is given as one recorded graph.

In small passes a GPU waits for Python, which launches kernel after kernel. Recorded once as a CUDA graph and replayed,
they cost one launch. A recording is bound to shapes and addresses, so these passes have few of both:

    slots      rounded up to the next of 1, 2, 4, 8, 16, 24, 32 ...; what surplus slots compute is not read
    places     all that slots have room for, in steps of CAPACITY; those that a row has not come to are hidden
    inputs     tokens, positions and places, in one buffer that is written before each pass

Recorded or not, passes are padded alike, so that a run that is continued rounds as one that never stopped.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch

from agent_forge.models.slots import Pass, SlotCache, forward

# Slots have room for so many places at a time: the more, the fewer recordings and the more hidden places are read.
CAPACITY = 256
# A shape is recorded when it comes up once more than this; most shapes of a run's end never do.
UNRECORDED = 2
_FINE = 8

Run = Callable[[], torch.Tensor]
Record = Callable[[Run], Run]


class Steps:
    """Makes passes of one token per slot over a cache.

    Args:
        model: takes the passes, within `slots.running`.
        cache: the rows' keys and values; its head must be there.
        record: turns what makes a pass into what repeats it, reading the same buffers and giving the same tensor;
            see `cuda_graphs`.
    """

    def __init__(self, model: Any, cache: SlotCache, record: Record) -> None:
        self._model = model
        self._cache = cache
        self._record = record
        self._addresses: tuple[int, ...] = ()
        self._made: dict[int, _Step] = {}

    def feed(self, cached: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
        """Feed one token to each of the first slots.

        Args:
            cached: per slot, the places that it holds.
            tokens: per slot.

        Returns:
            Logits (n, V; float32) after these tokens, valid until the next pass.
        """
        count = rounded(len(tokens))
        capacity = -(-(max(cached) + 1) // CAPACITY) * CAPACITY
        self._cache.reserve(count, capacity)
        if self._cache.addresses != self._addresses:
            self.forget()
            self._addresses = self._cache.addresses
        if count not in self._made:
            self._made[count] = _Step(self._model, self._cache, count)
        return self._made[count].make(cached, tokens, self._record)[: len(tokens)].float()

    def forget(self) -> None:
        """Give back what recordings hold."""
        self._made.clear()
        self._addresses = ()


class _Step:
    """Passes over one number of slots, at one place in memory."""

    def __init__(self, model: Any, cache: SlotCache, count: int) -> None:
        self._model = model
        self._cache = cache
        self._plan = Pass(cache.head, [cache.capacity - 1] * count, [1] * count)
        # Tokens, positions and places.
        self._inputs_3B = torch.zeros(3, count, dtype=torch.int64, device=model.device)
        self._plan.read_places_from(self._inputs_3B[2])
        self._unrecorded = UNRECORDED
        self._again: Run | None = None

    def make(self, cached: Sequence[int], tokens: Sequence[int], record: Record) -> torch.Tensor:
        surplus = [0] * (self._inputs_3B.shape[1] - len(tokens))
        places = [*cached, *surplus]
        positions = [self._cache.head + place for place in places]
        self._inputs_3B.copy_(torch.tensor([[*tokens, *surplus], positions, places]))
        if self._again is None and self._unrecorded:
            self._unrecorded -= 1
            return self._run()
        if self._again is None:
            self._again = record(self._run)
        return self._again()

    def _run(self) -> torch.Tensor:
        self._plan.forget_hidden()
        tokens_BN, positions_BN = self._inputs_3B[:1], self._inputs_3B[1:2]
        return forward(self._model, self._cache, self._plan, tokens_BN, positions_BN)


def rounded(count: int) -> int:
    """Return how many slots a pass over `count` of them has."""
    if count < _FINE:
        return 1 << (count - 1).bit_length()
    return -(-count // _FINE) * _FINE


class CudaGraphs:
    """Records passes as CUDA graphs, which share their memory: no two are replayed at once.

    Args:
        device: the GPU that the passes are made on.
    """

    def __init__(self, device: torch.device) -> None:
        self._memory = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, run: Run) -> Run:
        """Record a pass; the buffers hold a pass that may be made again.

        Raises:
            RuntimeError: when the pass waits for the GPU, or does anything else that no graph can hold.
        """
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

        def replay() -> torch.Tensor:
            graph.replay()
            return found

        return replay


def graphs_for(model: Any) -> Record | None:
    """Return what records a model's passes, None where it is not on one GPU."""
    place, *others = {parameter.device for parameter in model.parameters()}
    return CudaGraphs(place) if place.type == "cuda" and not others else None
