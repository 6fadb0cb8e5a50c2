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
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agent_forge.models.choosing import Decoding, choose_tokens
from agent_forge.models.memory import give_back_memory, is_out_of_memory
from agent_forge.models.passes import Pass
from agent_forge.models.prompting import Prompting
from agent_forge.models.rows import Numbers, Row, Rows
from agent_forge.models.sample import Request, Sampled, TransformersSampler, plan_batches, rule_out
from agent_forge.models.slots import SlotCache, feed, running
from agent_forge.models.steps import AHEAD, CHOSEN, Ahead, Choice, Record, Steps, in_places, rounded
from agent_forge.models.straight import StraightTokens
from agent_forge.thoughts import ThoughtRules

# Most tokens of prompts in one pass: enough to keep a device busy, few enough that activations stay small.
PREFILL_TOKENS = 1024
# The same where passes are recorded: those over prompts are not, and cost a GPU as much however small they are.
PREFILL_TOGETHER = 4096
# So many batches of rows share and refill places with each other and with no others. A run that is continued after any
# of these stretches makes the same passes as one that never stopped, so it gets the same bytes, rounding included.
STRETCH = 8
# A shorter head is not worth two products for one.
LEAST_HEAD = 8
# Where passes are recorded, reading prompts is the slow part: this share of the slots waits to be taken at once.
REFILLED = 1 / 4
# There slots of rows that are done take part for nothing until fewer slots are at most this share of them.
CLOSED = 1 / 2
# There slots are made shorter once they take so many times the memory that rows come to need.
ROOMY = 2


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
        last = None if context_length is None else context_length - 1
        self.choice = Choice(decoding, (rules.start_id, rules.end_id), last)
        self.straight = StraightTokens(rules, self._piece, model.get_input_embeddings().weight.shape[0])

    def batches(self, requests: Sequence[Request], batch_size: int) -> Iterator[list[Sampled]]:
        """Yield the samples of one stretch of rows after the other, in the order of `plan_batches`.

        Raises:
            QuestionError: when a row cannot fit in the model's context.
        """
        self.check_fits(requests)
        places = _Places(SlotCache())
        for stretch in plan_batches(requests, batch_size * STRETCH):
            if self.record is None:
                places = _Places(SlotCache())
            elif places.steps is None:
                # Recordings hold for as long as what they read stays where it is.
                places.steps = Steps(self._model, places.cache, self.record, self.choice)
            yield self._stretch([requests[number] for number in stretch], batch_size, places)

    @torch.inference_mode()
    def _stretch(self, requests: list[Request], batch_size: int, places: "_Places") -> list[Sampled]:
        """Sample some rows, admitted in their order, and return them in it."""
        done: dict[int, Sampled] = {}
        run = _Run(self, requests, batch_size, places)
        with running(self._model, run.cache):
            while not run.over:
                done.update((row.number, self._outcome(row.state)) for row in run.step())
        return [done[number] for number in range(len(requests))]


@dataclass
class _Places:
    """What stretches hand on: keys and values with the head that is in them, and recorded passes over them."""

    cache: SlotCache
    head: tuple[int, ...] = ()
    steps: Steps | None = None


