import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.comparison import Criteria
from agent_forge.errors import ResultsError
from agent_forge.records import Question, ResultRow
from agent_forge.verification import swap_partners, verify

CRITERIA = Criteria(alpha=0.05, min_improvement=0.02, non_inferiority_margin=0.05, power=0.8)


def rows(accuracies, questions=120, opened=True, well_formed=True):
    """Rows of two rounds with a given accuracy per arm, errors spread at random."""
    source = random.Random(0)
    return [
        ResultRow(
            question_id=f"q{question}",
            round=number,
            arm=arm,
            correct=source.random() < accuracy,
            completion=f"{arm} {number} {question}",
            thought_tokens=5 if opened and arm == "baked" else 0,
            well_formed=well_formed,
        )
        for arm, accuracy in accuracies.items()
        for number in range(2)
        for question in range(questions)
    ]


GOOD = {"baseline": 0.1, "thought": 0.95, "baked": 0.95, "swapped": 0.1}


def test_a_good_bake_is_published():
    report = verify(rows(GOOD), CRITERIA, 0.9)
    assert report.verdict == "publish" and report.failed_checks == ()
    assert report.retention == pytest.approx(report.baked_accuracy / report.thought_accuracy)


@pytest.mark.parametrize(
    ("accuracies", "changes", "check"),
    [
        ({**GOOD, "baked": 0.1}, {}, "improvement"),
        ({**GOOD, "baked": 0.02, "baseline": 0.3}, {}, "non_inferiority"),
        (GOOD, {"opened": False}, "own_thoughts"),
        (GOOD, {"well_formed": False}, "own_thoughts"),
        ({**GOOD, "swapped": 0.95}, {}, "swapped_thoughts"),
    ],
)
def test_each_check_alone_rejects(accuracies, changes, check):
    report = verify(rows(accuracies, **changes), CRITERIA, 0.9)
    assert report.verdict == "reject" and check in report.failed_checks


def test_a_missing_arm_is_refused():
    with pytest.raises(ResultsError):
        verify(rows({"baseline": 0.1, "thought": 0.9, "baked": 0.9}), CRITERIA, 0.9)


def question(name, reference, task="t"):
    return Question(id=name, prompt=name, reference=reference, kind="number", task=task)


def test_partners_differ_in_reference_and_share_the_task():
    questions = [question("a", "1"), question("b", "1"), question("c", "2"), question("d", "1", "other")]
    assert [questions[partner].id for partner in swap_partners(questions)] == ["c", "c", "a", "d"]


@given(st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("st")), max_size=12))
def test_a_partner_is_the_next_of_the_task_that_has_another_reference(asked):
    questions = [question(f"q{k}", *about) for k, about in enumerate(asked)]
    for place, partner in enumerate(swap_partners(questions)):
        after = [
            k % len(asked) for k in range(place + 1, place + len(asked)) if asked[k % len(asked)][1] == asked[place][1]
        ]
        different = [k for k in after if asked[k][0] != asked[place][0]]
        assert partner == [*different, *after, place][0]
