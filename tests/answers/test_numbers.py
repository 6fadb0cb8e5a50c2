import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade, quantity

PHRASINGS = (
    "#### {}",
    "So it comes to that.\n#### ${}",
    "The answer is {}.",
    "The final answer is: **{}**",
    "Answer: {} apples",
    r"\boxed{{{}}}",
    r"Therefore $\boxed{{{}}}$ is left.",
    "<answer>{}</answer>",
    "5 of them are lost, so the total is {} dollars.",
    "Altogether {}.",
    "{}",
)
QUESTION = "Ann has 3 boxes of 4 pens and finds 5 more pens. How many pens does she have now?"

integers = st.integers(-(10**9), 10**9)
decimals = st.decimals(-(10**6), 10**6, allow_nan=False, allow_infinity=False, places=3).map(lambda d: f"{d:f}")
numbers = st.one_of(integers.map(str), decimals)
phrasings = st.sampled_from(PHRASINGS)


def correct(completion: str, reference: str, prompt: str = "") -> bool:
    return grade("number", completion, reference, prompt).correct


@given(numbers)
def test_the_reference_is_accepted_in_every_phrasing(number: str) -> None:
    assert [phrasing for phrasing in PHRASINGS if not correct(phrasing.format(number), number)] == []


@given(numbers, numbers, phrasings)
def test_a_number_is_accepted_exactly_when_it_is_the_reference(said: str, reference: str, phrasing: str) -> None:
    assert correct(phrasing.format(said), reference) == (Fraction(said) == Fraction(reference))


@given(integers, st.integers(0, 12), st.integers(1, 9), phrasings)
def test_one_changed_digit_is_another_number(number: int, place: int, step: int, phrasing: str) -> None:
    digits = list(str(abs(number)))
    place %= len(digits)
    digits[place] = str((int(digits[place]) + step) % 10)
    assert not correct(phrasing.format("-" * (number < 0) + "".join(digits)), str(number))


@given(integers, integers)
def test_two_different_numbers_are_no_answer(first: int, second: int) -> None:
    if first == second:
        return
    openings = (
        "{} or {}",
        "The answer is {} or {}.",
        "The answer is {}. Wait, the answer is {}.".replace("Wait", "Or"),
        r"\boxed{{{}}} \boxed{{{}}}",
        "#### {}\n#### {}",
        "<answer>{}</answer> <answer>{}</answer>",
        r"\boxed{{{}}} #### {}",
        r"\boxed{{{}, {}}}",
        "{}, {}",
        "either {} or maybe {}",
    )
    texts = [opening.format(first, second) for opening in openings]
    assert [text for text in texts if correct(text, str(first)) or correct(text, str(second))] == []


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert isinstance(correct(text, "12", text), bool)


@given(st.lists(st.sampled_from(["12", "13", " ", "#### ", r"\boxed{", "}", "answer is ", "or ", "-", ",", "/", "?"])))
def test_no_arrangement_of_marks_and_numbers_raises(pieces: list[str]) -> None:
    assert isinstance(correct("".join(pieces), "12"), bool)


@given(st.text(st.characters(exclude_categories=["Nd", "Nl", "No"])))
def test_a_completion_without_a_digit_or_a_cue_is_wrong(text: str) -> None:
    if "answer" not in text.lower():
        assert not correct(text, "12")


@given(st.text(), integers)
def test_a_text_in_which_the_number_does_not_stand_is_wrong(text: str, number: int) -> None:
    reference = str(number * 10**10 + 1234567891)
    if reference not in text:
        assert not correct(text, reference)


WRITTEN = {
    "1200": r"""1,200|1 200|1'200|1{,}200|1\,200|1.2e3|1.2E+3|1200.00|1.2 × 10^3|1.2×10³|1.2 \times 10^{3}|1.2k
        |12 hundred|$1,200|€1200|1200 km/h|100 dozen""",
    "-5": "−5|–5|-5.0|minus 5|negative 5|-$5|–$5|$-5|- 5|-10/2",
    "1.5": r"1 1/2|1½|3/2|\frac{3}{2}|\frac32|1\frac{1}{2}|1.50|$1.50|1 and a half|15e-1",
    "0.25": r".25|1/4|¼|\dfrac{1}{4}|25%|25\%|25 percent|2.5 × 10^{-1}",
    "18": r"18%|18 percent|1８|𝟏𝟖|١٨|36/2|\text{18}|18\text{ apples}|18 apples|18 m²|018",
    "2000000": "2 million|$2 million|2,000,000|20,00,000|2.000.000|2×10⁶|2 000 000",
    "144": "12 dozen|144 (12 dozen)",
    "1/3": r"1/3|⅓|2/6|\frac{1}{3}",
}


@pytest.mark.parametrize(
    ("reference", "written"),
    [(key, form.strip()) for key, forms in WRITTEN.items() for form in forms.split("|")],
)
def test_the_same_number_may_be_written_in_many_ways(reference: str, written: str) -> None:
    for phrasing in ("#### {}", "The answer is {}", "<answer>{}</answer>"):
        assert correct(phrasing.format(written), reference), phrasing
        assert not correct(phrasing.format(written), f"7{reference}".replace("7-", "-7")), phrasing


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("zero", "0"),
        ("twelve", "12"),
        ("twenty-one", "21"),
        ("one hundred and five", "105"),
        ("two thousand, three hundred and five", "2305"),
        ("minus seven", "-7"),
        ("three million", "3000000"),
    ],
)
def test_words_count_only_after_a_cue(words: str, number: str) -> None:
    assert correct(f"The answer is {words}.", number)
    assert correct(f"Answer: {words} apples", number)
    assert not correct(f"She has {words}.", number)
    assert not correct(words, number)


