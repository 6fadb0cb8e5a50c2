r"""Code: right when the tests pass; see `agent_forge.sandbox` for how they are run.

The reference is JSON: the names that a program must define, what was asked for first, and Python that tests them:

    {"names": ["add"], "tests": "assert add(1, 2) == 3\nassert add(0, 0) == 0\n"}
"""

import ast
import warnings

from pydantic import Field, ValidationError

from agent_forge.records import Grade, Record, first_problem
from agent_forge.sandbox.judge import Verdict, judge
from agent_forge.sandbox.limits import Limits

LONGEST_EXTRACT = 4000
_FORBIDDEN = ("PermissionError", "BlockingIOError")


class CodeReference(Record):
    """What answers of kind code are judged by.

    Attributes:
        names: what the program must define; the first is what was asked for.
        tests: Python source that calls them; it fails by raising an exception.
    """

    names: tuple[str, ...] = Field(min_length=1)
    tests: str = Field(min_length=1)


def grade_code(completion: str, reference: str, prompt: str, limits: Limits | None = None) -> Grade:
    """Run the tests on the program in a completion.

    Args:
        completion: what the model wrote.
        reference: see `CodeReference`.
        prompt: the question; a completion may continue it when it is the beginning of a program.
        limits: of the processes.
    """
    try:
        expected = CodeReference.model_validate_json(reference)
    except ValidationError:
        return Grade(extracted=None, correct=False, reason="the reference holds no tests")
    verdict = judge(completion, prompt, expected.names, expected.tests, limits)
    extracted = verdict.program[:LONGEST_EXTRACT] if verdict.program else None
    return Grade(extracted=extracted, correct=verdict.passed, reason=_reason(verdict))


def code_reference_problem(reference: str) -> str | None:
    """Say what is wrong with a reference that no program could pass; None for a usable one."""
    try:
        found = CodeReference.model_validate_json(reference)
    except ValidationError as error:
        return f'reference {reference[:80]!r} is not {{"names": [...], "tests": "..."}}: {first_problem(error)}'
    for name in found.names:
        if not name.isidentifier():
            return f"the reference's name {name[:80]!r} is no Python name"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(found.tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the reference's tests are no Python: {error}"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return None if used & set(found.names) else f"the reference's tests do not call {found.names[0]}"


def shown_reference(reference: str) -> str:
    """Return a reference as people read it: the tests; the text itself when it is none."""
    try:
        return CodeReference.model_validate_json(reference).tests.strip("\n")
    except ValidationError:
        return reference


def _reason(verdict: Verdict) -> str:
    said = f": {verdict.detail}" if verdict.detail else ""
    if verdict.outcome == "raised":
        if verdict.detail.startswith("MemoryError"):
            return f"out of memory{said.removeprefix(': MemoryError')}"
        return f"{'forbidden' if verdict.detail.startswith(_FORBIDDEN) else 'error'}{said}"
    return f"{verdict.outcome}{said}"
