import pytest

from agent_forge.answers import grade, reference_problem, require_grader
from agent_forge.errors import InputError

PHRASINGS = (
    "#### {}",
    "The answer is {}.",
    "\\boxed{{{}}}",
    "<answer>{}</answer>",
    "{}",
    "So the total is {}.",
    "**{}**",
    "Answer: ${}",
)


@pytest.mark.parametrize("phrasing", PHRASINGS)
@pytest.mark.parametrize("number", ["7", "1,234", "-3", "0.5", "1/3"])
def test_a_number_is_accepted_in_every_phrasing(phrasing: str, number: str) -> None:
    assert grade("number", "We compute. " + phrasing.format(number), number).correct


@pytest.mark.parametrize("phrasing", PHRASINGS)
def test_another_number_is_accepted_in_no_phrasing(phrasing: str) -> None:
    assert not grade("number", "We have 12. " + phrasing.format("13"), "12").correct


@pytest.mark.parametrize(
    "completion", ["", "12 or 13", "\\boxed{12} \\boxed{13}", "The answer is not 12.", "What is 12?"]
)
def test_an_open_answer_is_wrong(completion: str) -> None:
    assert not grade("number", completion, "12").correct


def test_repeating_the_question_is_not_answering_it() -> None:
    prompt = "Tom has 3 apples and buys 12. How many did he buy? 12"
    assert not grade("number", prompt, "12", prompt).correct


def test_code_is_refused_unless_it_may_be_run() -> None:
    with pytest.raises(InputError, match="--allow-code-execution"):
        require_grader("code")


@pytest.mark.parametrize(("kind", "reference"), [("number", "many"), ("choice", "Z"), ("text", "  "), ("math", "")])
def test_a_reference_that_nothing_can_match_is_a_problem(kind: str, reference: str) -> None:
    assert reference_problem(kind, reference, "Which?\nA) one\nB) two") is not None
