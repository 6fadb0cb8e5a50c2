import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.answers.choice import read_options, reference_letter

TEXTS = ("oxygen", "iron", "sand", "iron oxide")
LINES = "Which one is a metal?\n" + "\n".join(f"{letter}) {text}" for letter, text in zip("ABCD", TEXTS, strict=True))
INLINE = "Which one is a metal? " + " ".join(f"({letter}) {text}" for letter, text in zip("ABCD", TEXTS, strict=True))

BY_LETTER = (
    *(
        "{}",
        "({})",
        "{})",
        "{}.",
        "[{}]",
        "**{}**",
        "${}$",
        "Option {}",
        "The answer is {}.",
        "The answer is ({}).",
        "Answer: {}",
    ),
    *(
        "The correct option is {}.",
        "The correct choice is {}",
        "The answer is option {}.",
        r"\boxed{{{}}}",
        r"\boxed{{\text{{{}}}}}",
    ),
    *("<answer>{}</answer>", "#### {}", "Final answer: **{}**", "I think it's {}.", "It must be {}.", "Therefore, {}."),
    *(
        "Let me think.\n\n{}",
        "{} is correct.",
        "The answer is {} because of its shine.",
        "Of these, only ({}) will do.",
    ),
)
BY_TEXT = ("{}", "The answer is {}.", "**{}**", r"\boxed{{{}}}", "<answer>{}</answer>", "Answer: {}", '"{}"')
BY_BOTH = ("{} {}", "The answer is {} {}.", r"\boxed{{{} {}}}", "<answer>{} {}</answer>", "Final answer: **{} {}**")

letters = st.sampled_from("ABCD")
prompts = st.sampled_from([LINES, INLINE])


def correct(completion: str, reference: str, prompt: str = LINES) -> bool:
    return grade("choice", completion, reference, prompt).correct


@given(letters, letters, st.sampled_from(BY_LETTER), prompts)
def test_a_letter_is_accepted_exactly_when_it_is_the_reference(
    said: str, reference: str, phrasing: str, prompt: str
) -> None:
    assert correct(phrasing.format(said), reference, prompt) == (said == reference)


@given(st.sampled_from(TEXTS), letters, st.sampled_from(BY_TEXT), prompts)
def test_an_options_text_stands_for_its_letter(said: str, reference: str, phrasing: str, prompt: str) -> None:
    for written in (said, said.upper(), said.capitalize()):
        assert correct(phrasing.format(written), reference, prompt) == (TEXTS["ABCD".index(reference)] == said)


@given(letters, st.sampled_from(TEXTS), letters, st.sampled_from(BY_BOTH), prompts)
def test_letter_and_text_must_agree(letter: str, text: str, reference: str, phrasing: str, prompt: str) -> None:
    agree = TEXTS["ABCD".index(letter)] == text
    for written in (f"{letter})", f"({letter})", f"{letter}.", f"{letter}:"):
        assert correct(phrasing.format(written, text), reference, prompt) == (agree and letter == reference)


@given(letters, prompts)
def test_the_reference_may_be_a_letter_or_a_text(letter: str, prompt: str) -> None:
    options = read_options(prompt)
    assert reference_letter(letter, options) == letter
    assert reference_letter(f"({letter.lower()})", options) == letter
    assert reference_letter(options[letter], options) == letter


@given(letters, letters, letters)
def test_two_options_are_no_answer(first: str, second: str, reference: str) -> None:
    if first == second:
        return
    phrasings = (
        *("{} or {}", "{} and {}", "{}, {}", "{}/{}", "either {} or {}", "The answer is {} or {}.", "Both {} and {}"),
        *("The answer is {} or possibly {}", r"\boxed{{{}}} \boxed{{{}}}", "<answer>{}</answer><answer>{}</answer>"),
        *("The answer is {}. Wait, actually it is {}.", "It could be ({}) or ({})", r"\boxed{{{}, {}}}"),
    )
    texts = [phrasing.format(first, second) for phrasing in phrasings]
    assert [text for text in texts if correct(text, reference)] == []


@pytest.mark.parametrize(
    "completion",
    [
        *("", " ", "E", "BB", "B1", "be", "A bee", "metal", "all of the above", "none of the above", "I don't know"),
        *(
            "Not B",
            "The answer is not B",
            "The answer isn't B",
            "It is not B.",
            "not iron",
            "It is not iron",
            "C, not B",
        ),
        *("Neither B nor C", "anything but B", "The answer is anything except B", "C. B is wrong."),
        *(
            "B?",
            "Is it B?",
            "The answer is B?",
            "If the answer is B, then",
            "A B C D",
            "iron or sand",
            "iron oxide or iron",
        ),
    ],
)
def test_what_names_no_option_or_denies_it_is_wrong(completion: str) -> None:
    assert not correct(completion, "B", LINES)
    assert not correct(completion, "B", INLINE)


@given(st.integers(1, len(LINES)), letters)
def test_repeating_the_question_is_wrong(length: int, reference: str) -> None:
    # Any passage shorter than a few words may be an honest answer: `Which`.
    assert not correct(LINES[:length], reference)
    assert not correct(f"{LINES}\n{LINES}", reference)


def test_an_answer_after_the_repeated_question_counts() -> None:
    assert correct(f"{LINES}\nB", "B")


def test_the_list_last_begun_counts() -> None:
    examples = "Which one is hot?\nA) fire\nB) ice\nAnswer: A\n\n" + LINES
    assert read_options(examples) == dict(zip("ABCD", TEXTS, strict=True))


def test_a_prompt_without_options_is_judged_by_letter() -> None:
    assert read_options("Which is it?") == {}
    assert correct("The answer is (C).", "C", "Which is it?")
    assert not correct("The answer is (C).", "B", "Which is it?")


@given(st.text(), st.text())
def test_no_text_raises(text: str, prompt: str) -> None:
    assert isinstance(correct(text, "B", prompt), bool)
    assert isinstance(correct(text, text, LINES), bool)


@given(st.text(st.characters(exclude_characters="bBｂＢ")))
def test_a_completion_without_the_letter_or_the_text_is_wrong(text: str) -> None:
    if "iron" not in text.casefold():
        assert not correct(text, "B")


def test_a_reference_that_is_no_option_accepts_nothing() -> None:
    assert not correct("E", "E") and not correct("gold", "gold")


PIECES = ("A", "A ", "(A) ", "A) x\n", "not ", "iron ", "or A ", "option ", " ", "\n", "a", "<answer>", r"\boxed{")


@pytest.mark.parametrize("piece", PIECES)
def test_a_hundred_kilobytes_are_judged_like_any_text(piece: str) -> None:
    for around in ("{}", r"\boxed{{{}}}", "The answer is {}"):
        assert not correct(around.format(piece * (100_000 // len(piece))), "C")
