import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agent_forge import statistics
from agent_forge.errors import ResultsError
from agent_forge.statistics import (
    MOST_QUESTIONS,
    Summary,
    clopper_pearson,
    holm,
    lower_bound,
    minimum_detectable_effect,
    planning_deviation,
    questions_needed,
    questions_needed_without_spread,
    sign_flip_p,
    summarise,
    t_interval,
)

ALPHA = 0.05
few_differences = st.lists(st.integers(-6, 6), min_size=1, max_size=9)
differences = st.lists(st.integers(-12, 12), min_size=2, max_size=60)


def array(values):
    return np.array(values, dtype=np.int64)


def enumerated_p(values):
    """Mid-p by writing out all 2^N sign assignments, in exact arithmetic."""
    sums = [sum(sign * value for sign, value in zip(signs, values, strict=True)) for signs in signs_of(values)]
    observed = sum(values)
    above, equal = sum(s > observed for s in sums), sum(s == observed for s in sums)
    return float(Fraction(2 * above + equal, 2 * len(sums)))


def signs_of(values):
    return product((1, -1), repeat=len(values))


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([0, 0, 0], 1 / 2),
        ([1], 1 / 4),
        ([-1], 3 / 4),
        ([1, 1, 1, 1], 1 / 32),
        ([1, 1, 1, -1], 3 / 16),
        ([2, 0, -1, 2], 3 / 16),
        ([3, 1], 1 / 8),
    ],
)
def test_p_by_hand(values, p):
    assert sign_flip_p(array(values)) == pytest.approx(p, abs=1e-15)


@given(few_differences)
def test_p_agrees_with_writing_out_every_sign(values):
    assert sign_flip_p(array(values)) == pytest.approx(enumerated_p(values), rel=1e-12)


@given(differences)
def test_swapping_the_arms_turns_p_into_its_complement(values):
    assert sign_flip_p(-array(values)) == pytest.approx(1 - sign_flip_p(array(values)), abs=1e-12)


@given(differences, st.randoms(use_true_random=False), st.integers(1, 9), st.integers(0, 20))
def test_order_denominator_and_agreeing_questions_leave_p_unchanged(values, source, factor, zeros):
    other = [factor * value for value in values] + [0] * zeros
    source.shuffle(other)
    assert sign_flip_p(array(other)) == sign_flip_p(array(values))


@given(few_differences, st.data())
def test_raising_a_loss_towards_a_gain_of_the_same_size_lowers_p(values, data):
    losses = [index for index, value in enumerate(values) if value < 0]
    if not losses:
        values, losses = [*values, -1], [len(values)]
    index = data.draw(st.sampled_from(losses))
    better = [*values[:index], -values[index], *values[index + 1 :]]
    assert sign_flip_p(array(better)) < sign_flip_p(array(values))


def test_equal_magnitudes_give_the_sign_test():
    gained, lost = 530, 470
    mid = stats.binom.sf(gained, 1000, 0.5) + stats.binom.pmf(gained, 1000, 0.5) / 2
    assert sign_flip_p(array([1] * gained + [-1] * lost)) == pytest.approx(mid, rel=1e-9)


def test_small_p_values_keep_their_relative_precision():
    assert sign_flip_p(array([1] * 400)) == pytest.approx(2.0**-401, rel=1e-10)
    assert sign_flip_p(array([1, 2, 4, 8] * 50)) == pytest.approx(2.0**-201, rel=1e-10)


def test_certainty_beyond_what_doubles_hold_ends_at_zero_and_one():
    assert sign_flip_p(array([1] * 5000)) == 0.0
    assert sign_flip_p(array([-1] * 5000)) == 1.0


