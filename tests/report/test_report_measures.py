from collections import Counter
from fractions import Fraction

import pytest
import sample_run
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.errors import ResultsError
from agent_forge.gate import judge
from agent_forge.questions.arithmetic import generate
from agent_forge.records import GATE_ARMS
from agent_forge.report.flips import EXAMPLES, choose_flips
from agent_forge.report.measures import accuracy_interval, measure, round_gains
from agent_forge.statistics import clopper_pearson

SCORES = st.lists(st.fractions(0, 1, max_denominator=8), min_size=1, max_size=60)
JUDGED = ["published", "kept", "undecided", "harmed"]


@given(SCORES, st.sampled_from([0.01, 0.05, 0.2]))
def test_an_interval_holds_the_mean_and_stays_within_what_is_possible(scores, alpha):
    low, high = accuracy_interval(scores, alpha)
    mean = float(sum(scores) / len(scores))
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1


@given(SCORES)
def test_more_confidence_needs_a_wider_interval(scores):
    low, high = accuracy_interval(scores, 0.05)
    wider_low, wider_high = accuracy_interval(scores, 0.01)
    assert wider_low <= low
    assert high <= wider_high


@given(st.integers(2, 500), st.sampled_from([0, 1]))
def test_without_a_spread_the_interval_is_exact_and_no_point(n, score):
    interval = accuracy_interval([Fraction(score)] * n, 0.05)
    assert interval == pytest.approx(clopper_pearson(score * n, n, 0.05))
    assert interval[0] < interval[1]


@pytest.mark.parametrize("name", JUDGED)
def test_accuracies_and_flips_are_the_gates(name):
    facts = sample_run.RUNS[name]()
    measures = measure(facts.gate_rows, GATE_ARMS, facts.gate.alpha)
    assert [arm.accuracy for arm in measures.arms] == pytest.approx(
        [facts.gate.baseline_accuracy, facts.gate.thought_accuracy, facts.gate.pause_accuracy]
    )
    assert all(arm.questions == facts.gate.questions for arm in measures.arms)
    flips = choose_flips(measures, facts.questions, "baseline", "thought", ("baseline", "thought"))
    assert (flips.gained, flips.lost) == (facts.gate.flips.gained, facts.gate.flips.lost)


def test_a_single_round_has_the_gates_gain_and_interval():
    rows = sample_run.simulate(generate(50, 1), {"baseline": 0.4, "thought": 0.6}, 2, rounds=1)
    (gain,) = round_gains(rows, 0.05)
    gate = judge(rows, **sample_run.LIMITS)
    assert gain.gain == pytest.approx(gate.difference)
    assert gain.interval == pytest.approx(gate.confidence_interval)
    assert gain.questions == gate.questions
    assert gain.pause is None


@pytest.mark.parametrize("name", JUDGED)
def test_examples_show_the_flip_they_stand_for(name):
    facts = sample_run.RUNS[name]()
    measures = measure(facts.gate_rows, GATE_ARMS, facts.gate.alpha)
    flips = choose_flips(measures, facts.questions, "baseline", "thought", ("baseline", "thought"))
    assert len(flips.gained_examples) == min(EXAMPLES, flips.gained)
    assert len(flips.lost_examples) == min(EXAMPLES, flips.lost)
    for gained, examples in ((True, flips.gained_examples), (False, flips.lost_examples)):
        for example in examples:
            before, after = example.answers
            assert (before.row.correct, after.row.correct) == (not gained, gained)
            assert {answer.row.question_id for answer in example.answers} == {example.question_id}
            assert {answer.row.round for answer in example.answers} == {example.round}
            assert (after.right > before.right) == gained


def test_the_largest_changes_are_shown():
    facts = sample_run.harmed()
    measures = measure(facts.gate_rows, GATE_ARMS, facts.gate.alpha)
    few = choose_flips(measures, facts.questions, "baseline", "thought", ("baseline", "thought"))
    every = choose_flips(measures, facts.questions, "baseline", "thought", ("baseline", "thought"), limit=10_000)
    sizes = [example.answers[1].right - example.answers[0].right for example in every.gained_examples]
    assert sizes == sorted(sizes, reverse=True)
    assert every.gained_examples[:EXAMPLES] == few.gained_examples
    assert len(Counter(example.question_id for example in every.gained_examples)) == every.gained


def test_guard_tasks_are_not_mixed_into_the_arms():
    facts = sample_run.harmed()
    measures = measure(facts.gate_rows, GATE_ARMS, facts.gate.alpha)
    assert {row.task for row in measures.rows} == {"arithmetic"}


def test_an_incomplete_experiment_is_refused():
    facts = sample_run.kept()
    with pytest.raises(ResultsError):
        measure(facts.gate_rows[1:], GATE_ARMS, 0.05)
    with pytest.raises(ResultsError):
        measure((), GATE_ARMS, 0.05)
