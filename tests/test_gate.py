import random
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.comparison import (
    Criteria,
    TaskSample,
    accepts,
    compare_tasks,
    decide,
    doubtful_tasks,
    harmed_tasks,
    has_room,
    target_questions_needed,
)
from agent_forge.errors import ResultsError
from agent_forge.gate import judge
from agent_forge.looks import Look
from agent_forge.records import ResultRow
from agent_forge.statistics import MOST_QUESTIONS, lower_bound, sign_flip_p, summarise, t_interval

LIMITS = {"alpha": 0.05, "min_improvement": 0.02, "non_inferiority_margin": 0.05, "power": 0.8}
CRITERIA = Criteria(**LIMITS)


def sampled_rows(questions=60, rounds=3, task="maths", role="target", greedy=False, seed=0, truncated=(), **accuracies):
    """Rows of the arms named in `accuracies`, each completion correct with its arm's probability."""
    source = random.Random(f"{seed} {task}")
    rows = []
    for question in range(questions):
        for arm, accuracy in accuracies.items():
            first = source.random() < accuracy
            for number in range(rounds):
                correct = first if greedy else source.random() < accuracy
                rows.append(
                    ResultRow(
                        question_id=f"{task}-{question}",
                        round=number,
                        arm=arm,
                        correct=correct,
                        completion=f"{correct}" if greedy else f"{correct} {number}",
                        task=task,
                        role=role,
                        truncated=arm in truncated and number == 0,
                    )
                )
    return rows


def fixed_rows(gains, task="maths", role="target"):
    """One round in which question i goes from wrong to right (+1), right to wrong (-1) or stays (0)."""
    right = {1: (False, True), -1: (True, False), 0: (True, True)}
    return [
        ResultRow(
            question_id=f"{task}-{i}", round=0, arm=arm, correct=correct, completion=f"{correct}", task=task, role=role
        )
        for i, gain in enumerate(gains)
        for arm, correct in zip(("baseline", "thought"), right[gain], strict=True)
    ]


def gains(up=0, down=0, same=0):
    return [1] * up + [-1] * down + [0] * same


def sample(values, scale=1, task="maths", role="target"):
    return TaskSample(task, role, np.array(values, dtype=np.int64), scale, 0.5, 0.5)


def test_a_clear_gain_is_baked():
    report = judge(fixed_rows(gains(up=30, down=8, same=62)), **LIMITS)
    assert report.verdict == "bake"
    assert (report.questions, report.rounds, report.effective_rounds) == (100, 1, 1)
    assert (report.baseline_accuracy, report.thought_accuracy) == (0.70, 0.92)
    assert report.difference == 0.22
    assert (report.flips.gained, report.flips.lost) == (30, 8)
    assert report.p_value == sign_flip_p(np.array(gains(up=30, down=8, same=62)))
    assert report.confidence_interval == t_interval(summarise(np.array(gains(30, 8, 62)), 1), 0.05)
    assert report.confidence_level == 0.95
    assert report.questions_needed is None
    assert report.pause_accuracy is None and report.pause_p_value is None and report.thought_minus_pause is None
    assert report.warnings == ()
    assert "92.0%" in report.reason and "70.0%" in report.reason and "+22.0 points" in report.reason


def test_a_loss_is_not_baked_and_that_is_a_finding():
    report = judge(fixed_rows(gains(up=8, down=30, same=62)), **LIMITS)
    assert report.verdict == "no_bake"
    assert "no room for a gain of 2 points" in report.reason


def test_a_gain_too_small_to_matter_is_not_baked_however_certain():
    report = judge(fixed_rows(gains(up=60, down=20, same=9920)), **LIMITS)
    assert report.p_value < 1e-5
    assert report.verdict == "no_bake"


def test_an_undecided_gain_says_how_many_more_questions_would_decide():
    report = judge(fixed_rows(gains(up=14, down=10, same=76)), **LIMITS)
    assert report.verdict == "inconclusive"
    assert report.questions_needed > report.questions
    more = report.questions_needed - report.questions
    assert f"about {more:,} more questions ({report.questions_needed:,} in all)" in report.reason


