"""Scoring merges on several machines that share a directory.

Each machine runs the whole evolution over the same scores: what it asks for is a function of them, so all ask for the
same merges. A machine takes a merge that nobody has taken, under a lease, and scores it; when nothing is left to take
it waits for the scores of the others. Whoever dies loses its lease, and another machine scores that merge. So there is
no machine that others depend on, and one that joins late or leaves early changes nothing but the time it takes.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution_records import EvolutionSplit
from agent_forge.storage.directory_publication import DirectoryLease
from agent_forge.storage.lease import Held, Watch

# Seconds between two looks at what others have scored.
PAUSE = 1.0


@dataclass(frozen=True)
class Nodes:
    """The machines of one evolution, seen from one of them.

    Attributes:
        number: of this machine, from 0.
        scores: the directory of scores that all of them share.
    """

    number: int
    scores: Path

    def share(
        self,
        recipes: Sequence[Recipe],
        split: EvolutionSplit,
        known: Callable[[Recipe], bool],
        score: Callable[[Sequence[Recipe]], None],
        at_once: int,
    ) -> None:
        """Have every recipe scored, here or elsewhere.

        Args:
            recipes: what is asked for, in the same order on every machine.
            split: the questions.
            known: whether a recipe has a score.
            score: scores recipes here, leaving out what does not work.
            at_once: how many are taken together.
        """
        watch, left = Watch(), self._own_first(recipes)
        while left := [recipe for recipe in left if not known(recipe)]:
            with contextlib.ExitStack() as leases:
                taken = self._take(left, split, watch, at_once, leases)
                score(taken)
            # What does not work here is met by whoever asked, who can say why.
            left = [recipe for recipe in left if recipe not in taken]
            if not taken:
                time.sleep(PAUSE)

    def _own_first(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Begin at another place than the other machines, so that they seldom reach for the same merge."""
        first = self.number % max(len(recipes), 1)
        return [*recipes[first:], *recipes[:first]]

    def _take(
        self,
        recipes: Sequence[Recipe],
        split: EvolutionSplit,
        watch: Watch,
        at_once: int,
        leases: contextlib.ExitStack,
    ) -> list[Recipe]:
        taken: list[Recipe] = []
        for recipe in recipes:
            if len(taken) == at_once:
                break
            if (held := watch.attempt(DirectoryLease(self.scores / split, recipe.digest))) is not None:
                leases.callback(Held.release, held)
                taken.append(recipe)
        return taken
