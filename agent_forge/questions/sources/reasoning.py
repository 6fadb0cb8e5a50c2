r"""reasoning: multiple choice in the form of ARC and CommonsenseQA; from the hub ARC-Challenge.

One row of ARC (Clark et al. 2018, arXiv:1803.05457; train 1,119, test 1,172) as the hub has it:

    {"id": "Mercury_SC_415702", "question": "George wants to warm his hands quickly by rubbing them. Which skin surface
     will produce the most heat?", "choices": {"text": ["dry palms", "wet palms", "palms covered with oil",
     "palms covered with lotion"], "label": ["A", "B", "C", "D"]}, "answerKey": "A"}

As first published, ARC and CommonsenseQA (Talmor et al. 2019, arXiv:1811.00937) nest the same in `question`:
`{"question": {"stem": "...", "choices": [{"label": "A", "text": "..."}, ...]}, "answerKey": "A"}`. Both are read.
Labels become letters in order, so that an option labelled `2` is B. CommonsenseQA's test rows have no answers: its
validation rows are what can be judged on.
"""

from collections.abc import Mapping
from string import ascii_uppercase

from pydantic import BaseModel, TypeAdapter, ValidationError

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.published import HubPart, Published
from agent_forge.questions.sources.task import Row, published_question, text_field
from agent_forge.records import Question


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    nested = row.get("question")
    inner = nested if isinstance(nested, Mapping) else row
    stem = text_field(inner, "stem" if isinstance(nested, Mapping) else "question", where)
    options = _options(inner.get("choices"), where)
    key = row.get("answerKey")
    labels = [label for label, _ in options]
    if key not in labels:
        raise QuestionError(f"{where}: answerKey is {key!r}; one of {', '.join(labels)} is expected")
    letter = ascii_uppercase[labels.index(key)]
    listed = "\n".join(f"{name}) {text}" for name, (_, text) in zip(ascii_uppercase, options, strict=False))
    return published_question(f"{stem.strip()}\n{listed}", letter, "choice", "reasoning", where)


class _Option(BaseModel):
    label: str
    text: str


class _Columns(BaseModel):
    label: list[str]
    text: list[str]


_CHOICES: TypeAdapter[_Columns | list[_Option]] = TypeAdapter(_Columns | list[_Option])


def _options(choices: object, where: str) -> list[tuple[str, str]]:
    """Return label and text of every option, in order, each text on one line."""
    pairs = _pairs(choices)
    if not 2 <= len(pairs) <= len(ascii_uppercase):
        found = f"{choices!r}"[:200]
        raise QuestionError(
            f"{where}: choices is {found}; two options or more are expected, "
            'as {"text": [...], "label": [...]} or [{"label": ..., "text": ...}, ...]'
        )
    options = [(label, " ".join(text.split())) for label, text in pairs]
    if not all(text for _, text in options) or len({label for label, _ in options}) < len(options):
        raise QuestionError(f"{where}: an option is empty or its label repeated; every label must have its own text")
    return options


def _pairs(choices: object) -> list[tuple[str, str]]:
    """Return label and text of every option; nothing when the choices have neither form."""
    try:
        read = _CHOICES.validate_python(choices)
    except ValidationError:
        return []
    if isinstance(read, list):
        return [(option.label, option.text) for option in read]
    same_length = len(read.label) == len(read.text)
    return list(zip(read.label, read.text, strict=True)) if same_length else []


REASONING = Published(
    name="reasoning",
    kind="choice",
    folders=("reasoning", "arc", "ARC-Challenge", "commonsenseqa", "commonsense_qa"),
    files={"train": ("train",), "test": ("test", "validation", "dev")},
    hub={
        "train": HubPart("allenai/ai2_arc", ("ARC-Challenge",), "train"),
        "test": HubPart("allenai/ai2_arc", ("ARC-Challenge",), "test"),
    },
    read_row=read_row,
)
