import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade, reference_problem

PROMPT = "Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: < [ ( {"

brackets = st.lists(st.sampled_from("()[]{}<>"), min_size=1, max_size=12).map(" ".join)


@given(brackets, st.sampled_from(["{}", "The answer is {}.", "**{}**", "#### {}", "<answer>{}</answer>"]))
def test_closing_brackets_are_their_own_right_answer(reference: str, phrasing: str) -> None:
    assert reference_problem("text", reference, PROMPT) is None
    assert grade("text", phrasing.replace("{}", reference), reference, "Close it: < [").correct


@given(brackets, brackets)
def test_other_brackets_are_not(reference: str, other: str) -> None:
    same = reference.split() == other.split()
    assert grade("text", other, reference, "Close it: < [").correct == same
    assert grade("text", "".join(other.split()), reference, "Close it: < [").correct == same


@pytest.mark.parametrize("answer", ["", ">", "] >", "} ) ] > >", ") } ] >", "} ) ] > or } ] >", "} ) ] >?"])
def test_part_of_the_brackets_is_wrong(answer: str) -> None:
    assert not grade("text", answer, "} ) ] >", PROMPT).correct


@pytest.mark.parametrize("reference", ["", " ", "...", "**", '"!"'])
def test_punctuation_alone_is_no_reference(reference: str) -> None:
    assert "is empty" in str(reference_problem("text", reference, PROMPT))
