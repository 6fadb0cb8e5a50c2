"""Thought states of all rows at once: which of the tokens just sampled only make their row longer.

Nearly all do. They open, close and end nothing, complete no stop, and reach no cap: such a row goes straight on, and is
told of its tokens later, all at once. Whether a token is of this kind depends on where it would stand and on nothing
else, so it is looked up in a table over the vocabulary, filled as tokens come up.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agent_forge.thoughts import RowState, ThoughtRules, may_complete

# Where a token would stand. In the last case every token is looked at, by the row's own state.
THOUGHT, FREE_THOUGHT, ANSWER, WATCHED = range(4)
_UNKNOWN = -1


class StraightTokens:
    """The table of a sampler.

    Args:
        rules: what holds for every row.
        piece: the text that one token adds to what stands before it.
        vocabulary: one more than the largest id.
    """

    def __init__(self, rules: ThoughtRules, piece: Callable[[int], str], vocabulary: int) -> None:
        self._stops = {THOUGHT: rules.thought_stops, FREE_THOUGHT: (), ANSWER: rules.answer_stops}
        self._piece = piece
        self._straight_KV = np.full((4, vocabulary), _UNKNOWN, dtype=np.int8)
        acting = [token for token in (rules.start_id, rules.end_id, *rules.eos_ids) if token < vocabulary]
        self._straight_KV[:, acting] = False
        self._straight_KV[WATCHED] = False

    def __call__(self, kinds_R: NDArray[np.int8], tokens_R: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of each row's token whether it only makes the row longer, unless a cap is reached."""
        found_R = self._straight_KV[kinds_R, tokens_R]
        for row in (found_R == _UNKNOWN).nonzero()[0].tolist():
            kind, token = int(kinds_R[row]), int(tokens_R[row])
            found_R[row] = not may_complete(self._stops[kind], self._piece(token))
            self._straight_KV[kind, token] = found_R[row]
        straight_R: NDArray[np.bool_] = found_R == 1
        return straight_R


def kind_of(state: RowState) -> int:
    """Return where a row's next token would stand."""
    if state.thinking:
        return FREE_THOUGHT if state.script.free else THOUGHT
    return WATCHED if state.places_thoughts else ANSWER
