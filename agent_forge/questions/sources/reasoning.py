"""reasoning: multiple choice, from the hub ARC-Challenge; see `arc` for a row.

A local copy may be ARC's or CommonsenseQA's. All parts come from the first of these that has something to judge on:
`reasoning`, ARC-Challenge's folders, CommonsenseQA's, the directory itself.
"""

from dataclasses import replace
from pathlib import Path

from agent_forge.questions.sources.arc import ARC_CHALLENGE
from agent_forge.questions.sources.choices import read_choice
from agent_forge.questions.sources.commonsenseqa import COMMONSENSEQA
from agent_forge.questions.sources.published import has_part, load_published
from agent_forge.questions.sources.task import Row, TaskQuestions
from agent_forge.records import Question


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    return read_choice(row, "reasoning", where)


REASONING = replace(
    ARC_CHALLENGE, name="reasoning", folders=("reasoning", "arc", *ARC_CHALLENGE.folders), read_row=read_row
)
_COMMONSENSE = replace(COMMONSENSEQA, name="reasoning", read_row=read_row)


def load_reasoning(dataset_path: str | None) -> TaskQuestions:
    """Load the multiple-choice questions that there are; see `load_published`."""
    if dataset_path is None:
        return load_published(REASONING, None)
    places = [Path(dataset_path) / folder for folder in REASONING.folders]
    in_arc = any(has_part(REASONING, "test", place) for place in places)
    in_commonsense = any(has_part(_COMMONSENSE, "test", Path(dataset_path) / f) for f in _COMMONSENSE.folders)
    return load_published(_COMMONSENSE if in_commonsense and not in_arc else REASONING, dataset_path)
