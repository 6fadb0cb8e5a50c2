"""The rows of a stretch while they are sampled: their thought states, and in arrays what every pass asks of each.

A row that goes straight on, see `straight.py`, is moved on in the arrays alone, with all others at once. Its state is
told of the tokens when one comes up that may change it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent_forge.models.straight import StraightTokens, kind_of
from agent_forge.thoughts import RowState

Numbers = NDArray[np.int64]


@dataclass(eq=False)
class Row:
    """One row that has a slot.

    Attributes:
        number: its place among the rows of the stretch.
        prompt: ids of its prompt.
        known: prompt and forced prefix after the head.
        state: its script's state; up to date where `Rows.look` has been at it last.
        need: most positions it can come to take.
        feed: tokens of the next pass where they are not one; empty while it waits for `leader`.
        leader: row of the same prompt that computes what both share.
    """

    number: int
    prompt: tuple[int, ...]
    known: tuple[int, ...]
    state: RowState
    need: int
    feed: list[int] = field(default_factory=list)
    leader: "Row | None" = None


class Rows:
    """Arrays over the rows of a stretch, by their numbers.

    Args:
        straight: which tokens leave a row's state as it is.
        uniforms: per row, the random numbers that choose its tokens, at least as many as it can come to sample.

    Attributes:
        cached: positions that the row's slot holds.
        counts: tokens that it is due to feed.
        token: the first of them.
        drawn: tokens sampled so far, which tells the random number of the next.
        left: sampled tokens until a cap acts.
        bans: per thought token, whether it may not be sampled now; shape 2, R.
    """

    def __init__(self, straight: StraightTokens, uniforms: Sequence[NDArray[np.float64]]) -> None:
        count = len(uniforms)
        self._straight = straight
        longest = max(map(len, uniforms))
        self._uniforms_RS = np.zeros((count, longest))
        for row, own in enumerate(uniforms):
            # A row asks for no more than it has; passes ahead of it may.
            self._uniforms_RS[row, : len(own)] = own
        self.cached, self.counts, self.token, self.drawn, self.left, self._held = np.zeros((6, count), dtype=np.int64)
        self._kinds_R = np.zeros(count, dtype=np.int8)
        self._tokens_RT = np.zeros((count, longest), dtype=np.int64)
        self.bans = np.zeros((2, count), dtype=np.bool_)
        self.at: dict[int, Row] = {}

    def enter(self, row: Row) -> None:
        """Begin with a row, which has fed nothing."""
        self.at[row.number] = row
        self.cached[row.number] = self._held[row.number] = 0
        self._note(row)

    def due(self, row: Row, tokens: Sequence[int]) -> None:
        """Let a row feed these tokens next."""
        row.feed = list(tokens)
        self.counts[row.number] = len(tokens)
        if tokens:
            self.token[row.number] = tokens[0]

    def uniforms(self, numbers: Numbers, later: Numbers | int = 0) -> NDArray[np.float64]:
        """Return the random numbers that choose the next token of rows, or one that comes later by so many."""
        last = self._uniforms_RS.shape[1] - 1
        found: NDArray[np.float64] = self._uniforms_RS[numbers, np.minimum(self.drawn[numbers] + later, last)]
        return found

    def tokens(self, numbers: Numbers) -> Numbers:
        """Return all tokens that rows are due to feed, one row after the other."""
        counts = self.counts[numbers]
        found = self.token[numbers].repeat(counts)
        ends = counts.cumsum()
        for place in (counts > 1).nonzero()[0].tolist():
            found[ends[place] - counts[place] : ends[place]] = self.at[int(numbers[place])].feed
        return found

    def propose(self, numbers: Numbers, proposed: Numbers) -> tuple[NDArray[np.bool_], list[Row]]:
        """Move rows on by the tokens that were sampled for them.

        Returns:
            Per row, whether it feeds just that token next; and the rows that are done.
        """
        on = self._straight(self._kinds_R[numbers], proposed) & (self.left[numbers] > 1)
        going, taken = numbers[on], proposed[on]
        self._tokens_RT[going, self._held[going]] = taken
        self._held[going] += 1
        self.drawn[going] += 1
        self.left[going] -= 1
        self.token[going], self.counts[going] = taken, 1
        done = []
        for place in (~on).nonzero()[0].tolist():
            row = self.at[int(numbers[place])]
            on[place] = self._look(row, int(proposed[place]))
            if row.state.done:
                done.append(row)
        return on, done

    def _look(self, row: Row, proposed: int) -> bool:
        """Let a row's state say what is fed next."""
        held = int(self._held[row.number])
        row.state.take(self._tokens_RT[row.number, :held].tolist())
        self._held[row.number] = 0
        tokens = _next(row.state, proposed)
        self.due(row, tokens)
        self._note(row)
        return tokens == [proposed]

    def _note(self, row: Row) -> None:
        number, state = row.number, row.state
        self.drawn[number], self.left[number], self._kinds_R[number] = state.sampled_tokens, state.left, kind_of(state)
        self.bans[:, number] = state.bans_start, state.bans_end


def _next(state: RowState, proposed: int) -> list[int]:
    """Return what the row feeds next: what became of the proposal, and every forced token after it."""
    tokens = [state.advance(proposed)]
    while state.forced and not state.done:
        tokens.append(state.advance(proposed))
    return [token for token in tokens if token is not None]
