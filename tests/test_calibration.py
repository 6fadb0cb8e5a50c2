import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from agent_forge import calibration, simulation
from agent_forge.calibration import calibrate, plan, round_means_p, simulated_verdicts
from agent_forge.comparison import Criteria
from agent_forge.errors import ConfigError
from agent_forge.gate import judge
from agent_forge.records import ResultRow
from agent_forge.simulation import (
    AGREEMENT,
    DIFFICULTY,
    LARGEST_EFFECT,
    SCENARIOS,
    Experiments,
    draw_experiments,
    question_deviation,
)

LIMITS = {"alpha": 0.05, "min_improvement": 0.02, "non_inferiority_margin": 0.05, "power": 0.8}
CRITERIA = Criteria(**LIMITS)
PROMISED_FALSE_BAKES = 0.055


def generator(seed=0):
    return np.random.default_rng(seed)


def as_rows(experiments, index, scenario):
    """One simulated experiment as the rows an evaluation would have written."""
    arms = {"baseline": experiments.baseline_BNR[index], "thought": experiments.thought_BNR[index]}
    return [
        ResultRow(
            question_id=f"q{question}",
            round=number,
            arm=arm,
            correct=bool(correct),
            completion=f"{correct}" if scenario == "duplicated" else f"{correct} {number}",
        )
        for arm, grades_NR in arms.items()
        for question, grades_R in enumerate(grades_NR)
        for number, correct in enumerate(grades_R)
    ]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("effect", [0.0, 0.1, -0.2])
def test_simulated_verdicts_are_the_gates(scenario, effect):
    experiments = draw_experiments(generator(7), 40, 25, 3, effect, scenario)
    reports = [judge(as_rows(experiments, index, scenario), **LIMITS) for index in range(40)]
    assert list(simulated_verdicts(experiments, CRITERIA)) == [report.verdict for report in reports]
    assert {report.effective_rounds for report in reports} == {3 if scenario == "sampled" else 1}


def test_equal_arms_are_rarely_baked_and_a_gain_is_usually_found():
    report = calibrate(generator(2024), CRITERIA, experiments=1000, questions=100, rounds=3)
    for scenario in report.scenarios:
        assert scenario.false_bake_rate <= PROMISED_FALSE_BAKES
        low, high = scenario.false_bake_interval
        assert low <= scenario.false_bake_rate <= high
        assert low <= CRITERIA.alpha
    sampled, duplicated = report.scenarios
    assert 0.45 < sampled.bake_rate < 0.57
    assert duplicated.bake_rate < sampled.bake_rate
    assert duplicated.round_means_false_rate > 0.4 and sampled.round_means_false_rate > 0.05


def test_four_hundred_questions_find_a_gain_of_five_points():
    sampled = calibrate(generator(2024), CRITERIA, experiments=1000, questions=400, rounds=3).scenarios[0]
    assert sampled.bake_rate >= 0.95
    assert sampled.no_bake_rate < 0.01


def test_a_report_is_a_function_of_the_generators_state():
    arguments = (CRITERIA, 50, 20, 2, 0.1)
    assert calibrate(generator(3), *arguments) == calibrate(generator(3), *arguments)
    assert calibrate(generator(3), *arguments) != calibrate(generator(4), *arguments)


def test_chunks_cover_every_experiment_once(monkeypatch):
    monkeypatch.setattr(calibration, "CHUNK", 200)
    assert list(calibration._chunks((8, 30, 2))) == [(3, 30, 2), (3, 30, 2), (2, 30, 2)]
    assert list(calibration._chunks((2, 300, 2))) == [(1, 300, 2), (1, 300, 2)]
    assert calibrate(generator(), CRITERIA, experiments=7, questions=30, rounds=2).experiments == 7


@pytest.mark.parametrize("effect", [0.0, 0.05, -0.1, 0.25])
def test_the_simulated_gain_is_the_one_asked_for(effect):
    drawn = draw_experiments(generator(1), 400, 500, 1, effect)
    gains = drawn.thought_BNR.astype(int) - drawn.baseline_BNR.astype(int)
    assert gains.mean() == pytest.approx(effect, abs=4 * gains.std() / np.sqrt(gains.size))
    assert drawn.baseline_BNR.mean() == pytest.approx(0.5, abs=0.005)


