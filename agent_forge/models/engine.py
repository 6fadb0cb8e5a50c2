"""The engine that shares: what rows have in common is computed once, and a finished row's place is taken at once.

    head      the tokens that all prompts of a stretch begin with: computed once, kept once
    prompt    rows that ask the same question copy what the first of them has computed
    places    rows of similar length enter, longest first, as long as the memory that `batch_size` of the longest
              would take has room; a row that is done gives its place to the next one

What a row is made to do, the random numbers that choose its tokens and the choice itself are those of the reference in
`sample.py`; so its completions are the reference's, up to the rounding of matrix products of other shapes.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from agent_forge.models.choosing import Decoding, choose_tokens
from agent_forge.models.memory import give_back_memory, is_out_of_memory
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, Sampled, TransformersSampler, plan_batches
from agent_forge.models.slots import Pass, SlotCache, feed, running
from agent_forge.models.steps import Record, Steps
from agent_forge.thoughts import RowState, ThoughtRules

# Most tokens of prompts in one pass: enough to keep a device busy, few enough that activations stay small.
PREFILL_TOKENS = 1024
# So many batches of rows share and refill places with each other and with no others. A run that is continued after any
# of these stretches makes the same passes as one that never stopped, so it gets the same bytes, rounding included.
STRETCH = 8
# A shorter head is not worth two products for one.
LEAST_HEAD = 8


@dataclass(eq=False)
class _Row:
    """One row that has a slot.

    Attributes:
        number: its place among the requests.
        known: prompt and forced prefix after the head.
        state: its script's state.
        numbers: what chooses its tokens.
        need: most positions it can come to take.
        cached: positions that its slot holds.
        feed: tokens of the next pass; empty while it waits for `leader`.
        leader: row of the same prompt that computes what both share.
    """

    number: int
    known: tuple[int, ...]
    prompt: tuple[int, ...]
    state: RowState
    numbers: list[float]
    need: int
    cached: int = 0
    feed: list[int] = field(default_factory=list)
    leader: "_Row | None" = None


class SharingSampler(TransformersSampler):
    """Samples like the reference, see the module; for models that `engine_fit.fault` finds nothing against.

    Args:
        model, prompting, rules, decoding, context_length: as for the reference.
        record: what records passes of one token per row, see `steps.py`; None lets Python make each anew.
    """

    shares = True

    def __init__(
        self,
        model: Any,
        prompting: Prompting,
        rules: ThoughtRules,
        decoding: Decoding,
        context_length: int | None = None,
        record: Record | None = None,
    ) -> None:
        super().__init__(model, prompting, rules, decoding, context_length)
        self.record = record
        self.name = "sharing" if record is None else "sharing, by CUDA graphs"

    def batches(self, requests: Sequence[Request], batch_size: int) -> Iterator[list[Sampled]]:
        """Yield the samples of one stretch of rows after the other, in the order of `plan_batches`.

        Raises:
            QuestionError: when a row cannot fit in the model's context.
        """
        self.check_fits(requests)
        for stretch in plan_batches(requests, batch_size * STRETCH):
            yield self._stretch(requests, stretch, batch_size)

    @torch.inference_mode()
    def _stretch(self, requests: Sequence[Request], order: list[int], batch_size: int) -> list[Sampled]:
        """Sample some of the rows, admitted in `order`, and return them in it."""
        done: dict[int, Sampled] = {}
        run = _Run(self, requests, order, batch_size)
        with running(self._model, run.cache):
            while not run.over:
                done.update((row.number, self._outcome(row.state)) for row in run.step())
        return [done[number] for number in order]


class _Run:
    """The rows of one call: those that wait, those that have a slot, and the passes over them."""

    def __init__(
        self, engine: "SharingSampler", requests: Sequence[Request], order: list[int], batch_size: int
    ) -> None:
        self.engine = engine
        self.cache = SlotCache()
        self.steps = None if engine.record is None else Steps(engine._model, self.cache, engine.record)
        self.requests = requests
        self.waiting = deque(order)
        self.rows: list[_Row] = []
        self.place = {number: place for place, number in enumerate(order)}
        self.head = _common_head([_known(requests[number]) for number in order])
        self.most_rows: int | None = None
        self.budget = batch_size * max(self._need(number) for number in order)
        self._head_ready = self.head == ()

    @property
    def over(self) -> bool:
        """Whether every row is done."""
        return not self.waiting and all(row.state.done for row in self.rows)

    def step(self) -> list[_Row]:
        """Make one pass; return the rows that are done after it.

        Raises:
            torch.OutOfMemoryError, MemoryError, RuntimeError: when the memory does not hold a single row.
        """
        try:
            self._read_head()
            self._admit()
            fed = [row for row in self.rows if row.feed]
            self._commit(fed, self._proposals(fed))
            self._follow_leaders()
        except (MemoryError, RuntimeError) as error:
            if len(self.rows) <= 1 or not is_out_of_memory(error):
                raise
            backing_off = True
        else:
            backing_off = False
        # Outside of the handler, which would keep the tensors of the failed pass alive.
        if backing_off:
            self._back_off()
        return [row for row in self.rows if row.state.done]

    def _need(self, number: int) -> int:
        request = self.requests[number]
        return request.length - len(self.head) + self.engine._most_steps(request.script)

    def _read_head(self) -> None:
        """Compute the head, a part at a time."""
        while not self._head_ready:
            for first in range(0, len(self.head), PREFILL_TOKENS):
                part = self.head[first : first + PREFILL_TOKENS]
                feed(self.engine._model, self.cache, Pass(0, [first], [len(part)]), part)
            self.cache.take_head(len(self.head))
            self._head_ready = True

    def _admit(self) -> None:
        """Give slots to waiting rows for as long as there is room for them, those of rows that are done first."""
        done = deque(slot for slot, row in enumerate(self.rows) if row.state.done)
        present = len(self.rows) - len(done)
        reading, taken = 0, sum(row.need for row in self.rows if not row.state.done)
        while self.waiting and reading < PREFILL_TOKENS and self._has_room(self.waiting[0], taken, present):
            row = self._row(self.waiting.popleft())
            row.leader = self._leader(row)
            if row.leader is None:
                row.feed = list(row.known)
            if done:
                self.rows[done.popleft()] = row
            else:
                self.rows.append(row)
            taken, present = taken + row.need, present + 1
            ready = _ready_leader(row)
            reading += len(row.known) - _shared(row, ready) if ready else len(row.feed)
        self._close_gaps()
        self._follow_leaders()

    def _has_room(self, number: int, taken: int, present: int) -> bool:
        if not present:
            return True
        fits = taken + self._need(number) <= self.budget
        return fits and (self.most_rows is None or present < self.most_rows)

    def _leader(self, row: _Row) -> _Row | None:
        """Return a row that computes what this one shares with it."""
        alike = (other for other in self.rows if other.prompt == row.prompt)
        return next((other for other in alike if not other.leader and not other.state.done), None)

    def _row(self, number: int) -> _Row:
        request = self.requests[number]
        (numbers_N,) = self.engine._uniforms([request])
        known = _known(request)[len(self.head) :]
        return _Row(
            number, known, request.prompt_ids, self.engine._state(request), numbers_N.tolist(), self._need(number)
        )

    def _follow_leaders(self) -> None:
        """Copy what rows' leaders have computed for both, once they have."""
        following = [(row, leader) for row in self.rows if (leader := _ready_leader(row)) is not None]
        if not following:
            return
        slots = {id(row): slot for slot, row in enumerate(self.rows)}
        shared = [_shared(row, leader) for row, leader in following]
        self.cache.copy([(slots[id(leader)], slots[id(row)]) for row, leader in following], max(shared))
        for (row, _), length in zip(following, shared, strict=True):
            row.leader, row.cached, row.feed = None, length, list(row.known[length:])

    def _proposals(self, fed: list[_Row]) -> list[int]:
        """Feed what is due; return the token that each row's model and random number propose next."""
        logits_BV = self._logits()
        numbers = [row.numbers[min(row.state.sampled_tokens, len(row.numbers) - 1)] for row in fed]
        self.engine._ban(logits_BV, [row.state for row in fed])
        numbers_B = torch.tensor(numbers, dtype=torch.float64, device=logits_BV.device)
        proposed: list[int] = choose_tokens(logits_BV, numbers_B, self.engine._decoding).tolist()
        return proposed

    def _logits(self) -> torch.Tensor:
        """Make the pass; return logits (n, V) after the last token of every row that is fed."""
        cached, counts = [row.cached for row in self.rows], [len(row.feed) for row in self.rows]
        tokens = [token for row in self.rows for token in row.feed]
        if self.steps is not None and min(cached) and set(counts) == {1}:
            return self.steps.feed(cached, tokens)
        return feed(self.engine._model, self.cache, Pass(len(self.head), cached, counts), tokens)

    def _commit(self, fed: list[_Row], proposed: list[int]) -> None:
        for row, token in zip(fed, proposed, strict=True):
            row.cached += len(row.feed)
            row.feed = _next(row.state, token)

    def _close_gaps(self) -> None:
        """Move the last rows into slots of rows that are done and that no other has taken."""
        gaps = [slot for slot, row in enumerate(self.rows) if row.state.done]
        if not gaps:
            return
        count = len(self.rows) - len(gaps)
        movers = [slot for slot in range(count, len(self.rows)) if not self.rows[slot].state.done]
        moves = list(zip(movers, gaps, strict=False))
        if moves:
            self.cache.copy(moves, max(self.rows[slot].cached for slot in movers))
        for source, target in moves:
            self.rows[target] = self.rows[source]
        del self.rows[count:]

    def _back_off(self) -> None:
        """Let half of the rows start anew, later: what becomes of a row does not depend on when it runs."""
        keep = (len(self.rows) + 1) // 2
        dropped = self.rows[keep:]
        self.waiting = deque(
            sorted([*self.waiting, *(row.number for row in dropped if not row.state.done)], key=self.place.__getitem__)
        )
        self.rows = self.rows[:keep]
        for row in self.rows:
            if any(row.leader is other for other in dropped):
                row.leader, row.feed = None, list(row.known)
        self.most_rows = keep
        self.engine.backed_off_to = min(keep, self.engine.backed_off_to or keep)
        give_back_memory()
        if self.steps is not None:
            self.steps.forget()
        self.cache.shrink(keep, max(row.cached for row in self.rows))


