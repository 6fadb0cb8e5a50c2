import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.questions import arithmetic
from agent_forge.questions.normalise import question_id

seeds = st.integers(0, 2**32 - 1)


def summed(prompt: str) -> int:
    """Add up the terms of a prompt by another way than the module's."""
    return sum(int(term) for term in re.findall(r"[+-]?\d", prompt.removesuffix(" mod 10")))


@given(seeds, st.integers(0, 50))
def test_a_seed_gives_the_same_questions_every_time(seed: int, count: int) -> None:
    questions = arithmetic.generate(count, seed)
    assert questions == arithmetic.generate(count, seed)
    assert len({question.id for question in questions}) == count


@given(seeds)
def test_fewer_questions_are_the_beginning_of_more(seed: int) -> None:
    assert arithmetic.generate(20, seed)[:7] == arithmetic.generate(7, seed)


@given(seeds)
def test_every_reference_is_the_sum_modulo_ten(seed: int) -> None:
    for question in arithmetic.generate(20, seed):
        assert int(question.reference) == summed(question.prompt) % 10
        assert len(re.findall(r"\d", question.prompt.removesuffix(" mod 10"))) == arithmetic.OPERANDS
        assert question.id == question_id(question.prompt)
        assert grade("number", question.reference, question.reference, question.prompt).correct


@given(seeds)
def test_every_worked_step_is_true_and_leads_to_the_next(seed: int) -> None:
    for question in arithmetic.generate(20, seed):
        steps = arithmetic.worked_steps(question.prompt).split(";")
        assert len(steps) == arithmetic.OPERANDS - 1
        value = int(question.prompt[0])
        for step in steps:
            first, operator, second, result = re.fullmatch(r"(\d)([+-])(\d)=(-?\d+)", step).groups()
            assert int(first) == value
            assert int(first) + int(operator + second) == int(result)
            value = int(result) % 10
        assert str(value) == question.reference


def test_different_seeds_give_different_questions() -> None:
    first, second = ({question.prompt for question in arithmetic.generate(50, seed)} for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("said", ["0", "3", "9"])
def test_only_the_right_digit_is_accepted(said: str) -> None:
    question = arithmetic.generate(1, seed=3)[0]
    right = Fraction(said) == Fraction(question.reference)
    assert grade("number", said, question.reference, question.prompt).correct == right
