"""One entry for every kind of answer."""

import importlib.util

from agent_forge.answers.asides import without_thoughts
from agent_forge.answers.characters import encodable
from agent_forge.answers.choice import grade_choice, read_options, reference_letter
from agent_forge.answers.code import code_reference_problem, grade_code
from agent_forge.answers.number import grade_number, read_reference
from agent_forge.answers.text import comparison_form, grade_text, normalise_text
from agent_forge.errors import InputError
from agent_forge.records import AnswerKind, Grade
from agent_forge.sandbox.probe import require_sandbox


def grade(
    kind: AnswerKind, completion: str, reference: str, prompt: str = "", allow_code_execution: bool = False
) -> Grade:
    """Grade one completion.

    Args:
        kind: how answers of this question are compared.
        completion: what the model wrote, without any thought.
        reference: the reference answer.
        prompt: the question: options of a choice are read from it, and repeating it is not answering it.
        allow_code_execution: answers of kind code are judged by running them in a sandbox; only if this is True.

    Raises:
        InputError: for a kind that cannot be graded here; never because of what a completion says.
        SandboxError: when a sandbox does not come up although others did.
    """
    require_grader(kind, allow_code_execution)
    completion = encodable(completion)
    if kind == "code":
        return grade_code(completion, reference, prompt)
    completion = without_thoughts(completion)
    if kind == "number":
        return grade_number(completion, reference, prompt)
    if kind == "choice":
        return grade_choice(completion, reference, prompt)
    if kind == "text":
        return grade_text(completion, reference, prompt)
    # Its packages are an extra, and loading them takes longer than the other graders together.
    from agent_forge.answers.mathematics import grade_mathematics

    return grade_mathematics(completion, reference, prompt)


def require_grader(kind: AnswerKind, allow_code_execution: bool = False) -> None:
    """Check that answers of a kind can be graded in this installation.

    Args:
        kind: of the answers.
        allow_code_execution: whether the user has said that programs may be run.

    Raises:
        InputError: naming what is missing.
    """
    if kind == "code":
        if not allow_code_execution:
            raise InputError(
                "answers of kind code are judged by running them in a sandbox, which is off; "
                "add --allow-code-execution, or set allow_code_execution"
            )
        require_sandbox()
    if kind == "math" and importlib.util.find_spec("math_verify") is None:
        raise InputError(
            "answers of kind math need the package math-verify, which is not installed; install agent-forge[math]"
        )


def reference_problem(kind: AnswerKind, reference: str, prompt: str) -> str | None:
    """Say what is wrong with a reference answer that no completion could ever match; None for a usable one."""
    if kind == "number" and read_reference(reference) is None:
        return f"reference {reference[:80]!r} is not exactly one number"
    if kind == "choice" and reference_letter(reference, read_options(prompt)) is None:
        return f"reference {reference[:80]!r} is neither a letter nor the text of an option in the prompt"
    if kind == "code":
        return code_reference_problem(reference)
    if (kind == "math" and not normalise_text(reference)) or (
        kind == "text" and not comparison_form(reference)(reference)
    ):
        return f"reference {reference[:80]!r} is empty"
    return None