@pytest.mark.parametrize(("questions", "rounds"), [(5_000, 3), (100_000, 1), (100_000, 3)])
def test_many_questions_are_exact_and_near_the_normal_limit(questions, rounds):
    generator = np.random.default_rng(questions)
    values = generator.binomial(rounds, 0.502, questions) - generator.binomial(rounds, 0.5, questions)
    assert statistics._affordable(values) is values
    normal = stats.norm.sf(values.sum() / math.sqrt((values**2).sum()))
    assert sign_flip_p(values) == pytest.approx(normal, rel=0.01)


@given(st.lists(st.integers(-1_000_000, 1_000_000), min_size=300, max_size=320))
def test_a_coarser_lattice_barely_moves_p_and_keeps_its_symmetry(values):
    values = array(values)
    rounded = statistics._affordable(values)
    assert statistics._convolution_cost(rounded) <= statistics.CONVOLUTION_BUDGET
    assert np.array_equal(statistics._affordable(-values), -rounded)


def test_p_on_the_coarser_lattice_is_near_the_normal_limit():
    values = np.random.default_rng(1).integers(-900_000, 1_000_000, 1000)
    assert np.abs(statistics._affordable(values)).max() < 900_000
    normal = stats.norm.sf(values.sum() / math.sqrt((values.astype(float) ** 2).sum()))
    assert sign_flip_p(values) == pytest.approx(normal, rel=0.02)


@pytest.mark.parametrize("trials", [1, 2, 3, 10, 101, 4000])
def test_the_fair_binomial_is_scipys(trials):
    first, pmf = statistics._binomial(trials)
    successes = np.arange(first, first + len(pmf))
    seen = pmf > 1e-250
    np.testing.assert_allclose(pmf[seen], stats.binom.pmf(successes, trials, 0.5)[seen], rtol=1e-9)
    assert first + (first + len(pmf) - 1) == trials


@given(differences, st.integers(12, 30))
def test_a_summary_has_numpys_mean_and_deviation_and_scipys_skewness(values, scale):
    summary = summarise(array(values), scale)
    fractions = np.array(values) / scale
    assert summary.questions == len(values)
    assert summary.mean == pytest.approx(fractions.mean(), abs=1e-12)
    assert summary.deviation == pytest.approx(fractions.std(ddof=1), abs=1e-12)
    if len(set(values)) > 1:
        assert summary.skewness == pytest.approx(stats.skew(fractions), abs=1e-9)
    else:
        assert summary.deviation == 0 and summary.skewness == 0


@given(differences, st.randoms(use_true_random=False), st.integers(2, 50))
def test_order_and_denominator_leave_a_summary_unchanged(values, source, factor):
    other = [factor * value for value in values]
    source.shuffle(other)
    assert summarise(array(other), 12 * factor) == summarise(array(values), 12)


def test_one_question_has_no_spread():
    with pytest.raises(ResultsError, match="at least 2"):
        summarise(array([1]), 1)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=60).filter(lambda values: len(set(values)) > 1))
def test_the_interval_is_scipys_within_its_bounds(values):
    fractions = np.array(values) / 3
    low, high = stats.t.interval(0.95, len(values) - 1, fractions.mean(), stats.sem(fractions))
    expected = (max(low, -1), min(high, 1))
    assert t_interval(summarise(array(values), 3), ALPHA) == pytest.approx(expected, abs=1e-9)


@given(differences)
def test_mirrored_differences_have_the_mirrored_interval(values):
    low, high = t_interval(summarise(array(values), 12), ALPHA)
    assert t_interval(summarise(-array(values), 12), ALPHA) == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("value", [-2, 0, 1, 2])
def test_questions_that_all_agree_leave_room_for_exceptions(value):
    questions = 5
    share = 1 - 0.025 ** (1 / questions)
    low, high = t_interval(summarise(array([value] * questions), 2), ALPHA)
    mean = value / 2
    assert (low, high) == pytest.approx((mean - share * (1 + mean), mean + share * (1 - mean)))
    assert -1 <= low <= mean <= high <= 1 and low < high
    assert share == pytest.approx(stats.binomtest(0, questions).proportion_ci(0.95, "exact").high)


