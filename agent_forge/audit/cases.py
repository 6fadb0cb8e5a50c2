"""One completion with the grade that it must get."""

from dataclasses import dataclass

REVISED = "The answer is {gold}. Wait, that is wrong. The answer is {other}."


@dataclass(frozen=True)
class Case:
    """A completion made from a question's reference.

    Attributes:
        name: of the phrasing or mutation.
        completion: what is graded.
        right: whether the grader must accept it.
    """

    name: str
    completion: str
    right: bool


def fill(phrasing: str, answer: str) -> str:
    """Put an answer in the place of `{}`; doubled braces stand for themselves."""
    return phrasing.replace("{}", "\0").replace("{{", "{").replace("}}", "}").replace("\0", answer)


def phrased(phrasing: str, answer: str) -> Case:
    """Return the right answer in one phrasing."""
    return Case(phrasing, fill(phrasing, answer), right=True)


def unanswered(prompt: str) -> tuple[Case, Case]:
    """Return what answers nothing: no text, and the question again."""
    return Case("empty completion", "", right=False), Case("the question repeated", prompt, right=False)
