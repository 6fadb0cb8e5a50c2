"""Rows of multiple choice in the form of ARC and CommonsenseQA, made into one form of question.

    {"question": "Which one is a metal?", "choices": {"text": ["oxygen", "iron"], "label": ["1", "2"]},
     "answerKey": "2"}

becomes

    Which one is a metal?
    A) oxygen
    B) iron                    reference B

As first published the same is nested in `question`: `{"question": {"stem": "...", "choices": [{"label": "A", "text":
"..."}, ...]}, "answerKey": "A"}`. Labels become letters in order, so that an option labelled `2` is B. `answerKey` is a
label, or the whole text of one option. Texts stay as published, HTML entities too, but for line breaks in an option.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.task import Row, published_question, text_field
from agent_forge.records import Question


def read_choice(row: Row, task: str, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    nested = row.get("question")
    inner = nested if isinstance(nested, Mapping) else row
    stem = text_field(inner, "stem" if isinstance(nested, Mapping) else "question", where)
    options = _options(inner.get("choices"), where)
    letter = ascii_uppercase[_right(row.get("answerKey"), options, where)]
    listed = "\n".join(f"{name}) {text}" for name, (_, text) in zip(ascii_uppercase, options, strict=False))
    return published_question(f"{stem.strip()}\n{listed}", letter, "choice", task, where)


class _Option(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    label: str
    text: str


class _Columns(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    label: list[str]
    text: list[str]


_CHOICES: TypeAdapter[_Columns | list[_Option]] = TypeAdapter(_Columns | list[_Option])


def _right(key: object, options: Sequence[tuple[str, str]], where: str) -> int:
    """Return the place of the right option."""
    labels = [label for label, _ in options]
    given = " ".join(str(key).split()) if isinstance(key, str | int) else None
    if given in labels:
        return labels.index(given)
    named = [place for place, (_, text) in enumerate(options) if given and text.casefold() == given.casefold()]
    if len(named) != 1:
        missing = "; a part without answers cannot be judged on" if key in (None, "") else ""
        raise QuestionError(f"{where}: answerKey is {key!r}; one of {', '.join(labels)} is expected{missing}"[:500])
    return named[0]


def _options(choices: object, where: str) -> list[tuple[str, str]]:
    """Return label and text of every option, in order, each text on one line."""
    pairs = _pairs(choices)
    if len(pairs) > len(ascii_uppercase):
        raise QuestionError(f"{where}: {len(pairs)} choices; at most {len(ascii_uppercase)} can be named by a letter")
    if len(pairs) < 2:
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