@given(st.floats(-LARGEST_EFFECT, LARGEST_EFFECT))
@settings(max_examples=30)
def test_the_odds_factor_moves_the_mean_exactly(effect):
    factor = simulation._odds_factor(effect)

    def shifted(p):
        return factor * p / (1 - p + factor * p)

    weight = (DIFFICULTY - 1, DIFFICULTY - 1)
    total, _ = integrate.quad(shifted, 0, 1, weight="alg", wvar=weight)
    assert total / special.beta(DIFFICULTY, DIFFICULTY) - 0.5 == pytest.approx(effect, abs=1e-9)


def test_equal_arms_are_exchangeable_with_the_stated_spread():
    baseline = generator(5).beta(DIFFICULTY, DIFFICULTY, 200_000)
    successes = generator(6).binomial(AGREEMENT, baseline)
    thought = generator(7).beta(DIFFICULTY + successes, DIFFICULTY + AGREEMENT - successes)
    gap = thought - baseline
    assert gap.std() == pytest.approx(0.133, abs=0.002)
    assert gap.mean() == pytest.approx(0.0, abs=0.0015)
    assert stats.skew(gap) == pytest.approx(0.0, abs=0.1)
    assert stats.kstest(thought, stats.beta(DIFFICULTY, DIFFICULTY).cdf).pvalue > 0.001


@pytest.mark.parametrize("effect", [0.0, 0.05, -0.15])
@pytest.mark.parametrize("rounds", [1, 3, 8])
def test_the_planned_deviation_is_the_simulated_one(effect, rounds):
    drawn = draw_experiments(generator(9), 200, 500, rounds, effect)
    differences = drawn.thought_BNR.mean(axis=2) - drawn.baseline_BNR.mean(axis=2)
    assert question_deviation(effect, rounds) == pytest.approx(differences.std(), rel=0.02)


def test_duplicated_rounds_are_copies_of_the_first():
    drawn = draw_experiments(generator(), 5, 10, 4, scenario="duplicated")
    for grades in (drawn.baseline_BNR, drawn.thought_BNR):
        assert grades.shape == (5, 10, 4)
        assert (grades == grades[:, :, :1]).all()


@pytest.mark.parametrize(("rounds", "questions"), [(1, 562), (3, 221), (8, 114)])
def test_planned_questions_have_the_planned_power(rounds, questions):
    (option,) = plan(effect=0.05, power=0.8, rounds=[rounds]).options
    assert option.questions == questions
    experiments = draw_experiments(generator(11), 2000, questions, rounds, 0.05)
    found = sum(verdict == "bake" for verdict in simulated_verdicts(experiments, CRITERIA))
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


def test_more_rounds_need_fewer_questions_but_more_completions():
    report = plan(effect=0.05, power=0.8, rounds=[8, 3, 1, 3])
    assert [option.rounds for option in report.options] == [1, 3, 8]
    questions = [option.questions for option in report.options]
    assert questions == sorted(questions, reverse=True)
    assert report.cheapest == report.options[0]
    assert report.options[1].completions == 3 * 3 * report.options[1].questions


@given(st.floats(0.03, 0.28), st.sampled_from([0.5, 0.8, 0.95]))
@settings(max_examples=25)
def test_a_larger_effect_or_less_power_needs_no_more_questions(effect, power):
    here = plan(effect, power).options
    easier = plan(effect + 0.01, power - 0.05).options
    assert all(less.questions <= more.questions for less, more in zip(easier, here, strict=True))


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (0.02, "not above min_improvement 0.02"),
        (-0.05, "not above min_improvement"),
        (0.31, "at most 0.3"),
        (0.0201, "more than 1,000,000 questions"),
    ],
)
def test_effects_that_cannot_be_planned_for_are_refused(effect, message):
    with pytest.raises(ConfigError, match=message):
        plan(effect, 0.8)


@pytest.mark.parametrize("wrong", [{"power": 80}, {"power": 0}, {"alpha": 0.5}, {"rounds": []}, {"rounds": [3, 0]}])
def test_plans_of_impossible_values_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        plan(**{"effect": 0.05, "power": 0.8, **wrong})


