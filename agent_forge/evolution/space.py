"""The space that is searched: numbers between bounds and a choice of method, and the recipe that a point stands for.

    for each group of layers    a weight and, for some methods, a density of every parent; for SLERP a place on the arc
    once                        the method; SLERP counts once for every pair of parents, since it merges two

A method passes over the numbers that it does not read. Numbers are rounded to what makes a difference, and weights that
a method divides by their sum are divided here, so that recipes that come to the same are the same recipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from agent_forge.evolution.recipe import Group, Method, Parent, Recipe
from agent_forge.evolution_config import FROM_A_BASE, EvolutionConfig

# Methods that thin task vectors out, and methods that divide weights by their sum.
_THINNING = frozenset({"ties", "dare_linear", "dare_ties"})
_NORMALIZING = frozenset({"linear", "ties"})
_DIGITS = 3
_WEIGHTS, _DENSITIES, _ARC = (0.0, 1.0), (0.1, 1.0), (0.0, 1.0)


@dataclass(frozen=True)
class Choice:
    """A method and the numbers of the parents that it merges."""

    method: Method
    parents: tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        parents: of all recipes.
        base: of those that need one.
        choices: what there is to choose among.
        groups: ranges of layers that have values of their own; none where all tensors have the same.
        seed: of random masks.
        speaker: see `Recipe.speaker`.
    """

    parents: tuple[Parent, ...]
    base: Parent | None
    choices: tuple[Choice, ...]
    groups: tuple[tuple[int, int], ...]
    seed: int
    speaker: int | str | None

    @classmethod
    def of(
        cls, config: EvolutionConfig, parents: tuple[Parent, ...], base: Parent | None, layers: int, seed: int
    ) -> "Space":
        """Return the space of a configuration for models of `layers` layers."""
        everyone = tuple(range(len(parents)))
        choices = [
            Choice(method, chosen)
            for method in config.chosen_methods
            for chosen in (combinations(everyone, 2) if method == "slerp" else [everyone])
        ]
        count = config.layer_groups
        edges = [round(layers * group / count) for group in range(count + 1)]
        groups = tuple(pairwise(edges)) if count > 1 else ()
        return cls(parents, base, tuple(choices), groups, seed, config.speaker)

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Least and largest value of every number of a point."""
        methods = {choice.method for choice in self.choices}
        one = [_WEIGHTS] * len(self.parents) if methods != {"slerp"} else []
        one += [_DENSITIES] * len(self.parents) if methods & _THINNING else []
        one += [_ARC] if "slerp" in methods else []
        return one * (len(self.groups) + 1)

    def recipe(self, numbers: Sequence[float], chosen: int) -> Recipe:
        """Return the recipe that a point stands for.

        Args:
            numbers: within `bounds`.
            chosen: number of a choice.
        """
        choice = self.choices[chosen]
        size = len(numbers) // (len(self.groups) + 1)
        sets = [self._values(choice, numbers[at : at + size]) for at in range(0, len(numbers), size)]
        groups = [Group(layers=layers, **values) for layers, values in zip(self.groups, sets, strict=False)]
        return Recipe.model_validate(
            {
                "method": choice.method,
                "parents": [self.parents[number] for number in choice.parents],
                "base": self.base if choice.method in FROM_A_BASE else None,
                "groups": groups,
                "speaker": self._speaker(choice),
                **({"seed": self.seed} if choice.method.startswith("dare") else {}),
                # The last set is for what is outside of layers, or for everything.
                **sets[-1],
            }
        )

    def alone(self, number: int) -> Recipe:
        """Return the recipe of a parent as it is."""
        return Recipe(method="linear", parents=(self.parents[number],))

    def _values(self, choice: Choice, numbers: Sequence[float]) -> dict[str, object]:
        rounded = [round(float(number), _DIGITS) for number in numbers]
        if choice.method == "slerp":
            return {"t": rounded[-1]}
        count = len(self.parents)
        values: dict[str, object] = {"weights": _shares(rounded[:count], choice.method)}
        return values | ({"densities": rounded[count : 2 * count]} if choice.method in _THINNING else {})

    def _speaker(self, choice: Choice) -> int | str | None:
        """Return the speaker by its number in the recipe; where it is not merged, the recipe's own default speaks."""
        if isinstance(self.speaker, int):
            return choice.parents.index(self.speaker) if self.speaker in choice.parents else None
        return self.speaker if choice.method in FROM_A_BASE else None


def _shares(weights: list[float], method: str) -> list[float]:
    if method not in _NORMALIZING:
        return weights
    total = sum(weights)
    return [round(weight / total, _DIGITS + 1) for weight in weights] if total else [1.0] * len(weights)
