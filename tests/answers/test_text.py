import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.answers.text import normalise_text

PHRASINGS = (
    *("{}", "{}.", " {}\n", "**{}**", '"{}"', "The answer is {}.", "The answer is: **{}**", "Answer: {}", "#### {}"),
    *(r"\boxed{{{}}}", r"\boxed{{\text{{{}}}}}", "<answer>{}</answer>", "It glows in the dark. The answer is {}."),
)
NAMES = ("Marie Curie", "Pierre Curie", "Curie", "Marie", "radium", "Ångström", "naïve", "Straße", "Then")

names = st.sampled_from(NAMES)
phrasings = st.sampled_from(PHRASINGS)
words = st.text(st.characters(categories=["Ll", "Lu"], max_codepoint=0x17F), min_size=1, max_size=12)


def correct(completion: str, reference: str, prompt: str = "") -> bool:
    return grade("text", completion, reference, prompt).correct


@given(names, names, phrasings)
def test_a_text_is_accepted_exactly_when_it_is_the_reference(said: str, reference: str, phrasing: str) -> None:
    assert correct(phrasing.format(said), reference) == (said == reference)


@given(names, phrasings)
def test_case_spaces_and_width_do_not_matter(name: str, phrasing: str) -> None:
    for written in (name.upper(), name.lower(), name.replace(" ", "  "), name.replace("M", "Ｍ")):
        assert correct(phrasing.format(written), name)


@given(st.lists(words, min_size=1, max_size=4).map(" ".join), phrasings)
def test_any_words_are_their_own_answer(text: str, phrasing: str) -> None:
    # These lead up to an answer, as in `The answer is then Paris`.
    leads = text.split()[0].casefold() in ("then", "so", "thus", "just", "simply", "indeed", "therefore", "exactly")
    if not leads and "answer" not in text.casefold():
        assert correct(phrasing.format(text), text)


@given(names, names)
def test_two_different_answers_are_wrong(first: str, second: str) -> None:
    if first == second:
        return
    for phrasing in (r"\boxed{{{}}} \boxed{{{}}}", "{} or {}", "{} and {}", "<answer>{}</answer><answer>{}</answer>"):
        text = phrasing.format(first, second)
        assert not correct(text, first) and not correct(text, second)


@pytest.mark.parametrize(
    "completion",
    [
        *("", " ", "...", "Curie", "Marie", "Marie Curie?", "Is it Marie Curie?", "The answer is Marie Curie?"),
        *(
            "Not Marie Curie",
            "The answer is not Marie Curie",
            "The answer isn't Marie Curie",
            "Marie Curie or Pierre Curie",
        ),
        *(
            "Marie Curie and Pierre Curie",
            "If the answer is Marie Curie",
            "The answer is Marie Curie. The answer is Pierre.",
        ),
    ],
)
def test_what_is_not_exactly_the_reference_is_wrong(completion: str) -> None:
    assert not correct(completion, "Marie Curie")


def test_a_reference_may_be_a_question() -> None:
    assert correct("Who goes there?", "Who goes there?")


def test_repeating_the_question_is_wrong() -> None:
    prompt = "Say who of Marie Curie and Pierre Curie found radium"
    assert not correct(prompt, "Say who of Marie Curie and Pierre Curie found radium", prompt)
    assert correct(f"{prompt}: The answer is Marie Curie.", "Marie Curie", prompt)


@given(st.text(), st.text())
def test_no_text_raises(completion: str, reference: str) -> None:
    assert isinstance(correct(completion, reference, completion), bool)


@given(st.text())
def test_a_completion_without_the_reference_in_it_is_wrong(text: str) -> None:
    if "marie curie" not in normalise_text(text):
        assert not correct(text, "Marie Curie")


@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normalise_text(text)
    assert normalise_text(once) == once


def test_an_empty_reference_accepts_nothing() -> None:
    assert not correct("", "") and not correct(".", "...")


@pytest.mark.parametrize("piece", ["Marie Curie ", "a", " ", "*", r"\text{", r"\text{a}", "ﷺ", "<answer>", "answer "])
def test_a_hundred_kilobytes_are_judged_like_any_text(piece: str) -> None:
    for around in ("{}", r"\boxed{{{}}}", "The answer is {}"):
        assert not correct(around.format(piece * (100_000 // len(piece))), "Marie Curie")
