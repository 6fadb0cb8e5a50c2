"""Published data sets: from files in a local directory, or from the hub through the package `datasets`."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.lines import json_lines
from agent_forge.questions.sources.task import Part, Row, TaskQuestions
from agent_forge.records import AnswerKind, Question

# What a row becomes; called with the row and where it stands.
ReadRow = Callable[[Row, str], Question]


@dataclass(frozen=True)
class HubPart:
    """Where a part stands on the hub: repository, its configurations one after the other, and the split's name."""

    repository: str
    configurations: tuple[str | None, ...]
    split: str


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        name: as in the configuration.
        kind: of all its answers.
        folders: the folder below `dataset_path` may have any of these names.
        files: per part, the names its file may have, without .jsonl.
        hub: per part, where it stands on the hub.
        read_row: makes a question of a row.
        belongs: whether a row is of a part, where a row says so itself; None when its file says it all.
    """

    name: str
    kind: AnswerKind
    folders: tuple[str, ...]
    files: Mapping[Part, tuple[str, ...]]
    hub: Mapping[Part, HubPart]
    read_row: ReadRow
    belongs: Callable[[Row, Part, str], bool] | None = None


def load_published(data_set: Published, dataset_path: str | None) -> TaskQuestions:
    """Load the parts of a published data set that there are; `test` must be there, `train` need not.

    Args:
        data_set: what to load.
        dataset_path: local directory; None for the hub.

    Raises:
        QuestionError: when there is no test part, or a row is not as published.
    """
    parts: dict[Part, tuple[Question, ...]] = {}
    sources = []
    for part in data_set.files:
        source = str(_hub_part(data_set, part)) if dataset_path is None else _local_file(data_set, part, dataset_path)
        if source is None:
            continue
        rows = _hub_rows(data_set, part) if dataset_path is None else json_lines(Path(source))
        belongs = data_set.belongs or _all_belong
        parts[part] = tuple(data_set.read_row(row, where) for where, row in rows if belongs(row, part, where))
        sources.append(source)
    if "test" not in parts:
        raise QuestionError(
            f"dataset_path {dataset_path} has no {data_set.folders[0]}/{data_set.files['test'][0]}.jsonl; "
            "put the published file there"
        )
    return TaskQuestions(data_set.name, parts, ", ".join(sources))


def _all_belong(_row: Row, _part: Part, _where: str) -> bool:
    return True


def _local_file(data_set: Published, part: Part, dataset_path: str) -> str | None:
    """Return the part's file, in a folder of the data set's name or in the directory itself."""
    root = Path(dataset_path)
    folders = [root / folder for folder in data_set.folders] + [root]
    places = (folder / f"{name}.jsonl" for folder in folders for name in data_set.files[part])
    return next((str(place) for place in places if place.is_file()), None)


def _hub_part(data_set: Published, part: Part) -> str:
    found = data_set.hub[part]
    return f"{found.repository}:{found.split}"


def _hub_rows(data_set: Published, part: Part) -> Iterator[tuple[str, Row]]:
    found = data_set.hub[part]
    number = 0
    for configuration in found.configurations:
        for row in _load_from_hub(data_set.name, found, configuration):
            number += 1
            yield f"{found.repository}:{found.split}:{number}", row


def _load_from_hub(name: str, found: HubPart, configuration: str | None) -> Iterable[Row]:
    try:
        import datasets

        with _errors_only("huggingface_hub"):
            rows: Iterable[Row] = datasets.load_dataset(found.repository, configuration, split=found.split)
    except Exception as cause:  # the package raises whatever its network and file layers raise
        summary = (str(cause).splitlines() or [type(cause).__name__])[0]
        install = "; install agent-forge[datasets]" if isinstance(cause, ImportError) else ""
        raise QuestionError(
            f"data set {name} cannot be loaded from the hub as {found.repository} ({summary}){install}; "
            "or set dataset_path to a local copy"
        ) from cause
    return rows


@contextmanager
def _errors_only(logger: str) -> Iterator[None]:
    """Keep a library from logging every attempt to connect: the outcome of the last one is what is reported."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
