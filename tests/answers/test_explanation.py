"""An explanation names the place that the grader read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.answers.explanation import explain

PROMPT = "Tom has 3 apples and buys 4 more. How many apples has he?"
OPTIONS = "Which one is a metal?\nA) oxygen\nB) iron"


def explained(kind, completion, reference, prompt=PROMPT):
    return explain(kind, completion, reference, prompt, grade(kind, completion, reference, prompt))


@pytest.mark.parametrize(
    ("kind", "completion", "reference", "place", "excerpt", "marks"),
    [
        ("number", "3 + 4\n#### 7", "7", "hash", "#### 7", 1),
        ("number", r"\boxed{6}, no, \boxed{7}", "7", "box", r"\boxed{7}", 2),
        ("number", "The answer is 7.", "7", "cue", "answer is 7", 1),
        ("number", "he has 7", "7", "end", "he has 7", 0),
        ("number", PROMPT, "7", "nothing", PROMPT, 0),
        ("number", "", "7", "nothing", "", 0),
        ("text", "<answer>Paris</answer>, so the answer is Rome", "Paris", "tag", "<answer>Paris</answer>", 2),
        ("text", "Paris", "Paris", "whole text", "Paris", 0),
        ("math", r"We get $\boxed{\frac12}$", "1/2", "box", r"\boxed{\frac12}", 1),
    ],
)
def test_the_place(kind, completion, reference, place, excerpt, marks):
    found = explained(kind, completion, reference)
    assert (found.place, found.excerpt, found.marks) == (place, excerpt, marks)


def test_why_says_both_answers():
    assert "'B' was extracted and is refused: expected A" in explained("choice", "B", "A", OPTIONS).why
    assert "'7' equals the reference '7'" in explained("number", "#### 7", "7").why


@given(st.sampled_from(["number", "choice", "text"]), st.text(max_size=600))
def test_any_completion_is_explained_briefly(kind, completion):
    found = explained(kind, completion, "B", OPTIONS)
    assert len(found.excerpt) < 180 and found.why
