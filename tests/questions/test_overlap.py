import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.questions.normalise import normalise_words, question_id
from agent_forge.questions.overlap import NGRAM, grams, overlap_between
from agent_forge.records import Question

word = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=6)
texts = st.lists(word, min_size=1, max_size=40)
short = st.lists(word, min_size=1, max_size=NGRAM - 1)
long = st.lists(word, min_size=NGRAM, max_size=30)


def made(prompt: str, name: str = "q") -> Question:
    return Question(id=name, prompt=prompt, reference="1", kind="number")


def leaks(first: str, second: str) -> bool:
    found = overlap_between([made(first, "a")], [made(second, "b")])
    assert all((one, other) == ("a", "b") and shared for one, other, shared in found)
    return bool(found)


@given(texts, texts)
def test_a_leak_is_a_shared_gram_and_goes_both_ways(first: list[str], second: list[str]) -> None:
    one, other = " ".join(first), " ".join(second)
    assert leaks(one, other) == leaks(other, one) == bool(set(grams(one)) & set(grams(other)))


@given(texts)
def test_every_text_leaks_into_itself_however_it_is_set(words: list[str]) -> None:
    text = " ".join(words)
    for variant in (text.upper(), text.replace(" ", "\n  "), f"{text}!", f"« {text} ».", text.replace(" ", ", ")):
        assert leaks(variant, text)


@given(long, texts, texts)
def test_thirteen_words_in_a_row_are_a_leak_wherever_they_stand(
    shared: list[str], before: list[str], after: list[str]
) -> None:
    assert leaks(" ".join([*before, *shared, *after]), " ".join(shared))


def test_twelve_words_in_a_row_are_none() -> None:
    shared = " ".join(f"w{index}" for index in range(NGRAM - 1))
    assert not leaks(f"some {shared} here", f"other {shared} there")
    assert leaks(f"some {shared} here", f"some {shared} there")


@given(short, short)
def test_a_short_text_leaks_only_as_a_whole(first: list[str], second: list[str]) -> None:
    assert leaks(" ".join(first), " ".join(second)) == (first == second)


@given(texts)
def test_a_text_has_one_gram_for_every_place_it_can_begin_at(words: list[str]) -> None:
    found = list(grams(" ".join(words)))
    assert len(found) == max(1, len(words) - NGRAM + 1)
    assert all(len(gram.split()) == min(NGRAM, len(words)) for gram in found)


@given(st.lists(texts, max_size=6), st.lists(texts, max_size=6))
def test_every_leaking_item_is_named_once_and_no_other(first: list[list[str]], second: list[list[str]]) -> None:
    ones = [made(" ".join(words), f"a{index}") for index, words in enumerate(first)]
    others = [made(" ".join(words), f"b{index}") for index, words in enumerate(second)]
    expected = [one.id for one in ones if any(set(grams(one.prompt)) & set(grams(o.prompt)) for o in others)]
    assert [name for name, _, _ in overlap_between(ones, others)] == expected


@given(st.text())
def test_any_text_has_words_and_an_id(text: str) -> None:
    assert all(word.strip() for word in normalise_words(text))
    assert len(question_id(text)) == 16


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is 2 + 2?", "what  is 2+2"),
        ("1,234 pens", "1234 pens"),
        ("5 − 3", "5 - 3"),
        ("Tom’s pen", "Tom's pen"),
        ("ｆｕｌｌ width", "full width"),
        ("x²", "x^{2}"),
    ],
)
def test_the_same_question_has_one_id(first: str, second: str) -> None:
    assert question_id(first) == question_id(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2 + 2", "2 - 2"),
        ("2 * 2", "2 / 2"),
        ("5²", "52"),
        ("1½", "11/2"),
        ("a b", "ab"),
        ("x = 1", "x < 1"),
        ("1.5", "15"),
    ],
)
def test_another_question_has_another_id(first: str, second: str) -> None:
    assert question_id(first) != question_id(second)
