"""CMA-ES over a space of recipes, as `cmaes.CatCMAwM` does it: numbers and a choice, searched together.

    search = Search(space, population=8, seed=0)
    points = search.ask()                        # one generation
    search.tell(points, scores)

Hamano et al., "CatCMA with Margin" (GECCO 2025, https://arxiv.org/abs/2504.07884). What is asked next is a function of
the seed and of what was told so far, so a search is continued by telling it the same again; its state is not kept.

It is told ranks, not scores. CMA-ES goes by ranks alone; but the library measures how far scores are apart to punish
points outside of the bounds, and with accuracies on a hundred questions half of a generation is often exactly equal.
Equal scores rank in the order asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cmaes import CatCMAwM

from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution.space import Space

# Share of its range that a number varies by in the beginning: from one bound to the other in two deviations each way.
_SPREAD = 0.25


@dataclass(frozen=True)
class Point:
    """A point that was asked for: the recipe that it stands for, and the library's own view of it."""

    recipe: Recipe
    solution: Any


class Search:
    """A search.

    Args:
        space: what is searched.
        population: points in a generation.
        seed: of all points.
    """

    def __init__(self, space: Space, population: int, seed: int) -> None:
        self._space = space
        low_N, high_N = np.array(space.bounds, dtype=float).T
        count = len(space.choices)
        self._optimizer = CatCMAwM(
            x_space=space.bounds,
            c_space=[count] if count > 1 else None,
            population_size=population,
            mean=(low_N + high_N) / 2,
            sigma=1.0,
            cov=np.diag((_SPREAD * (high_N - low_N)) ** 2),
            # The library takes 32 bits.
            seed=seed % 2**32,
        )

    def ask(self) -> list[Point]:
        """Return the points of the next generation."""
        solutions = [self._optimizer.ask() for _ in range(self._optimizer.population_size)]
        return [Point(self._recipe(solution), solution) for solution in solutions]

    def tell(self, points: Sequence[Point], scores: Sequence[float | None]) -> None:
        """Go on from how good the points of a generation are; None is worse than anything."""
        order = sorted(range(len(points)), key=lambda k: -np.inf if (s := scores[k]) is None else s, reverse=True)
        rank = {k: float(place) for place, k in enumerate(order)}
        self._optimizer.tell([(point.solution, rank[k]) for k, point in enumerate(points)])

    def _recipe(self, solution: Any) -> Recipe:
        chosen = 0 if solution.c is None else int(np.argmax(solution.c[0]))
        return self._space.recipe(solution.x.tolist(), chosen)
