r"""math: competition mathematics (Hendrycks et al. 2021, arXiv:2103.03874); train 7,500, judged on MATH-500.

`math500` is MATH-500 alone, which has nothing to bake from. Where a local copy has the 5,000 published test questions
and no MATH-500, `math` is judged on those. What is judged on is never baked from, whatever files it also stands in.

MATH-500 is the part of the published test questions that Lightman et al. 2023 (arXiv:2305.20050) kept for judging. One
of its rows:

    {"problem": "Simplify $(-k + 4) + (-2 + 3k)$.", "solution": "We have $(-k+4) + (-2+3k) = -k + 4 -2 + 3k =
     \\boxed{2k+2}$.", "answer": "2k+2", "subject": "Prealgebra", "level": 2, "unique_id":
     "test/prealgebra/1924.json"}

Rows of the original data set have no `answer`; theirs is the last box of the solution.
"""

from agent_forge.answers.marks import find_boxes
from agent_forge.errors import QuestionError
from agent_forge.questions.sources.published import HubPart, Published
from agent_forge.questions.sources.task import Row, published_question, text_field
from agent_forge.records import Question

_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    prompt = text_field(row, "problem", where)
    reference = text_field(row, "answer", where) if row.get("answer") is not None else _last_box(row, where)
    return published_question(prompt, reference, "math", "math", where)


def _last_box(row: Row, where: str) -> str:
    solution = text_field(row, "solution", where)
    boxes = find_boxes(solution)
    if not boxes:
        raise QuestionError(f"{where}: neither an answer nor a \\boxed{{}} in the solution; one of them is expected")
    return boxes[-1].content


_MATH500 = HubPart("HuggingFaceH4/MATH-500", (None,), "test")

MATH = Published(
    name="math",
    kind="math",
    folders=("math", "MATH", "hendrycks_math", "competition_math", "math500", "MATH-500"),
    files={"train": ("train",), "test": ("test",)},
    hub={"train": HubPart("EleutherAI/hendrycks_math", _SUBJECTS, "train"), "test": _MATH500},
    read_row=read_row,
    worked_answer=lambda row: str(row.get("solution") or ""),
    part_folders={"test": ("math500", "MATH-500", "math", "MATH", "hendrycks_math", "competition_math")},
)

MATH500 = Published(
    name="math500",
    kind="math",
    folders=("math500", "MATH-500"),
    files={"test": ("test",)},
    hub={"test": _MATH500},
    read_row=read_row,
)
