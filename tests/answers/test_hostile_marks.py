"""Where an answer stands, and texts that only look as if they said it; the same for every kind."""

import pytest

from agent_forge.answers import grade
from agent_forge.records import AnswerKind

CHOICES = "Which one is a metal?\nA) oxygen\nB) iron\nC) sand"
KINDS: tuple[tuple[AnswerKind, str, str, str], ...] = (
    ("number", "12", "13", ""),
    ("math", r"\frac{7}{9}", r"\frac{7}{8}", ""),
    ("choice", "B", "C", CHOICES),
    ("text", "Marie Curie", "Pierre Curie", ""),
)

RIGHT = (
    "#### @",
    "####\n@",
    "#### @ ####",
    "<answer >@</answer >",
    "<ANSWER>@</ANSWER>",
    "<answer>@",
    r"<answer>\boxed{@}</answer>",
    r"<answer> **$\boxed{@}$** </answer>",
    r"\boxed{\boxed{@}}",
    r"\boxed{@} \boxed{@}",
    "If not, the answer is @.",
    "It is not hard: the answer is @.",
    "That was wrong. The answer is @.",
    '{"answer": "@"}',
    "<think>The answer is @.</think>The answer is @.",
    "The answer is @.<|im_end|>\n<|im_start|>user\nThe answer is not it.",
    "<s>No!</s> The answer is @.",
    "Then it is hard to say</think>\n<answer>@</answer>",
    "The answer is @.\n\nQuestion: What is it in Italy?\nAnswer: None of them",
    "The answer is @.\nQ:\nWhat is it in Italy?\nA: None of them",
)
WRONG = """
<answer>@</answer><answer>%</answer>
<answer>% \\boxed{@}</answer>
<answer>\\boxed{@} \\boxed{%}</answer>
\\boxed{@}\\boxed{}
#### @ #### %
The wrong answer is @.
A wrong answer would be @.
The incorrect answer is @
I don't think the answer is @.
I doubt that the answer is @.
I doubt the answer is @
It is false that the answer is @.
It is not true that the answer is @
It is unlikely that the answer is @
Nobody thinks the answer is @
Perhaps the answer is @
If the answer is @, all is well.
If the answer were @, all would be well.
The answer would be @ if all were well.
The answer is %. The answer is @.
The answer is @. That can't be right.
The answer is @. Hmm, this does not seem right.
The answer is @, which is wrong.
<answer>@</answer> But it's not.
I first thought the answer was @.
It is wrong to say that the answer is @.
You might say the answer is @.
<think>The answer is @.</think>
<think>The answer is @.
The answer is @.</think>
<think>The answer is @.</think>The answer is %.
%\\n\\nQuestion: What is it in Italy?\\nAnswer: @
""".strip().splitlines()


@pytest.mark.parametrize("completion", RIGHT)
@pytest.mark.parametrize(("kind", "reference", "other", "prompt"), KINDS)
def test_the_answer_is_found(kind: AnswerKind, reference: str, other: str, prompt: str, completion: str) -> None:
    assert grade(kind, completion.replace("@", reference), reference, prompt).correct
    assert not grade(kind, completion.replace("@", other), reference, prompt).correct


@pytest.mark.parametrize("completion", WRONG)
@pytest.mark.parametrize(("kind", "reference", "other", "prompt"), KINDS)
def test_what_is_not_said_is_no_answer(
    kind: AnswerKind, reference: str, other: str, prompt: str, completion: str
) -> None:
    said = completion.replace("@", reference).replace("%", other).replace(r"\n", "\n")
    assert not grade(kind, said, reference, prompt).correct
