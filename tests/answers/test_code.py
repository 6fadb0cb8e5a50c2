import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade, reference_problem, require_grader
from agent_forge.answers.code import CodeReference, shown_reference
from agent_forge.errors import InputError

PROMPT = 'def add(a, b):\n    """Add."""\n'
REFERENCE = CodeReference(names=("add",), tests="assert add(1, 2) == 3\n").model_dump_json()


@pytest.mark.parametrize(
    ("completion", "correct", "reason"),
    [
        ("    return a + b\n", True, "passed"),
        ("    return a - b\n", False, "wrong answer: assert add(1, 2) == 3"),
        ("    return a + c\n", False, "error: NameError: assert add(1, 2) == 3"),
        ("    return bytearray(2**50)\n", False, "out of memory: assert add(1, 2) == 3"),
        ("    import os; os.fork()\n", False, "forbidden: PermissionError: assert add(1, 2) == 3"),
        ("3", False, "no program"),
        ("    import os; os._exit(0)\n", False, "ended: its process ended itself"),
    ],
)
def test_the_reason_says_what_failed(completion: str, correct: bool, reason: str) -> None:
    found = grade("code", completion, REFERENCE, PROMPT, allow_code_execution=True)
    assert (found.correct, found.reason) == (correct, reason)
    assert found == grade("code", completion, REFERENCE, PROMPT, allow_code_execution=True)


def test_the_program_is_what_was_extracted() -> None:
    found = grade("code", "Sure:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.", REFERENCE, PROMPT, True)
    assert found.extracted == "def add(a, b):\n    return a + b"


def test_nothing_runs_without_permission() -> None:
    for refused in (lambda: require_grader("code"), lambda: grade("code", "", REFERENCE, PROMPT)):
        with pytest.raises(InputError, match="--allow-code-execution"):
            refused()


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "4",
        "{}",
        '{"names": [], "tests": "f()"}',
        '{"names": ["f"], "tests": ""}',
        '{"names": ["f g"], "tests": "f()"}',
        '{"names": ["f"], "tests": "f("}',
        '{"names": ["f"], "tests": "g()"}',
        '{"names": ["f"], "tests": "f()", "more": 1}',
    ],
)
def test_a_reference_that_no_program_could_pass_is_a_problem(reference: str) -> None:
    assert reference_problem("code", reference, PROMPT) is not None
    assert not grade("code", "def f(): pass", reference, PROMPT, allow_code_execution=True).correct


def test_a_usable_reference_is_none() -> None:
    assert reference_problem("code", REFERENCE, PROMPT) is None


@given(st.text())
def test_any_reference_can_be_shown(reference: str) -> None:
    assert shown_reference(reference) == reference
    assert shown_reference(REFERENCE) == "assert add(1, 2) == 3"