@pytest.mark.parametrize(
    "counts", [(14, 10, 76), (11, 10, 79), (6, 7, 87), (5, 5, 90), (8, 4, 88), (0, 0, 60), (3, 0, 0)]
)
def test_so_many_questions_with_the_same_differences_do_decide(counts):
    values = gains(*counts)
    assert decide(compare_tasks([sample(values)], CRITERIA), CRITERIA) == "inconclusive"
    copies = -(-target_questions_needed([sample(values)], CRITERIA) // len(values))
    grown = [sample(values * copies)]
    assert decide(compare_tasks(grown, CRITERIA), CRITERIA) != "inconclusive"


def test_a_gain_exactly_at_the_limit_promises_nothing():
    samples = [sample(gains(up=4, down=2, same=94))]
    assert target_questions_needed(samples, CRITERIA) == MOST_QUESTIONS
    report = judge(fixed_rows(gains(up=4, down=2, same=94)), **LIMITS)
    assert report.verdict == "inconclusive"
    assert "1,000,000 questions might not settle it" in report.reason


def test_questions_needed_always_exceed_the_questions_asked():
    barely = sample(gains(up=5, down=0, same=1))
    assert target_questions_needed([barely], CRITERIA) > 6


@pytest.mark.parametrize("questions", [2, 3, 4])
def test_a_handful_of_questions_never_decides_for_baking(questions):
    assert judge(fixed_rows(gains(up=questions)), **LIMITS).verdict == "inconclusive"


def test_thin_evidence_is_pointed_out():
    report = judge(fixed_rows(gains(up=6, same=94)), **LIMITS)
    assert report.verdict == "bake"
    assert any("only 6 questions" in warning for warning in report.warnings)


def test_identical_arms_end_in_no_bake_only_with_enough_questions():
    assert judge(fixed_rows(gains(same=100)), **LIMITS).verdict == "inconclusive"
    assert judge(fixed_rows(gains(same=200)), **LIMITS).verdict == "no_bake"


def test_greedy_rounds_are_one_round():
    once = judge(sampled_rows(rounds=1, greedy=True, baseline=0.5, thought=0.6), **LIMITS)
    often = judge(sampled_rows(rounds=20, greedy=True, baseline=0.5, thought=0.6), **LIMITS)
    assert (often.rounds, often.effective_rounds) == (20, 1)
    assert any("20 rounds are only 1 distinct" in warning for warning in often.warnings)
    assert once.warnings == ()
    ignored = {"rounds", "warnings"}
    assert often.model_dump(exclude=ignored) == once.model_dump(exclude=ignored)


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=20)
def test_identical_extra_rounds_change_no_figure(seed, copies):
    rows = sampled_rows(questions=12, rounds=2, seed=seed, baseline=0.4, thought=0.6, pause=0.5)
    repeats = [r.model_copy(update={"round": 2 + copy}) for r in rows if r.round == 1 for copy in range(copies)]
    ignored = {"rounds", "warnings"}
    assert judge(rows + repeats, **LIMITS).model_dump(exclude=ignored) == judge(rows, **LIMITS).model_dump(
        exclude=ignored
    )


