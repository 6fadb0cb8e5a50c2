"""The question sets as files: one JSON lines file per split, one of exemplars, the report of how they came about."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agent_forge.errors import ConfigError, QuestionError
from agent_forge.questions.on_disk import QuestionsOnDisk, choose, open_questions
from agent_forge.records import Exemplar, Question, SplitName, SplitReport, json_line, read_record, read_rows, rows_text
from agent_forge.storage.files import write_atomic, write_parts_atomic

SPLIT_REPORT = "splits.json"
EXEMPLARS = "exemplars.jsonl"


def write_questions(
    directory: Path,
    splits: Mapping[SplitName, Sequence[Question]],
    report: SplitReport,
    exemplars: tuple[Exemplar, ...] = (),
) -> None:
    """Write the splits, the exemplars if there are any and, last, the report."""
    if exemplars:
        write_atomic(directory / EXEMPLARS, rows_text(exemplars))
    for name, questions in splits.items():
        write_parts_atomic(directory / f"{name}.jsonl", map(json_line, questions))
    write_atomic(directory / SPLIT_REPORT, report.model_dump_json(indent=2) + "\n")


def read_split(directory: Path, name: SplitName) -> QuestionsOnDisk:
    """Open one split; its questions are read when they are asked for."""
    return open_questions(directory / f"{name}.jsonl")


def read_split_report(directory: Path) -> SplitReport:
    """Read the report of all splits."""
    return read_record(SplitReport, directory / SPLIT_REPORT, QuestionError)


def read_exemplars(directory: Path) -> tuple[Exemplar, ...]:
    """Read the exemplars of all tasks; none where the report knows of none."""
    if not read_split_report(directory).few_shot:
        return ()
    return tuple(read_rows(Exemplar, directory / EXEMPLARS, QuestionError))


def shard(questions: Sequence[Question], index: int, shards: int) -> Sequence[Question]:
    """Return every `shards`-th question from `index` on: shards of equal size whatever the order of difficulty."""
    return questions[index::shards]


def block(questions: Sequence[Question], index: int, blocks: int) -> Sequence[Question]:
    """Return the questions that come in between two looks: of every task the same share, in the order of the hashes."""
    tasks: dict[str, int] = {}
    tasks_N = np.fromiter((tasks.setdefault(question.task, len(tasks)) for question in questions), np.int32)
    of_tasks = (np.flatnonzero(tasks_N == task) for task in tasks.values())
    shares = [
        places_N[len(places_N) * index // blocks : len(places_N) * (index + 1) // blocks] for places_N in of_tasks
    ]
    return choose(questions, np.concatenate([np.empty(0, np.int64), *shares]))


def cell_names(rounds: int, shards: int, blocks: int = 1) -> list[str]:
    """Return the name of every cell: `<round>-<piece>`, counted from 0; pieces are the blocks' shards, in order."""
    pieces = shards * blocks
    return [f"{round_number}-{piece}" for round_number in range(rounds) for piece in range(pieces)]


def cells_of_blocks(names: Sequence[str], shards: int, blocks: int) -> list[list[str]]:
    """Group cells by their blocks, in order."""
    return [[name for name in names if parse_cell(name)[1] // shards == index] for index in range(blocks)]


def parse_cell(name: str) -> tuple[int, int]:
    """Return round and piece of a cell's name."""
    try:
        round_text, piece_text = name.split("-")
        return int(round_text), int(piece_text)
    except ValueError as cause:
        raise ConfigError(f"cell is {name!r}; expected ROUND-SHARD such as 0-0") from cause
