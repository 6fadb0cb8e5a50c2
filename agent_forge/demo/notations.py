r"""The same sums written in three ways that the bundled champion does not read: what the demo's specialists learn.

    champion   3+4-2+9-1+5 mod 10
    letters    d+e-c+j-b+f mod 10      digits are the first ten letters
    signs      3p4m2p9m1p5 mod 10      plus and minus are p and m
    postfix    34+2-9+1-5+ mod 10      an operation stands behind its operand

Steps and answers stay as they are: `Steps: 3+4=7;7-2=5;...` and `A: 8`.
"""

import re
from typing import Literal, get_args

from agent_forge.questions.arithmetic import generate
from agent_forge.questions.normalise import question_id
from agent_forge.records import Question

Notation = Literal["letters", "signs", "postfix"]
NOTATIONS: tuple[Notation, ...] = get_args(Notation)
TASK = "notations"

LETTERS = "abcdefghij"
SIGNS = "pm"
_MODULUS = " mod 10"
_TERM = re.compile(r"([+-])(\d)")
_TABLES = {"letters": str.maketrans("0123456789", LETTERS), "signs": str.maketrans("+-", SIGNS)}


def rewritten(prompt: str, notation: Notation) -> str:
    """Return a prompt of the bundled arithmetic in another notation."""
    chain = prompt.removesuffix(_MODULUS)
    if notation == "postfix":
        return _TERM.sub(r"\2\1", chain) + _MODULUS
    return chain.translate(_TABLES[notation]) + _MODULUS


def mixture(count: int, seed: int) -> list[Question]:
    """Return `count` different questions, the notations in turn; the same seed gives the same ones in order."""
    asked = enumerate(generate(count, seed))
    return [in_notation(question, NOTATIONS[number % len(NOTATIONS)]) for number, question in asked]


def in_notation(question: Question, notation: Notation) -> Question:
    """Return a question of the bundled arithmetic in another notation, of the task `notations`."""
    prompt = rewritten(question.prompt, notation)
    return question.model_copy(update={"id": question_id(prompt), "prompt": prompt, "task": TASK})
