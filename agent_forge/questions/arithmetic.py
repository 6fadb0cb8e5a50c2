"""The bundled question set: chained additions and subtractions modulo 10 with six one-digit operands.

One row: `{"prompt": "3+4-2+9-1+5 mod 10", "reference": "8", "kind": "number", "task": "arithmetic"}`. Its worked steps
are `3+4=7;7-2=5;5+9=14;4-1=3;3+5=8`: every equation is true in ordinary arithmetic, and the next step goes on from the
result modulo 10, so 14 is followed by 4 and -5 by 5.
"""

import re

import numpy as np

from agent_forge.questions.normalise import question_id
from agent_forge.records import Question

TASK = "arithmetic"
OPERANDS = 6
POOL_SIZE = 6000

_TERM = re.compile(r"([+-])(\d)")


def generate(count: int, seed: int) -> list[Question]:
    """Return `count` different questions; the same seed always gives the same ones, in the same order."""
    source = np.random.default_rng(seed)
    prompts: dict[str, None] = {}
    while len(prompts) < count:
        operands = source.integers(0, 10, OPERANDS).tolist()
        operators = source.integers(0, 2, OPERANDS - 1).tolist()
        terms = (f"{'+-'[operator]}{operand}" for operator, operand in zip(operators, operands[1:], strict=True))
        prompts[f"{operands[0]}{''.join(terms)} mod 10"] = None
    return [
        Question(id=question_id(prompt), prompt=prompt, reference=answer(prompt), kind="number", task=TASK)
        for prompt in prompts
    ]


def worked_steps(prompt: str) -> str:
    """Return the steps that lead to the answer, separated by semicolons."""
    value, steps = int(prompt[0]), []
    for operator, operand in _TERM.findall(prompt):
        result = value + int(operator + operand)
        steps.append(f"{value}{operator}{operand}={result}")
        value = result % 10
    return ";".join(steps)


def answer(prompt: str) -> str:
    """Return the answer, one digit."""
    return str((int(prompt[0]) + sum(int(sign + digit) for sign, digit in _TERM.findall(prompt))) % 10)
