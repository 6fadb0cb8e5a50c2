"""Multiple choice: every published form becomes one form, and the right option stays the right one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.errors import QuestionError
from agent_forge.questions.sources.choices import read_choice

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
texts = st.lists(
    st.text("abcdefgh &;#39.,'", min_size=1, max_size=12).map(lambda text: f"w{text}z"), min_size=2, max_size=26
)


def row(texts: list[str], labels: list[str], key: object, nested: bool = False) -> dict[str, object]:
    if not nested:
        return {"question": "Which?", "choices": {"text": texts, "label": labels}, "answerKey": key}
    listed = [{"label": label, "text": text} for label, text in zip(labels, texts, strict=True)]
    return {"question": {"stem": "Which?", "choices": listed}, "answerKey": key}


@given(texts, st.data(), st.booleans(), st.sampled_from(["letters", "numbers"]))
def test_label_form_and_place_do_not_matter(
    options: list[str], data: st.DataObject, nested: bool, labelled: str
) -> None:
    labels = list(LETTERS) if labelled == "letters" else [str(number) for number in range(1, 27)]
    right = data.draw(st.integers(0, len(options) - 1))
    made = read_choice(row(options, labels[: len(options)], labels[right], nested), "mine", "here:1")
    listed = [f"{letter}) {' '.join(text.split())}" for letter, text in zip(LETTERS, options, strict=False)]
    assert made.prompt == "\n".join(["Which?", *listed])
    assert (made.reference, made.kind, made.task) == (LETTERS[right], "choice", "mine")
    for letter in LETTERS[: len(options)]:
        assert grade("choice", letter, made.reference, made.prompt).correct == (letter == LETTERS[right])


@given(st.lists(st.text("abcdefgh", min_size=2, max_size=9), min_size=2, max_size=8, unique=True), st.data())
def test_the_right_option_may_be_given_as_its_whole_text(options: list[str], data: st.DataObject) -> None:
    right = data.draw(st.integers(0, len(options) - 1))
    made = read_choice(row(options, list(LETTERS[: len(options)]), options[right]), "mine", "here:1")
    assert made.reference == LETTERS[right]


def test_numbers_may_be_numbers() -> None:
    made = read_choice(
        {"question": "Which?", "choices": {"text": ["a", "b"], "label": [1, 2]}, "answerKey": 2}, "mine", "here:1"
    )
    assert made.reference == "B"


def test_entities_stay_and_line_breaks_in_an_option_go() -> None:
    made = read_choice(row(["a &amp; b", "c\n  d"], ["A", "B"], "A"), "mine", "here:1")
    assert made.prompt == "Which?\nA) a &amp; b\nB) c d"


def test_options_listed_in_the_question_itself_are_not_the_options() -> None:
    published = row(["I only", "II only"], ["A", "B"], "B") | {"question": "Given:\nA) I\nB) II\nC) III\nwhich hold?"}
    made = read_choice(published, "mine", "here:1")
    assert grade("choice", "II only", made.reference, made.prompt).correct
    assert not grade("choice", "III", made.reference, made.prompt).correct


@pytest.mark.parametrize(
    ("texts", "labels", "key", "message"),
    [
        ([f"w{n}" for n in range(27)], [str(n) for n in range(27)], "1", "27 choices; at most 26"),
        (["a"], ["A"], "A", "two options or more"),
        (["a", "b"], ["A", "B"], "E", "answerKey is 'E'; one of A, B"),
        (["a", "b"], ["A", "B"], "", "answerKey is ''.*without answers"),
        (["a", "b"], ["A", "B"], None, "answerKey is None.*without answers"),
        (["a", "a"], ["1", "2"], "a", "answerKey is 'a'"),
        (["a", "b"], ["A", "B"], ["A"], "answerKey is ..A.."),
        (["a", "b"], ["A", "A"], "A", "label repeated"),
        (["a", " "], ["A", "B"], "A", "an option is empty"),
    ],
)
def test_what_cannot_be_a_choice_is_named(texts, labels, key, message: str) -> None:
    for nested in (False, True):
        with pytest.raises(QuestionError, match=f"^here:7: .*{message}") as caught:
            read_choice(row(texts, labels, key, nested), "mine", "here:7")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