def _known(request: Request) -> tuple[int, ...]:
    return (*request.prompt_ids, *request.script.prefix_ids)


def _next(state: RowState, proposed: int) -> list[int]:
    """Return what the row feeds next: what became of the proposal, and every forced token after it."""
    tokens = [state.advance(proposed)]
    while state.forced and not state.done:
        tokens.append(state.advance(proposed))
    return [token for token in tokens if token is not None]


def _common_head(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what all rows begin with; at least one token of each is left over."""
    first, last = min(rows), max(rows)
    length = _common(first, last, min(map(len, rows)) - 1) if len(rows) > 1 else 0
    return first[:length] if length >= LEAST_HEAD else ()


def _ready_leader(row: _Row) -> _Row | None:
    """Return the row's leader once that has computed what both share."""
    leader = row.leader
    return leader if leader is not None and leader.cached >= _shared(row, leader) else None


def _shared(row: _Row, leader: _Row) -> int:
    """Return how many positions two rows share; at least one token is left to feed."""
    return _common(row.known, leader.known, len(row.known) - 1)


def _common(one: Sequence[int], other: Sequence[int], most: int) -> int:
    for k, (a, b) in enumerate(zip(one[:most], other[:most], strict=False)):
        if a != b:
            return k
    return min(most, len(one), len(other))
