r"""humaneval: functions to complete (Chen et al. 2021, arXiv:2107.03374); test 164, no train part.

One row as published; HumanEval+ (Liu et al. 2023, arXiv:2305.01210) on the hub has the same fields and longer tests:

    {"task_id": "HumanEval/2", "prompt": "\n\ndef truncate_number(number: float) -> float:\n    \"\"\" Given a positive
     floating point number, it can be decomposed into\n    and integer part (largest integer smaller than given number)
     and decimals\n ...", "entry_point": "truncate_number", "canonical_solution": "    return number % 1.0\n",
     "test": "\n\nMETADATA = {...}\n\n\ndef check(candidate):\n    assert candidate(3.5) == 0.5\n ..."}

HumanEval+ as its own package has it carries inputs instead of tests, and expects what the canonical solution returns:
`{"base_input": [[3.5]], "plus_input": [[1e-320]], "atol": 1e-06, "canonical_solution": ..., "contract": ...}`.

A prompt that is continued is the program's beginning; one that is answered in prose gives its imports and helpers.
"""

import ast
import json
from contextlib import suppress

from agent_forge.answers.code import CodeReference
from agent_forge.errors import QuestionError
from agent_forge.questions.sources.published import HubPart, Published
from agent_forge.questions.sources.task import Row, published_question, text_field
from agent_forge.records import Question

# Stands in place of a `test`; exact, or as close as the row allows when that is floating point.
_PLUS_TESTS = """
import copy, math

_space = {}
exec(SOLUTION, _space)

def _close(found, expected, tolerance):
    if found == expected:
        return True
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)) and len(expected) == len(found):
        return all(_close(one, other, tolerance) for one, other in zip(found, expected))
    if not isinstance(found, (int, float)) or not isinstance(expected, float):
        return False
    both_nan = found != found and expected != expected
    return both_nan or math.isclose(found, expected, rel_tol=1e-7, abs_tol=tolerance or 1e-6)

def check(candidate):
    for inputs in INPUTS:
        found = candidate(*copy.deepcopy(inputs))
        if ENTRY == "find_zero":
            # Any zero of the polynomial will do.
            assert abs(_space["poly"](*inputs, found)) <= TOLERANCE
        else:
            assert _close(found, _space[ENTRY](*copy.deepcopy(inputs)), TOLERANCE)
"""


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    prompt, name = text_field(row, "prompt", where), text_field(row, "entry_point", where)
    tests = text_field(row, "test", where) if "test" in row else _plus_tests(row, where)
    if not _calls_check(tests):
        tests = f"{tests.rstrip()}\n\n\ncheck({name})\n"
    reference = CodeReference(names=(name,), tests=tests).model_dump_json()
    return published_question(prompt, reference, "code", "humaneval", where)


def _plus_tests(row: Row, where: str) -> str:
    solution = text_field(row, "prompt", where) + text_field(row, "canonical_solution", where)
    inputs = [*_inputs(row, "base_input", where), *_inputs(row, "plus_input", where)]
    tolerance = row.get("atol", 0)
    if not isinstance(tolerance, (int, float)):
        raise QuestionError(f"{where}: atol is {tolerance!r}; a number is expected")
    values = {"SOLUTION": solution, "INPUTS": inputs, "TOLERANCE": tolerance, "ENTRY": row["entry_point"]}
    head = "from math import inf, nan\n" + "".join(f"{name} = {value!r}\n" for name, value in values.items())
    return head + _PLUS_TESTS


def _inputs(row: Row, name: str, where: str) -> list[object]:
    value = row.get(name)
    with suppress(ValueError):
        # Some editions carry the inputs as a text.
        value = json.loads(value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise QuestionError(f"{where}: neither test nor {name}, a list of inputs; one of them is expected")
    return value


def _calls_check(tests: str) -> bool:
    """Whether the tests call `check` themselves."""
    try:
        statements = ast.parse(tests).body
    except (SyntaxError, ValueError):
        return False
    calls = [node.value for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return any(isinstance(call.func, ast.Name) and call.func.id == "check" for call in calls)


HUMANEVAL = Published(
    name="humaneval",
    kind="code",
    folders=("humaneval", "HumanEval", "openai_humaneval", "humanevalplus"),
    files={"test": ("test", "HumanEval", "HumanEvalPlus")},
    hub={"test": HubPart("openai/openai_humaneval", (None,), "test")},
    read_row=read_row,
)
