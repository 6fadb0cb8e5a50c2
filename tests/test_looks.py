"""Boundaries of planned looks against published tables, another integrator and their own definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from agent_forge.errors import ConfigError
from agent_forge.looks import (
    ONLY_LOOK,
    SMALLEST_SHARE,
    Look,
    boundaries,
    first_crossings,
    levels,
    parse_planned,
    planned_questions,
    spent,
)

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
fraction_lists = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(
    lambda steps: tuple((np.cumsum(steps) / sum(steps)).tolist())
)


def test_boundaries_are_lan_and_demets_for_five_looks():
    """Two-sided 0.05, so 0.025 above: as R packages ldbounds and gsDesign (`sfLDOF`) print them."""
    assert boundaries(FIFTHS, 0.025) == pytest.approx((4.877, 3.357, 2.680, 2.290, 2.031), abs=5e-4)


@pytest.mark.parametrize(
    ("alpha", "constants"),
    [
        (0.10, {1: 1.645, 2: 1.678, 3: 1.710, 4: 1.733, 5: 1.751}),
        (0.05, {1: 1.960, 2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040}),
    ],
)
def test_obrien_and_flemings_own_boundaries_use_their_alpha(alpha, constants):
    """Constants of their two-sided tests: Jennison and Turnbull, Group Sequential Methods (2000), table 2.3."""
    for looks, constant in constants.items():
        fractions = [number / looks for number in range(1, looks + 1)]
        used = sum(first_crossings([constant / math.sqrt(t) for t in fractions], fractions))
        assert used == pytest.approx(alpha / 2, abs=1e-4)


@pytest.mark.parametrize("drift", [0.0, 2.4])
def test_crossings_agree_with_the_multivariate_normal(drift):
    fractions, bounds = np.array([0.25, 0.6, 1.0]), np.array([2.6, 2.1, 1.8])
    covariance = np.sqrt(np.minimum.outer(fractions, fractions) / np.maximum.outer(fractions, fractions))
    below = stats.multivariate_normal(drift * np.sqrt(fractions), covariance, seed=0).cdf(bounds)
    assert 1 - sum(first_crossings(bounds, fractions, drift)) == pytest.approx(below, abs=1e-4)


@given(fraction_lists, st.floats(1e-4, 0.49))
@settings(max_examples=30, deadline=None)
def test_looks_together_use_alpha_and_each_what_it_may_spend(fractions, alpha):
    used = np.cumsum(first_crossings(boundaries(fractions, alpha), fractions))
    assert used == pytest.approx([spent(alpha, fraction) for fraction in fractions], rel=1e-6, abs=1e-15)
    assert used[-1] == pytest.approx(alpha, rel=1e-9)


@given(fraction_lists, st.floats(1e-6, 0.45), st.floats(1.01, 1.9))
@settings(max_examples=30, deadline=None)
def test_a_larger_alpha_asks_for_less_at_every_look(fractions, alpha, factor):
    larger = alpha * factor / 2 + alpha / 2
    for less, more, fraction in zip(levels(fractions, alpha), levels(fractions, larger), fractions, strict=True):
        assert less < more or spent(larger, fraction) < SMALLEST_SHARE


@pytest.mark.parametrize("planned", [(10, 1000), (2, 4, 6, 1000)])
def test_a_first_look_at_few_of_many_questions_has_a_level_too(planned):
    look = Look(1, planned)
    assert 0 < look.level(0.05) < 1e-9
    assert 0.05 < look.repeated_p(0.01, 0.05) <= 1
    for alpha in (1e-12, 0.05):
        used = sum(first_crossings(boundaries(look.fractions, alpha), look.fractions))
        assert used == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("tests", [1, 3])
def test_a_repeated_p_decides_as_the_level_does(number, tests):
    look = Look(number, (40, 80, 120))
    for shared in range(1, tests + 1):
        level = look.level(0.05 / shared)
        assert (
            look.repeated_p(level * 0.9999, 0.05, tests) < 0.05 / shared < look.repeated_p(level * 1.0001, 0.05, tests)
        )


@pytest.mark.parametrize("p_value", [1e-9, 1e-3, 0.02, 0.2, 0.45])
def test_a_repeated_p_is_the_alpha_whose_level_is_the_p(p_value):
    look = Look(2, (50, 100, 150))
    exact = optimize.brentq(lambda alpha: look.level(alpha) - p_value, 1e-12, 0.97)
    assert look.repeated_p(p_value, 0.05) == pytest.approx(exact, rel=0.02)


def test_repeated_ps_stay_within_bounds():
    look = Look(1, (50, 100))
    assert look.repeated_p(0.0, 0.05) == pytest.approx(1e-12)
    assert look.repeated_p(0.99, 0.05) == 1.0


@given(st.floats(1e-6, 0.49), st.floats(0, 1))
def test_a_single_look_changes_nothing(alpha, p_value):
    assert ONLY_LOOK.level(alpha) == alpha
    assert ONLY_LOOK.repeated_p(p_value, alpha, 4) == p_value


@given(st.integers(10, 5000), st.integers(1, 20))
def test_the_last_planned_look_has_all_questions(questions, looks):
    planned = planned_questions(questions, looks)
    assert planned[-1] == questions and len(planned) == looks
    assert max(np.diff((0, *planned))) - min(np.diff((0, *planned))) <= 1


def test_planned_looks_are_read_from_text():
    assert parse_planned("") == ()
    assert parse_planned("100, 200,300") == (100, 200, 300)


@pytest.mark.parametrize("text", ["100", "a,200", "100,,200", "1,50", "200,100", "100,100", "-5,10"])
def test_planned_looks_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="looks"):
        parse_planned(text)
