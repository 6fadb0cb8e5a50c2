"""The rows that vLLM decodes for us: what each of its steps feeds to each of its places.

    vLLM             logits of every place, after its own cache, batching and attention
    choose           ban what a row bans, choose by the row's next number, ask its state what is really fed
    vLLM             is left that one token: every other logit is -inf

So a row's script, its random numbers and the choice itself are the reference's, and no second implementation of
thoughts has to agree with the first. Nothing here needs vLLM: `vllm_engine.py` joins the two.

vLLM drops what it sampled after part of a prompt, or of a row that it computes anew after running out of memory. A
row that has been fed more than vLLM kept of it is taken back: its state depends on what was proposed and nothing else.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from agent_forge.errors import EngineError
from agent_forge.thoughts import RowState


class Chooser(Protocol):
    """Chooses a token per row as the reference does."""

    def propose(self, logits_BV: torch.Tensor, rows: Sequence[RowState], numbers: Sequence[float]) -> list[int]:
        """Return what each row's model and random number propose next; may change the logits."""
        ...


@dataclass(eq=False)
class Row:
    """One row.

    Attributes:
        start: makes its state as it is before the first token.
        numbers: what chooses its tokens.
        stop_id: fed when the row is done; vLLM ends the row by it.
        chooser: how tokens are chosen.
        fed: every token that vLLM was left with, `stop_id` last.
    """

    start: Callable[[], RowState]
    numbers: np.ndarray
    stop_id: int
    chooser: Chooser
    state: RowState = field(init=False)
    fed: list[int] = field(default_factory=list)
    _proposed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.start()

    @property
    def number(self) -> float:
        """What chooses the next token that is sampled."""
        return float(self.numbers[min(self.state.sampled_tokens, len(self.numbers) - 1)])

    def advance(self, proposed: int) -> int:
        """Take a proposal; return what is fed."""
        token = self.state.advance(proposed)
        self._proposed.append(proposed)
        self.fed.append(self.stop_id if token is None else token)
        return self.fed[-1]

    def keep(self, kept: int) -> None:
        """Forget everything after the first `kept` tokens, which is what vLLM has of this row.

        Raises:
            EngineError: when vLLM has more than was ever fed.
        """
        if kept > len(self.fed):
            raise EngineError(f"vLLM has {kept} tokens of a row that was fed {len(self.fed)}; use engine sharing")
        if kept == len(self.fed):
            return
        proposed, self._proposed, self.fed, self.state = self._proposed[:kept], [], [], self.start()
        for token in proposed:
            self.advance(token)


@dataclass
class Places:
    """Which row is at which place of vLLM's batch, and how many of its tokens vLLM has kept.

    Attributes:
        rows: place -> the row and the list that vLLM appends its tokens to.
    """

    rows: dict[int, tuple[Row, Sequence[int]]] = field(default_factory=dict)

    def update(
        self,
        removed: Iterable[int],
        added: Iterable[tuple[int, Row, Sequence[int]]],
        moved: Iterable[tuple[int, int, bool]],
    ) -> None:
        """Follow a change of the batch, in the order that vLLM's interface asks for.

        Args:
            removed: places.
            added: place, row, and the list of its tokens.
            moved: from, to, and whether the row that was there comes back in exchange.
        """
        for place in removed:
            self.rows.pop(place, None)
        for place, row, tokens in added:
            self.rows[place] = (row, tokens)
        for source, target, swapped in moved:
            moving, there = self.rows.pop(source, None), self.rows.pop(target, None)
            if moving is not None:
                self.rows[target] = moving
            if swapped and there is not None:
                self.rows[source] = there

    def choose(self, logits_BV: torch.Tensor) -> torch.Tensor:
        """Leave every row the one token that it is fed next."""
        places = sorted(self.rows)
        if not places:
            return logits_BV
        rows = [self.rows[place][0] for place in places]
        for row, tokens in self.rows.values():
            row.keep(len(tokens))
        states, numbers = [row.state for row in rows], [row.number for row in rows]
        proposed = rows[0].chooser.propose(logits_BV[places], states, numbers)
        fed = [row.advance(token) for row, token in zip(rows, proposed, strict=True)]
        logits_BV[places] = -torch.inf
        logits_BV[places, fed] = 0
        return logits_BV
