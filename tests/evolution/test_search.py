"""Points of the search are recipes, and a search that is told the same asks the same."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.evolution.recipe import Parent, Recipe
from agent_forge.evolution.search import Search
from agent_forge.evolution.space import Space
from agent_forge.evolution_config import METHODS, EvolutionConfig

PARENTS = tuple(Parent(model=name, sha256=digit * 64) for name, digit in zip("abc", "123", strict=True))
BASE = Parent(model="base", sha256="4" * 64)


def space(methods=(), groups=1, base=BASE, speaker=None):
    config = EvolutionConfig(
        base_models="a,b,c",
        base="base" if base else None,
        methods=methods,
        layer_groups=groups,
        speaker=speaker,
    )
    return Space.of(config, PARENTS, base, layers=6, seed=5)


@settings(max_examples=25)
@given(st.data(), st.integers(1, 6))
def test_every_point_is_a_recipe_that_its_record_gives_back(data, groups):
    searched = space(groups=groups, speaker=data.draw(st.sampled_from([None, 0, 2, "base"])))
    numbers = [data.draw(st.floats(low, high)) for low, high in searched.bounds]
    recipe = searched.recipe(numbers, data.draw(st.integers(0, len(searched.choices) - 1)))
    assert Recipe.model_validate(recipe.model_dump(mode="json", exclude_defaults=True)).digest == recipe.digest
    covered = [layer for group in recipe.groups for layer in range(*group.layers)]
    assert covered == (list(range(6)) if groups > 1 else [])


def test_all_methods_that_fit_are_searched_and_slerp_by_pairs():
    assert [choice.method for choice in space().choices] == [
        "linear",
        *["slerp"] * 3,
        *(method for method in METHODS if method not in ("linear", "slerp")),
    ]
    assert {choice.method for choice in space(base=None).choices} == {"linear", "slerp"}


def test_weights_in_proportion_are_one_recipe():
    searched = space(methods=("linear",), base=None)
    assert searched.recipe([0.2, 0.4, 0.2], 0).digest == searched.recipe([0.4, 0.8, 0.4], 0).digest


def asked(searched, seed, score, generations=4):
    search, found = Search(searched, 6, seed), []
    for _ in range(generations):
        points = search.ask()
        search.tell(points, [score(point.recipe) for point in points])
        found.append([point.recipe.digest for point in points])
    return found


# Accuracies on few questions are often all equal, and a merge can fail.
SCORES = {
    "all equal": lambda recipe: 0.25,
    "half failed": lambda recipe: None if recipe.method == "linear" else 0.5,
    "all failed": lambda recipe: None,
}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("methods", [(), ("slerp",), ("linear",)])
def test_a_search_told_the_same_asks_the_same(score, methods):
    first = asked(space(methods), 7, score)
    assert asked(space(methods), 7, score) == first
    assert asked(space(methods), 8, score) != first
    assert len(set(itertools.chain(*first))) > 6


def test_the_search_finds_a_method_and_weights():
    def score(recipe):
        weights = recipe.weights or (0, 0, 0)
        return -sum(abs(weight - aim) for weight, aim in zip(weights, (0.7, 0.2, 0.1), strict=True)) - (
            recipe.method != "linear"
        )

    search, best = Search(space(base=None), 8, 0), []
    for _ in range(25):
        points = search.ask()
        scores = [score(point.recipe) for point in points]
        search.tell(points, scores)
        best.append(max(scores))
    assert best[-1] > -0.15 and best[-1] > best[0]
