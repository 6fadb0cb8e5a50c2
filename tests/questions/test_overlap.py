import html
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.questions import grams as hashing
from agent_forge.questions import overlap
from agent_forge.questions.leak_words import leak_words
from agent_forge.questions.normalise import normalise_words, question_id
from agent_forge.questions.overlap import NGRAM, Shared, find_shared, grams, overlap_between, shared_run
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
    assert leaks(one, other) == leaks(other, one) == (shared_run(one, other) is not None)
    if min(len(first), len(second)) >= NGRAM or max(len(first), len(second)) < NGRAM:
        assert leaks(one, other) == bool(set(grams(one)) & set(grams(other)))


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
    expected = [one.id for one in ones if any(shared_run(one.prompt, o.prompt) for o in others)]
    assert [name for name, _, _ in overlap_between(ones, others)] == expected


# Few words, so that much is shared; operators and punctuation, on which it hangs where a short text begins and ends.
common = st.lists(st.sampled_from(["a", "cat", "2", "+", "-", "3", ".", "?", "\n", ","]), max_size=20).map(" ".join)
repeated = st.builds(
    lambda words, length: " ".join((words * 20)[:length]),
    st.lists(st.sampled_from(["a", "b", "2", "+"]), min_size=1, max_size=4),
    st.integers(10, 20),
)
collections = st.lists(common | repeated, max_size=7)


def defined(items: list[str], others: list[str], container: bool) -> dict[int, Shared]:
    """Compare every item with every other text, by the definition."""
    found = {}
    for number, item in enumerate(items):
        shared = [
            (run[0], other, run[1])
            for other, text in enumerate(others)
            if (run := shared_run(item, text, container)) is not None
        ]
        if shared:
            found[number] = Shared(*min(shared))
    return found


@pytest.mark.parametrize("colliding", [False, True])
@pytest.mark.parametrize("small", [False, True])
@given(collections, collections, st.booleans())
def test_the_index_finds_what_the_definition_says(
    colliding: bool, small: bool, items: list[str], others: list[str], container: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if colliding:
            patch.setattr(hashing, "word_hash", lambda word: len(word) % 2)
        if small:
            for name, size in (("BATCH_WORDS", 5), ("BLOCK_WORDS", 20), ("MOST_SHORT", 2)):
                patch.setattr(overlap, name, size)
        assert dict(find_shared(items, others.__iter__, container)) == defined(items, others, container)


@given(texts, texts, texts, st.booleans())
def test_a_whole_question_within_a_corpus_text_is_found_whatever_its_length(
    question: list[str], before: list[str], after: list[str], upper: bool
) -> None:
    page = " ".join([*before, *question, *after])
    assert shared_run(" ".join(question), page.upper() if upper else page, container=True) is not None


@given(texts, short, texts)
def test_a_short_text_of_a_corpus_within_a_question_is_no_leak(
    before: list[str], inner: list[str], after: list[str]
) -> None:
    question = " ".join([*before, *inner, *after, "x9"])
    assert shared_run(question, " ".join(inner), container=True) is None


QUESTION = "Tom’s 12-year-old sister has 1,250 well-known stamps. Is 3 × 4 − 2 her favourite naïve sum?"


QUESTIONS = [
    QUESTION,
    "What is 2 + 2?",
    "Straße?",
    "Is 3 × 4 − 2 naïve?",
    "x² − 1 = 0",
    "小明有3个苹果，他一共有几个？",
]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "disguised",
    [
        str.upper,
        str.title,
        str.casefold,
        lambda text: text.replace(" ", "\n\t "),
        lambda text: text.replace(" ", "\u2003"),
        lambda text: text.replace("’", "'").replace("−", "-").replace("×", "*"),
        lambda text: text.replace(",", "").replace("’", " ").replace(".", "").replace("?", ""),
        lambda text: text.replace("-", " "),
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: "".join(f"\u200b{character}" for character in text),
        lambda text: f"**{text}**",
        lambda text: f"- _{text}_ - done",
        lambda text: "> " + text.replace(" ", "\n> ", 3),
        lambda text: f"Q: {text} A: 4",
        lambda text: f"({text})",
        html.escape,
        lambda text: f"<p>{text}</p>",
        lambda text: "".join(c for c in unicodedata.normalize("NFD", text) if c != "\u0308"),
        lambda text: "\u202b" + text.replace("a", "a\ufe0f") + "\u202c",
    ],
)
def test_no_typography_hides_a_question(question: str, disguised) -> None:
    page = f"Here are some of those that were asked in the test last week. {disguised(question)} And so on."
    assert shared_run(question, page) is not None
    assert shared_run(question, disguised(question), container=True) is not None


def test_a_language_without_spaces_has_a_word_for_each_character() -> None:
    shared = "他又买了五个苹果，请问他一共有几个苹果"
    assert (
        shared_run(f"小明有三个苹果，{shared}？", f"问一下：小红呢{shared.replace('，', '')}谢谢大家的帮助") is not None
    )
    assert shared_run("彼は三個持っている", "彼は三個持っていない") is None
    assert shared_run("x ≠ 1", "x = 1") is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is 2 + 2?", "What is 2 - 2?"),
        ("What is 2 + 2?", "What is 2 2?"),
        ("What is 2 + 2?", "What is 2 + 22?"),
        ("What is 2 + 2?", "What is 2 + 2 + 2?"),
        ("What is 2 + 2?", "What is 2 + 2 squared, in words?"),
        ("2 + 2", "1 * 2 + 2"),
        ("5 + 2", "-5 + 2"),
        ("What is 2 + 1?", "What is 2 + 1.5?"),
        ("2 ** 3", "2 * 3"),
        ("7 % 3", "7 3"),
        ("What is 5?", "What is 5% of 20?"),
        ("x - y", "x y"),
        ("Who was the president?", "Who was the president of France in 1990?"),
        ("How many apples?", "How many apples and pears?"),
    ],
)
def test_two_short_questions_are_two(first: str, second: str) -> None:
    assert shared_run(first, second) is None and shared_run(second, first) is None


def test_a_calculation_is_no_part_of_a_longer_one_in_a_long_text_either() -> None:
    filler = "and this is a text that goes on for quite a while after all of that"
    assert shared_run("What is 2 + 2?", f"What is 2 + 2 * 5? {filler}") is None
    assert shared_run("What is 2 + 2?", f"What is 2 + 2? - 5 said he {filler}") is not None
    assert shared_run("What is 2 + 2?", f"What is 2 + 2 = 4 {filler}") is not None


@given(st.text())
def test_leak_words_of_any_text_are_words(text: str) -> None:
    assert all(word.strip() for word in leak_words(text))


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