@given(st.integers(0, 10_000), st.permutations(range(3)), st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_order_of_rows_and_names_of_rounds_leave_the_report_byte_identical(seed, names, source):
    rows = sampled_rows(questions=10, seed=seed, baseline=0.4, thought=0.6, pause=0.5)
    rows += sampled_rows(questions=5, task="guard", role="guard", seed=seed, baseline=0.4, thought=0.6, pause=0.5)
    other = [r.model_copy(update={"round": names[r.round]}) for r in rows]
    source.shuffle(other)
    assert judge(other, **LIMITS).model_dump_json() == judge(rows, **LIMITS).model_dump_json()


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_swapping_the_arms_mirrors_the_report(seed):
    rows = sampled_rows(questions=15, seed=seed, baseline=0.4, thought=0.6)
    swap = {"baseline": "thought", "thought": "baseline"}
    there, back = judge(rows, **LIMITS), judge([r.model_copy(update={"arm": swap[r.arm]}) for r in rows], **LIMITS)
    assert back.p_value == pytest.approx(1 - there.p_value, abs=1e-12)
    assert back.difference == -there.difference
    assert back.confidence_interval == pytest.approx([-end for end in reversed(there.confidence_interval)])
    assert (back.flips.gained, back.flips.lost) == (there.flips.lost, there.flips.gained)
    assert (there.verdict, back.verdict) != ("bake", "bake")


def test_a_significant_gain_is_not_baked_when_a_guard_task_is_harmed():
    rows = fixed_rows(gains(up=30, down=5, same=65)) + fixed_rows(gains(up=5, down=40, same=55), "code", "guard")
    report = judge(rows, **LIMITS)
    assert report.verdict == "no_bake"
    assert "code lost more than the 5 points allowed" in report.reason
    assert report.questions == 100


def test_a_significant_gain_waits_for_a_guard_task_that_cannot_vouch():
    rows = fixed_rows(gains(up=30, down=5, same=65)) + fixed_rows(gains(up=3, down=3, same=14), "code", "guard")
    report = judge(rows, **LIMITS)
    assert report.verdict == "inconclusive"
    assert "code could still have lost 5 points" in report.reason
    assert report.questions_needed > 100


def test_a_significant_gain_is_baked_when_the_guard_task_vouches():
    rows = fixed_rows(gains(up=30, down=5, same=65)) + fixed_rows(gains(up=3, down=3, same=294), "code", "guard")
    report = judge(rows, **LIMITS)
    guard, target = report.per_task
    assert report.verdict == "bake"
    assert (guard.task, guard.passed, guard.adjusted_p_value) == ("code", True, None)
    assert (target.task, target.passed, target.adjusted_p_value) == ("maths", True, target.p_value)
    assert guard.lower_bound == lower_bound(summarise(np.array(gains(3, 3, 294)), 1), 0.05)


def test_several_target_tasks_are_adjusted_for():
    unclear, clear = gains(up=16, down=7, same=77), gains(up=3, down=3, same=194)
    alone = judge(fixed_rows(unclear), **LIMITS)
    both = judge(fixed_rows(unclear) + fixed_rows(clear, "logic"), **LIMITS)
    assert alone.verdict == "bake"
    assert both.p_value == pytest.approx(2 * alone.p_value)
    assert both.verdict == "inconclusive"
    assert both.questions == 300
    assert both.difference == pytest.approx(9 / 300)


def test_one_improved_target_task_is_enough_if_the_others_are_not_harmed():
    better = fixed_rows(gains(up=30, down=5, same=65))
    level, worse = gains(up=3, down=3, same=294), gains(up=1, down=40, same=59)
    assert judge(better + fixed_rows(level, "logic"), **LIMITS).verdict == "bake"
    assert judge(better + fixed_rows(worse, "logic"), **LIMITS).verdict == "no_bake"


def test_room_in_one_target_task_keeps_the_verdict_open():
    closed, open_ = fixed_rows(gains(up=5, down=60, same=935)), fixed_rows(gains(up=6, down=4, same=40), "logic")
    assert judge(closed, **LIMITS).verdict == "no_bake"
    assert judge(open_, **LIMITS).verdict == "inconclusive"
    wide = {**LIMITS, "non_inferiority_margin": 0.2}
    assert judge(closed + open_, **wide).verdict == "inconclusive"


def test_without_a_minimum_any_gain_counts_and_none_leaves_no_room():
    limits = {**LIMITS, "min_improvement": 0.0}
    assert judge(fixed_rows(gains(up=30, down=8, same=9962)), **limits).verdict == "bake"
    assert judge(fixed_rows(gains(up=8, down=30, same=62)), **limits).verdict == "no_bake"
    assert judge(fixed_rows(gains(same=5000)), **limits).verdict == "inconclusive"


OUTCOMES = [gains(30, 5, 65), gains(5, 30, 65), gains(10, 9, 81), gains(0, 0, 300), gains(2, 2, 16), gains(1, 0, 1)]


@pytest.mark.parametrize("outcomes", list(combinations_with_replacement(OUTCOMES, 3)))
@pytest.mark.parametrize("roles", [("target", "guard", "guard"), ("target", "target", "guard")])
@pytest.mark.parametrize("min_improvement", [0.0, 0.02])
def test_baking_and_ruling_it_out_exclude_each_other(outcomes, roles, min_improvement):
    criteria = Criteria(0.05, min_improvement, 0.05, 0.8)
    samples = [sample(v, task=f"t{i}", role=role) for i, (v, role) in enumerate(zip(outcomes, roles, strict=True))]
    comparisons = compare_tasks(samples, criteria)
    ruled_out = not has_room(comparisons, criteria) or bool(harmed_tasks(comparisons, criteria))
    assert not (accepts(comparisons, criteria) and ruled_out)
    assert set(harmed_tasks(comparisons, criteria)) <= set(doubtful_tasks(comparisons, criteria))
    asked = sum(len(v) for v, role in zip(outcomes, roles, strict=True) if role == "target")
    assert target_questions_needed(samples, criteria) > asked


def test_a_gain_that_pauses_explain_is_baked_with_a_warning():
    report = judge(sampled_rows(questions=300, baseline=0.4, thought=0.6, pause=0.6), **LIMITS)
    assert report.verdict == "bake"
    assert report.pause_p_value > 0.05
    assert any("extra computation" in warning for warning in report.warnings)


def test_a_gain_over_pauses_too_needs_no_warning():
    report = judge(sampled_rows(questions=300, baseline=0.4, thought=0.6, pause=0.4), **LIMITS)
    assert report.verdict == "bake"
    assert report.pause_p_value < 0.05
    assert report.thought_minus_pause == pytest.approx(report.thought_accuracy - report.pause_accuracy)
    assert report.warnings == ()


def test_unequal_truncation_is_reported():
    report = judge(sampled_rows(baseline=0.5, thought=0.5, pause=0.5, truncated=("thought",)), **LIMITS)
    assert report.truncation == {"baseline": 0.0, "thought": pytest.approx(1 / 3), "pause": 0.0}
    assert len([warning for warning in report.warnings if "cut off" in warning]) == 2


@pytest.mark.parametrize(("cut", "warned"), [(5, 0), (6, 1), (1, 0), (0, 1)])
def test_truncation_is_unequal_beyond_two_points_and_not_at_two(cut, warned):
    first = {"baseline": 3, "thought": cut}
    rows = [
        row.model_copy(update={"truncated": int(row.question_id.rpartition("-")[2]) < first[row.arm]})
        for row in sampled_rows(questions=100, rounds=1, baseline=0.5, thought=0.5)
    ]
    assert len([warning for warning in judge(rows, **LIMITS).warnings if "cut off" in warning]) == warned


def test_an_incomplete_pause_arm_is_refused():
    rows = sampled_rows(questions=4, baseline=0.5, thought=0.5, pause=0.5)
    with pytest.raises(ResultsError, match="question maths-3, round 2: no pause row"):
        judge([r for r in rows if (r.question_id, r.round, r.arm) != ("maths-3", 2, "pause")], **LIMITS)


def test_arms_of_verification_are_refused():
    rows = sampled_rows(questions=4, baseline=0.5, thought=0.5, baked=0.5)
    with pytest.raises(ResultsError, match="arm baked: unexpected arm"):
        judge(rows, **LIMITS)


def test_a_stricter_gate_bakes_no_more():
    strict = {**LIMITS, "alpha": 0.01, "min_improvement": 0.05, "non_inferiority_margin": 0.02}
    for up in range(0, 40, 3):
        rows = fixed_rows(gains(up=up, down=6, same=94 - up))
        assert judge(rows, **LIMITS).verdict == "bake" or judge(rows, **strict).verdict != "bake"


PLANNED = (40, 80, 120)


def test_a_gain_that_would_do_at_the_end_does_not_do_at_an_early_look():
    rows = fixed_rows(gains(up=10, down=2, same=28))
    once, early = judge(rows, **LIMITS), judge(rows, **LIMITS, planned=PLANNED)
    assert once.verdict == "bake" and once.looks is None
    assert early.verdict == "inconclusive" and early.p_value > 0.05 > once.p_value
    assert early.confidence_interval[0] < once.confidence_interval[0]
    assert early.per_task[0].p_value == once.p_value
    assert early.questions_needed is None and "next look is after 80 questions of each task" in early.reason


def test_a_clear_gain_ends_at_an_early_look():
    report = judge(fixed_rows(gains(up=22, down=1, same=17)), **LIMITS, planned=PLANNED)
    assert report.verdict == "bake" and report.reason.startswith("At look 1 of 3: ")
    assert report.looks.taken == 1 and report.looks.saved == pytest.approx(2 / 3)
    assert [look.questions for look in report.looks.planned] == [40, 80, 120]
    assert report.looks.planned[-1].spent == pytest.approx(0.05)
    assert report.per_task[0].lower_bound > -0.05


def test_what_a_look_asks_for_is_its_level_exactly():
    samples = [sample(gains(up=24, down=8, same=48)), sample(gains(up=18, down=9, same=53), task="other")]
    for number in (1, 2, 3):
        look = Look(number, PLANNED)
        compared = compare_tasks(samples, replace(CRITERIA, look=look))
        first = compared[0].p_value <= look.level(0.025)
        second = first and compared[1].p_value <= look.level(0.05)
        assert [task.passed for task in compared] == [first, second]


def test_the_last_look_can_be_open_and_says_how_many_more_questions_would_decide():
    report = judge(fixed_rows(gains(up=16, down=12, same=92)), **LIMITS, planned=PLANNED)
    assert report.looks.taken == 3 and report.verdict == "inconclusive"
    assert report.questions_needed > 120


def test_harm_at_an_early_look_is_a_finding_only_beyond_its_interval():
    mild = fixed_rows(gains(up=4, down=12, same=24))
    assert judge(mild, **LIMITS).verdict == "no_bake"
    assert judge(mild, **LIMITS, planned=PLANNED).verdict == "inconclusive"
    assert judge(fixed_rows(gains(down=25, same=15)), **LIMITS, planned=PLANNED).verdict == "no_bake"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (fixed_rows(gains(up=5, same=36)), "task maths: 41 questions are in, but looks are planned at 40, 80, 120"),
        (
            fixed_rows(gains(up=5, same=35)) + fixed_rows(gains(same=80), "code", "guard"),
            "tasks have 40 and 80 questions",
        ),
    ],
)
def test_rows_of_no_planned_look_are_refused(rows, message):
    with pytest.raises(ResultsError, match=message):
        judge(rows, **LIMITS, planned=PLANNED)


def test_reports_of_one_look_are_written_as_before():
    assert "looks" not in judge(fixed_rows(gains(up=10, same=30)), **LIMITS).model_dump_json()
