"""The question sets as files: one JSON lines file per split, one of exemplars, the report of how they came about."""

from pathlib import Path

from agent_forge.errors import ConfigError, QuestionError
from agent_forge.records import Exemplar, Question, SplitName, SplitReport, read_record, read_rows, rows_text
from agent_forge.storage.files import write_atomic

SPLIT_REPORT = "splits.json"
EXEMPLARS = "exemplars.jsonl"


def write_questions(
    directory: Path,
    splits: dict[SplitName, tuple[Question, ...]],
    report: SplitReport,
    exemplars: tuple[Exemplar, ...] = (),
) -> None:
    """Write the splits, the exemplars if there are any and, last, the report."""
    if exemplars:
        write_atomic(directory / EXEMPLARS, rows_text(exemplars))
    for name, questions in splits.items():
        write_atomic(directory / f"{name}.jsonl", rows_text(questions))
    write_atomic(directory / SPLIT_REPORT, report.model_dump_json(indent=2) + "\n")


def read_split(directory: Path, name: SplitName) -> tuple[Question, ...]:
    """Read one split."""
    return tuple(read_rows(Question, directory / f"{name}.jsonl", QuestionError))


def read_split_report(directory: Path) -> SplitReport:
    """Read the report of all splits."""
    return read_record(SplitReport, directory / SPLIT_REPORT, QuestionError)


def read_exemplars(directory: Path) -> tuple[Exemplar, ...]:
    """Read the exemplars of all tasks; none where the report knows of none."""
    if not read_split_report(directory).few_shot:
        return ()
    return tuple(read_rows(Exemplar, directory / EXEMPLARS, QuestionError))


def shard(questions: tuple[Question, ...], index: int, shards: int) -> tuple[Question, ...]:
    """Return every `shards`-th question from `index` on: shards of equal size whatever the order of difficulty."""
    return questions[index::shards]


def cell_names(rounds: int, shards: int) -> list[str]:
    """Return the name of every cell: `<round>-<shard>`, counted from 0."""
    return [f"{round_number}-{shard_number}" for round_number in range(rounds) for shard_number in range(shards)]


def parse_cell(name: str) -> tuple[int, int]:
    """Return round and shard of a cell's name."""
    try:
        round_text, shard_text = name.split("-")
        return int(round_text), int(shard_text)
    except ValueError as cause:
        raise ConfigError(f"cell is {name!r}; expected ROUND-SHARD such as 0-0") from cause