OPEN = """
####
\boxed{}
<answer></answer>
The answer is
I don't know.
nan
infinity
The answer is not 12.
The answer isn't 12
It is not 12
The answer is 13, not 12.
13 rather than 12
12?
Is the answer 12?
The answer is 12?
If the answer is 12, then
It is unclear whether the answer is 12
12 or more
\boxed{12} or more
The answer is \boxed{12} or so.
\boxed{12}, or it could be 13 or more
The answer is 12 or so
more than 12
The answer is less than 12
> 12
x ≥ 12
x > 12
12 or thirteen
The answer is twelve or thirteen
The answer is 12, or maybe 13
12 to 13
12-13
12 ± 1
12, 13
12 13
12/13
5+7
12 + 0
12 × 1
12^1
√144
half of 24
half of 12
twice 6
12 more than 0
12 less than 20
12π
12x
12i
12_8
12,5
1.2.3
12:30
12 1/2
12 and a half
The answer is twelve and a half
The answer is twelve hundred
The answer is one two
12 dozen
12/0
12k
12 million
12e3
minus 12
−12
- $12
0.12
1200
112
1 2
Step 12
12 feet 6 inches
5 hours and 12 minutes
The answer is 12. Wait, it is 13.
The answer is 12. No, that is wrong.
The answer is 12. The answer is 13.
The answer is 13. So the total is 12 + 1.
""".splitlines()


@pytest.mark.parametrize("completion", OPEN)
def test_what_leaves_the_answer_open_is_wrong(completion: str) -> None:
    assert not correct(completion, "12")


@pytest.mark.parametrize("completion", ["#### 12\nSo the total is 13", "#### 12\n#### 13", "12\n13", " \n "])
def test_several_lines_that_disagree_are_wrong(completion: str) -> None:
    assert not correct(completion, "12") and not correct(completion, "13")


@pytest.mark.parametrize(
    "completion",
    [
        "The answer is 12 because 5 + 7 = 12.",
        "The answer is 12, since 3 of the 15 are gone.",
        "The answer is 13. Wait, I made a mistake. The answer is 12.",
        "5 + 7 = 12",
        "He has 3*4=<<3*4=12>>12 eggs.\n#### 12",
        "1. Five.\n2. Seven.\n3. So 12",
        "Step 1: 5 + 7 = 12\nStep 2: nothing is left to do.\n#### 12",
        "The answer is 12 (not 13)",
        "#### 12\n\nI hope this helps!",
        "At 2 points/answer = 48 points the first answer is 48 and the next answer was 36.\n#### 12",
        r"\boxed{\boxed{12}}",
        r"\boxed{x=12}",
    ],
)
def test_reasons_and_corrections_do_not_stand_in_the_way(completion: str) -> None:
    assert correct(completion, "12")


@given(st.integers(1, len(QUESTION)))
def test_repeating_the_question_is_wrong(length: int) -> None:
    for reference in ("3", "4", "5"):
        assert not correct(QUESTION[:length], reference, QUESTION)
        assert not correct(f"{QUESTION} {QUESTION}", reference, QUESTION)


def test_an_answer_after_the_repeated_question_counts() -> None:
    assert correct(f"{QUESTION}\nAnswer: 17", "17", QUESTION)


def test_a_scale_that_the_question_counts_in_may_be_repeated() -> None:
    assert correct("She bakes 3 dozen.", "3", "How many dozen cookies does she bake?")
    assert not correct("She bakes 3 dozen.", "3", "How many cookies does she bake?")


def test_a_grade_says_what_was_read_and_what_was_expected() -> None:
    wrong = grade("number", "The answer is 1,300.50", "12")
    assert (wrong.extracted, wrong.reason) == ("1300.5", "expected 12")
    assert grade("number", "12 or 13", "12").reason == "several numbers"


@pytest.mark.parametrize("reference", ["", "many", "12 or 13", "1,2", "1.2.3"])
def test_a_reference_that_is_no_number_accepts_nothing(reference: str) -> None:
    assert not correct(f"#### {reference}", reference)


PIECES = ("1", "1,", "1 ", "{", r"\boxed{", "#### ", "the answer is 1. ", "one ", "- ", "<answer>", "a", "10^", ". ")


@pytest.mark.parametrize("piece", PIECES)
def test_a_hundred_kilobytes_are_judged_like_any_text(piece: str) -> None:
    for around in ("{}", r"\boxed{{{}}}", "The answer is {}"):
        assert not correct(around.format(piece * (100_000 // len(piece))), "12")


MARKS = st.sampled_from(
    [*"0123 ,.-/\\{}$~*_`^%()", " and a half", "Rs.", "is - 5", "°", "≈", "€", "\\frac12", "−", "x"]
)


@given(st.lists(MARKS, max_size=12).map("".join) | st.text())
def test_a_text_that_is_left_as_it_is_has_nothing_to_be_cleaned(text: str) -> None:
    cleaned = quantity.clean(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantity, "_MARKED", re.compile(""))
        assert quantity.clean(text) == cleaned