@pytest.mark.parametrize("wrong", [{"experiments": 0}, {"questions": 1}, {"rounds": 0}])
def test_experiments_too_small_to_simulate_are_refused(wrong):
    with pytest.raises(ConfigError, match="expected at least 1, 2 and 1"):
        calibrate(generator(), CRITERIA, **wrong)


def test_the_usual_shortcut_is_a_t_test_over_round_means():
    drawn = draw_experiments(generator(13), 20, 30, 4)
    gains = (drawn.thought_BNR.mean(axis=1) - drawn.baseline_BNR.mean(axis=1)).T
    expected = stats.ttest_1samp(gains, 0, alternative="greater").pvalue
    np.testing.assert_allclose(round_means_p(drawn), expected, rtol=1e-9)


def test_the_usual_shortcut_is_certain_of_any_gain_when_rounds_repeat():
    better = np.array([[True, True], [True, True], [False, False]])[None]
    worse = np.array([[True, True], [False, False], [False, False]])[None]
    assert round_means_p(Experiments(worse, better)) == [0.0]
    assert round_means_p(Experiments(better, worse)) == [1.0]
    assert round_means_p(Experiments(better, better)) == [0.5]
    assert round_means_p(Experiments(worse[:, :, :1], better[:, :, :1])) == [0.5]


def test_looks_spare_completions_without_more_false_bakes():
    report = calibrate(generator(5), CRITERIA, experiments=150, questions=200, rounds=3, effect=0.1, looks=4)
    for scenario in report.scenarios:
        low, _ = scenario.false_bake_interval
        assert low <= CRITERIA.alpha
        assert scenario.no_bake_rate <= CRITERIA.alpha / 2
        assert 0 <= scenario.saved_when_equal < scenario.saved_when_better
    assert report.scenarios[0].bake_rate > 0.95 and report.scenarios[0].saved_when_better > 0.3


def test_looks_at_the_same_level_each_would_bake_too_often():
    drawn = draw_experiments(generator(6), 200, 200, 3)
    planned = [50, 100, 150, 200]
    naive = [
        any(
            verdict == "bake"
            for verdict in (
                calibration._verdict(drawn.baseline_BNR[index, :seen], drawn.thought_BNR[index, :seen], CRITERIA)
                for seen in planned
            )
        )
        for index in range(200)
    ]
    kept = [ending.verdict == "bake" for ending in calibration.simulated_endings(drawn, CRITERIA, 4)]
    assert sum(naive) > 1.5 * sum(kept)


def test_one_look_ends_as_the_gate_does_on_all_questions():
    drawn = draw_experiments(generator(8), 30, 60, 2, 0.2)
    endings = list(calibration.simulated_endings(drawn, CRITERIA, 1))
    assert [ending.verdict for ending in endings] == list(simulated_verdicts(drawn, CRITERIA))
    assert {ending.questions for ending in endings} == {60}


@pytest.mark.parametrize("looks", [0, 6, 21])
def test_looks_too_many_for_the_questions_are_refused(looks):
    with pytest.raises(ConfigError, match=f"{looks} looks at 50 questions"):
        calibrate(generator(), CRITERIA, questions=50, looks=looks)
    if looks != 6:
        with pytest.raises(ConfigError, match="expected 1 to 20"):
            plan(0.05, 0.8, looks=looks)


def test_a_plan_with_looks_asks_for_a_few_more_questions_and_expects_fewer_completions():
    (once,), (looks,) = (plan(0.05, 0.8, rounds=[3], looks=count).options for count in (1, 4))
    assert once.expected_completions == once.completions
    assert once.questions < looks.questions < 1.1 * once.questions
    assert looks.expected_completions < 0.9 * once.completions
    drawn = draw_experiments(generator(12), 300, looks.questions, 3, 0.05)
    endings = list(calibration.simulated_endings(drawn, CRITERIA, 4))
    asked = np.mean([ending.questions for ending in endings]) * 3 * 3
    assert asked == pytest.approx(looks.expected_completions, rel=0.05)
    assert np.mean([ending.verdict == "bake" for ending in endings]) > 0.78