@given(differences)
def test_the_lower_bound_is_the_t_bound_or_less(values):
    summary = summarise(array(values), 12)
    one_sided_t = t_interval(summary, 2 * ALPHA)[0]
    bound = lower_bound(summary, ALPHA)
    if summary.skewness >= 0:
        assert bound == one_sided_t
    else:
        assert -1 <= bound <= one_sided_t


@pytest.mark.parametrize("questions", [60, 100, 200])
def test_rare_losses_do_not_pass_for_safety(questions):
    margin, generator = 0.05, np.random.default_rng(3)
    losses = -(generator.random((1500, questions)) < margin).astype(np.int64)
    passes = np.mean([lower_bound(summarise(row, 1), ALPHA) > -margin for row in losses])
    assert passes < 0.075


@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from([0.01, 0.05, 0.3]))
def test_clopper_pearson_is_scipys(successes, extra, alpha):
    trials = successes + extra - 1 or 1
    successes = min(successes, trials)
    expected = stats.binomtest(successes, trials).proportion_ci(1 - alpha, "exact")
    assert clopper_pearson(successes, trials, alpha) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([0.2]) == (0.2,)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_adjusts_upwards_within_bonferroni_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p)
    ranked = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in ranked] == sorted(adjusted)


def test_the_detectable_effect_is_blooms():
    multiplier = stats.t.ppf(0.95, 99) + stats.t.ppf(0.8, 99)
    assert minimum_detectable_effect(0.3, 100, 0.05, 0.8) == pytest.approx(multiplier * 0.03)


def test_the_detectable_effect_exceeds_what_is_asked_for_however_many_questions():
    effect = minimum_detectable_effect(0.3, 1_000_000, 0.05, 0.8, min_improvement=0.02)
    assert effect == pytest.approx(0.02 + 0.8416 * 0.0003, rel=1e-4)


@given(
    st.floats(0.01, 0.5),
    st.floats(0.05, 0.9),
    st.sampled_from([0.01, 0.05]),
    st.sampled_from([0.5, 0.8, 0.95]),
    st.sampled_from([0.0, 0.02]),
)
def test_questions_needed_are_the_fewest_that_detect_the_effect(effect, deviation, alpha, power, floor):
    needed = questions_needed(effect, deviation, alpha, power, floor)
    if needed is None:
        assert effect <= floor or minimum_detectable_effect(deviation, MOST_QUESTIONS, alpha, power, floor) > effect
        return
    assert minimum_detectable_effect(deviation, needed, alpha, power, floor) <= effect
    assert needed == 2 or minimum_detectable_effect(deviation, needed - 1, alpha, power, floor) > effect


@pytest.mark.parametrize("effect", [-0.1, 0.0, 0.02])
def test_an_effect_that_is_not_worthwhile_is_never_found(effect):
    assert questions_needed(effect, 0.3, 0.05, 0.8, min_improvement=0.02) is None


@given(st.floats(0.005, 0.5), st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.sampled_from([0.025, 0.05]))
def test_without_spread_the_bound_itself_decides(effect, mean, alpha):
    needed = questions_needed_without_spread(effect, mean, alpha)
    reach = abs(mean) - lower_bound(Summary(needed, abs(mean), 0.0), alpha)
    assert reach < effect
    assert needed == 2 or abs(mean) - lower_bound(Summary(needed - 1, abs(mean), 0.0), alpha) >= effect - 1e-12


def test_without_spread_nothing_is_found_for_nothing():
    assert questions_needed_without_spread(0.0, 0.0, 0.05) is None
    assert questions_needed_without_spread(1e-9, 0.0, 0.05) is None


def test_planning_without_spread_uses_a_bound_on_it():
    assert planning_deviation(Summary(50, 0.1, 0.3), ALPHA) == 0.3
    assert planning_deviation(Summary(50, 0.0, 0.0), ALPHA) == pytest.approx(math.sqrt(1 - 0.05 ** (1 / 50)))
