"""Choices and texts that are easily misread: options of common words, numbers or many words, and denials."""

import pytest

from agent_forge.answers import grade

METAL = "Which one is a metal?\nA) oxygen\nB) iron\nC) sand\nD) iron oxide"
SUM = "What is 3+4?\nA) 5\nB) 7\nC) 17\nD) 70"
LONG = "Who is it?\nA. the cat\nB. the cat and the brown dog\nC. All of the above\nD. Both A and B"
TRUTH = "Is it so?\nA) Yes\nB) No\nC) It is not known"
LOWER = "Which?\n(a) red\n(b) blue\n(c) green"
GROUPS = "Which blood group?\nA) O\nB) A\nC) B\nD) AB"
PRONOUN = "Who went?\nA) I\nB) a dog\nC) it"

RIGHT = [
    (METAL, "B", "I would go with B.|{B}|B!|B;|- B|Answer B|answer b.|**B)** iron|iron (B)|B) iron (not iron oxide)"),
    (SUM, "B", "7|3 + 4 = 7, so B|The answer is 7, option B.|$7$|7."),
    (LONG, "B", "the cat and the brown dog|B. the cat and the brown dog|The answer is the cat and the brown dog."),
    (LONG, "C", "C. All of the above|all of the above"),
    (LONG, "D", "D. Both A and B|The answer is D. Both A and B|Both A and B"),
    (TRUTH, "B", "No|no.|B) No|The answer is no."),
    (TRUTH, "A", "Yes|Yes, no doubt|The answer is yes."),
    (METAL, "B", "The answer is B, as A and C are not metals.|B because A is a gas and C is a mineral"),
    (LOWER, "B", "b|(b)|blue|(b) blue|B"),
    (GROUPS, "B", "B|(B)|B) A|The answer is B.|B because of the test|<answer>B</answer>"),
    (GROUPS, "A", "O|A) O|The answer is O."),
    (PRONOUN, "A", "I|A) I|The answer is I."),
]
WRONG = [
    (
        METAL,
        "B",
        "B is wrong|B is incorrect.|B is not the answer.|B isn't right|The answer cannot be B.|We can rule out B.",
    ),
    (METAL, "B", "The answer is B. No, C.|The answer is B. Wait, C.|B; C|iron?|B) iron?|B) sand|sand (B)|B or D"),
    (SUM, "B", "0.7|7%|-7|1/7|7,000|7.5|3+4 = 17|The answer is 7, option C.|C) 7"),
    (LONG, "A", "the cat and the brown dog|A. the cat and the brown dog|Both A and B"),
    (LONG, "B", "B. Both A and B|B. the cat"),
    (TRUTH, "B", "There is no answer|I have no idea|Yes and no|no?|Yes, there is no doubt|B) Yes"),
    (TRUTH, "A", "Yes and no|Yes or no"),
    (LOWER, "B", "(b) red|(a) blue|red|a"),
    (METAL, "B", "B is right and C is right|The answer is C. The answer is B.|The answer is B. The answer is C."),
    (METAL, "B", "Suppose it is B|One might say B|I doubt it is B|No B|The answer is B... I mean C.|iron? No."),
    (GROUPS, "B", "A|A or B|B or A|B and A|C|C) B"),
    (GROUPS, "C", "B|C) A|B) B|The answer is B."),
    (PRONOUN, "A", "I think so|I do not know."),
]


def cases(table: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(prompt, letter, text) for prompt, letter, texts in table for text in texts.split("|")]


@pytest.mark.parametrize(("prompt", "reference", "completion"), cases(RIGHT))
def test_one_option_is_read(prompt: str, reference: str, completion: str) -> None:
    assert grade("choice", completion, reference, prompt).correct


@pytest.mark.parametrize(("prompt", "reference", "completion"), cases(WRONG))
def test_what_is_no_choice_of_it_is_refused(prompt: str, reference: str, completion: str) -> None:
    assert not grade("choice", completion, reference, prompt).correct


PASSAGE = "Here it says that the old man went to sea. Where did he go?"


def test_a_passage_of_the_question_may_be_the_answer() -> None:
    assert grade("text", "the old man went to sea", "the old man went to sea", PASSAGE).correct
    assert not grade("text", "Here it says that the old man", "Here it says that the old man", PASSAGE).correct
    assert not grade("text", PASSAGE, "the old man went to sea", PASSAGE).correct


@pytest.mark.parametrize(
    "completion",
    [
        "The answer is Marie. No, it's Pierre.",
        "The answer is Marie. Actually, Pierre.",
        "<answer>Marie</answer> Wait, Pierre.",
        "The answer is Marie. No, Annemarie.",
    ],
)
def test_a_text_that_is_taken_back_is_refused(completion: str) -> None:
    assert not grade("text", completion, "Marie").correct


def test_a_leading_point_is_no_punctuation() -> None:
    assert not grade("text", ".3", "3").correct and grade("text", "The answer is .3.", ".3").correct


def test_type_set_texts_are_read() -> None:
    assert grade("text", r"\boxed{\textbf{Marie Curie}}", "Marie Curie").correct
