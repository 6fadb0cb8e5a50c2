"""The audit accepts sound graders, and tells on unsound ones."""

import pytest

from agent_forge.audit import audit, check
from agent_forge.errors import InputError
from agent_forge.records import Grade, Question


def asked(kind, reference, prompt="What is asked here?", number=0):
    return Question(id=f"q{number}", prompt=prompt, reference=reference, kind=kind)


OPTIONS = "Which one is a metal?\nA) oxygen\nB) iron\nC) wood"
SOUND = [
    *(asked("number", text) for text in ("18", "0", "-7", "1234", "2.5")),
    asked("math", r"\frac{3}{4}"),
    asked("choice", "B", OPTIONS),
    asked("choice", "iron", OPTIONS),
    asked("text", "Paris"),
    asked("text", "} ]"),
]


@pytest.mark.parametrize("question", SOUND, ids=lambda question: f"{question.kind} {question.reference}")
def test_the_graders_of_this_package_pass(question):
    found = audit([question])
    assert (found.false_negatives, found.false_positives) == (0, 0), [t for t in found.tallies if t.wrong]
    assert len([tally for tally in found.tallies if tally.right]) >= 8


@pytest.mark.parametrize("question", SOUND, ids=lambda question: f"{question.kind} {question.reference}")
@pytest.mark.parametrize("always", [True, False])
def test_a_grader_that_always_says_the_same_is_told_on(monkeypatch, question, always):
    monkeypatch.setattr(check, "grade", lambda *_: Grade(extracted=None, correct=always, reason=""))
    found = audit([question])
    expected = sum(tally.total for tally in found.tallies if tally.right != always)
    assert (found.false_positives if always else found.false_negatives) == expected > 0
    assert (found.false_negatives if always else found.false_positives) == 0


def test_another_questions_answer_is_among_the_wrong_ones():
    found = audit([asked("text", "Paris"), asked("text", "Rome", number=1)])
    assert next(tally.total for tally in found.tallies if tally.name == "another answer") == 36


def test_code_is_refused_with_the_reason():
    with pytest.raises(InputError, match="no audit for answers of kind code"):
        audit([asked("code", '{"names": ["f"], "tests": "f()"}')])
