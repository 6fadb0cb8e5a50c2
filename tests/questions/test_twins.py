import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.questions.leak_words import leak_words, template
from agent_forge.questions.twins import EXAMPLES, find_twins, split_twins
from agent_forge.records import Question

numbers = st.integers(0, 10**9)
word = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=2, max_size=6)


def made(number: int, name: str) -> Question:
    return Question(id=name, prompt=f"Tom has {number} apples. How many?", reference="1", kind="number")


@given(st.lists(word | numbers.map(str), min_size=1, max_size=20), numbers)
def test_other_numbers_leave_the_template_as_it_is(words: list[str], number: int) -> None:
    text = " ".join(words)
    changed = " ".join(str(number) if word.isdigit() else word for word in words)
    assert template(text) == template(changed)
    assert template(text) or not any(word.isdigit() for word in words)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Tom has 3 apples.", "tom has 1,250 apples"),
        ("Tom has 3.5 apples.", "Tom has twelve apples"),
        ("Tom has twenty-five apples.", "Tom has 3 apples"),
        ("On the 3rd day", "On the 21st day"),
        ("x2 + 3", "x5 + 4"),
    ],
)
def test_twins(first: str, second: str) -> None:
    assert template(first) == template(second) != "" and leak_words(first) != leak_words(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("Tom has 3 apples.", "Tim has 3 apples."), ("3 + 4", "3 - 4"), ("3 4", "3"), ("5", "-5")],
)
def test_no_twins(first: str, second: str) -> None:
    assert template(first) != template(second)


def test_a_text_without_numbers_has_no_template() -> None:
    assert template("Which of them is a metal?") == ""


def test_every_twin_is_found_with_the_first_that_it_has() -> None:
    items = ["nothing", "Tom has 3 apples", "Ann has 4 pears"]
    others = ["Ann has 5 plums", "Tom has 9 apples", "Tom has 10 apples", "nothing"]
    assert list(find_twins(items.__iter__, others.__iter__)) == [(1, 1, "tom has 0 apples")]


def test_twins_are_counted_between_every_two_splits_and_a_few_are_shown() -> None:
    many = [made(number, f"b{number}") for number in range(50)]
    other = Question(id="o", prompt="Which?", reference="1", kind="number")
    counts, shown = split_twins({"bake": [*many, other], "gate": [made(99, "g")], "verify": [other]})
    assert [(c.split, c.twin_in, c.count, c.questions) for c in counts] == [
        ("bake", "gate", 50, 51),
        ("bake", "verify", 0, 51),
        ("gate", "verify", 0, 1),
    ]
    assert len(shown) == EXAMPLES and {twin.twin_id for twin in shown} == {"g"}