class _Run:
    """The rows of one stretch: those that wait, those that have a slot, and the passes over them."""

    def __init__(self, engine: SharingSampler, requests: list[Request], batch_size: int, places: _Places) -> None:
        self.engine = engine
        self.cache, self._steps, self._places = places.cache, places.steps, places
        self._prefill = PREFILL_TOKENS if self._steps is None else PREFILL_TOGETHER
        self.requests = requests
        self.waiting = deque(range(len(requests)))
        self.slots: list[Row] = []
        self.numbers: Numbers = np.zeros(0, dtype=np.int64)
        self.rows = Rows(engine.straight, engine._uniforms(requests))
        self.head = _common_head([_known(request) for request in requests])
        self.most_rows: int | None = None
        self.budget = batch_size * max(map(self._need, requests))
        # Whether room may be left for rows that wait, and how many slots are those of rows that are done.
        self._entering, self._ended = True, 0
        self._following: list[Row] = []

    @property
    def over(self) -> bool:
        """Whether every row is done."""
        return not self.waiting and self._ended == len(self.slots)

    def step(self) -> list[Row]:
        """Make one pass, or several that the host does not look between; return the rows that are done after it.

        Raises:
            torch.OutOfMemoryError, MemoryError, RuntimeError: when the memory does not hold a single row.
        """
        done: list[Row] = []
        try:
            self._read_head()
            if self._may_admit():
                self._admit()
            done += self._passes()
            self._ended += len(done)
            self._follow_leaders()
        except (MemoryError, RuntimeError) as error:
            if len(self.slots) <= 1 or not is_out_of_memory(error):
                raise
            backing_off = True
        else:
            backing_off = False
        # Outside of the handler, which would keep the tensors of the failed pass alive.
        if backing_off:
            self._back_off()
        return done

    def _need(self, request: Request) -> int:
        return self.engine.room_for(request) - len(self.head)

    def _read_head(self) -> None:
        """Compute the head, a part at a time, unless it is there."""
        if self._places.head == self.head:
            return
        self.cache.forget_head()
        # Should this fail, the head that was there is gone all the same.
        self._places.head = ()
        for first in range(0, len(self.head), PREFILL_TOKENS):
            part = self.head[first : first + PREFILL_TOKENS]
            feed(self.engine._model, self.cache, Pass(0, [first], [len(part)]), part)
        if self.head:
            self.cache.take_head(len(self.head))
        self._places.head = self.head

    def _may_admit(self) -> bool:
        """Whether rows may enter, or slots be closed, to some purpose."""
        if self._entering or self._steps is None:
            return self._entering or self._ended > 0
        present = len(self.slots)
        if self.waiting:
            return self._ended >= REFILLED * present
        return rounded(present - self._ended) <= CLOSED * rounded(present)

    def _admit(self) -> None:
        """Give slots to waiting rows for as long as there is room for them, those of rows that are done first."""
        done = deque(slot for slot, row in enumerate(self.slots) if row.state.done)
        present = len(self.slots) - len(done)
        reading, taken = 0, sum(row.need for row in self.slots if not row.state.done)
        while self.waiting and reading < self._prefill and self._has_room(self.waiting[0], taken, present):
            row = self._enter(self.waiting.popleft())
            if done:
                self.slots[done.popleft()] = row
            else:
                self.slots.append(row)
            taken, present = taken + row.need, present + 1
            shared = self._shared(row)
            reading += len(row.feed) if shared is None else len(row.known) - shared
        self._entering = bool(self.waiting) and reading >= self._prefill
        self._close_gaps()
        self._fit_room()
        self.numbers = np.array([row.number for row in self.slots])
        self._follow_leaders()

    def _fit_room(self) -> None:
        """Let slots be as long as rows can come to be; the rows that come later are shorter, and then more of them."""
        if self._steps is None or not self.slots:
            return
        self._steps.room = room = in_places(max(row.need for row in self.slots) + AHEAD)
        taken = len(self.slots) * self.cache.capacity
        if self.cache.capacity >= ROOMY * room and taken >= ROOMY * self.budget:
            self.cache.shrink(len(self.slots), room)

    def _has_room(self, number: int, taken: int, present: int) -> bool:
        if not present:
            return True
        fits = taken + self._need(self.requests[number]) <= self.budget
        return fits and (self.most_rows is None or present < self.most_rows)

    def _enter(self, number: int) -> Row:
        request = self.requests[number]
        known = _known(request)[len(self.head) :]
        row = Row(number, request.prompt_ids, known, self.engine._state(request), self._need(request))
        self.rows.enter(row)
        row.leader = self._leader(row)
        self.rows.due(row, () if row.leader else known)
        if row.leader:
            self._following.append(row)
        return row

    def _leader(self, row: Row) -> Row | None:
        """Return a row that computes what this one shares with it."""
        alike = (other for other in self.slots if other.prompt == row.prompt)
        return next((other for other in alike if not other.leader and not other.state.done), None)

    def _shared(self, row: Row) -> int | None:
        """Return how many positions a row has from its leader; None where there is none or it has not come so far."""
        if row.leader is None:
            return None
        shared = _common(row.known, row.leader.known, len(row.known) - 1)
        return shared if self.rows.cached[row.leader.number] >= shared else None

    def _follow_leaders(self) -> None:
        """Copy what rows' leaders have computed for both, once they have."""
        following = [(row, shared) for row in self._following if (shared := self._shared(row)) is not None]
        if not following:
            return
        slots = {row.number: slot for slot, row in enumerate(self.slots)}
        moves = [(slots[row.leader.number], slots[row.number]) for row, _ in following if row.leader]
        self.cache.copy(moves, max(shared for _, shared in following))
        for row, shared in following:
            row.leader, self.rows.cached[row.number] = None, shared
            self.rows.due(row, row.known[shared:])
        self._following = [row for row in self._following if row.leader]

    def _passes(self) -> list[Row]:
        """Feed what is due; return the rows that are done."""
        counts = self.rows.counts[self.numbers]
        if self._steps is None:
            return self._pass(counts)
        reading = (counts > AHEAD) | (self.rows.cached[self.numbers] == 0)
        if (counts * reading).any():
            return self._pass(counts * reading)
        return self._ahead(self._steps, counts)

    def _pass(self, counts: Numbers) -> list[Row]:
        """Feed so many tokens to the row of each slot, all that it is due to feed or none."""
        cached, fed = self.rows.cached[self.numbers], self.numbers[counts > 0]
        plan = Pass(len(self.head), cached, counts, together=self._steps is not None)
        logits_BV = feed(self.engine._model, self.cache, plan, self.rows.tokens(fed))
        for token, banned in zip(self.engine.choice.banned, self.rows.bans[:, fed], strict=True):
            rule_out(logits_BV, token, banned)
        uniforms_B = torch.from_numpy(self.rows.uniforms(fed)).to(logits_BV.device)
        proposed_B = choose_tokens(logits_BV, uniforms_B, self.engine.choice.decoding).cpu().numpy()
        self.rows.cached[self.numbers] += counts
        return self.rows.propose(fed, proposed_B)[1]

    def _ahead(self, steps: Steps, counts: Numbers) -> list[Row]:
        """Make several passes of a token per slot, as though every token that is sampled were the next to be fed.

        A row of which that is not so is set back to where it was. Slots of rows that are done take part for nothing.
        """
        rows, numbers = self.rows, self.numbers
        going, known = counts > 0, np.maximum(counts - 1, 0)
        passes = min(AHEAD, int((known + rows.left[numbers])[going].max()))
        chosen_KB = steps.make(self._planned(known, passes))
        done: list[Row] = []
        for k in range(passes):
            rows.cached[numbers[going]] += 1
            due = (going & (known <= k)).nonzero()[0]
            on, ended = rows.propose(numbers[due], chosen_KB[k, due])
            going[due[~on]] = False
            done += ended
        return done

    def _planned(self, known: Numbers, passes: int) -> Ahead:
        rows, numbers = self.rows, self.numbers
        given_KB = np.full((passes, len(numbers)), CHOSEN)
        for place in known.nonzero()[0].tolist():
            given_KB[: known[place], place] = rows.at[int(numbers[place])].feed[1:]
        later_KB = np.maximum(np.arange(passes)[:, None] - known, 0)
        return Ahead(
            rows.cached[numbers], rows.token[numbers], given_KB, rows.uniforms(numbers, later_KB), rows.bans[:, numbers]
        )

    def _close_gaps(self) -> None:
        """Move the last rows into slots of rows that are done and that no other has taken."""
        self._ended = 0
        gaps = [slot for slot, row in enumerate(self.slots) if row.state.done]
        if not gaps:
            return
        count = len(self.slots) - len(gaps)
        movers = [slot for slot in range(count, len(self.slots)) if not self.slots[slot].state.done]
        moves = list(zip(movers, gaps, strict=False))
        if moves:
            self.cache.copy(moves, max(int(self.rows.cached[self.slots[slot].number]) for slot in movers))
        for source, target in moves:
            self.slots[target] = self.slots[source]
        del self.slots[count:]

    def _back_off(self) -> None:
        """Let half of the rows start anew, later: what becomes of a row does not depend on when it runs."""
        keep = (len(self.slots) + 1) // 2
        # A row that is done may lose its slot before others have copied from it.
        dropped = {row.number for row in self.slots if row.state.done} | {row.number for row in self.slots[keep:]}
        anew = [row.number for row in self.slots[keep:] if not row.state.done]
        self.waiting = deque(sorted([*self.waiting, *anew]))
        self.slots = self.slots[:keep]
        for row in self._following:
            if row.leader and row.leader.number in dropped:
                row.leader = None
                self.rows.due(row, row.known)
        self._following = [row for row in self._following if row.leader and row.number not in dropped]
        self._ended = sum(row.state.done for row in self.slots)
        self.most_rows, self._entering = keep, True
        self.engine.backed_off_to = min(keep, self.engine.backed_off_to or keep)
        give_back_memory()
        if self._steps is not None:
            self._steps.forget()
        self.cache.shrink(keep, max(int(self.rows.cached[row.number]) for row in self.slots))


def _known(request: Request) -> tuple[int, ...]:
    return (*request.prompt_ids, *request.script.prefix_ids)


def _common_head(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what all rows begin with; at least one token of each is left over."""
    first, last = min(rows), max(rows)
    length = _common(first, last, min(map(len, rows)) - 1) if len(rows) > 1 else 0
    return first[:length] if length >= LEAST_HEAD else ()


def _common(one: Sequence[int], other: Sequence[int], most: int) -> int:
    for k, (a, b) in enumerate(zip(one[:most], other[:most], strict=False)):
        if a != b:
            return k
    return min(most, len(one), len(other))
