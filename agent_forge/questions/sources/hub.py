"""Data sets on the hub, through the package `datasets`; its cache stands where HF_HOME says."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.task import Row

T = TypeVar("T")


@dataclass(frozen=True)
class HubPart:
    """Where a part stands on the hub: repository, its configurations one after the other, and the split's name."""

    repository: str
    configurations: tuple[str | None, ...]
    split: str

    @property
    def source(self) -> str:
        """Where the questions came from, for the report."""
        return f"{self.repository}:{self.split}"

    def rows(self, name: str) -> Iterator[tuple[str, Row]]:
        """Yield `repository:split:row` and the row; `name` is the data set's in errors."""
        number = 0
        for configuration in self.configurations:
            for row in self._loaded(name, configuration):
                number += 1
                yield f"{self.source}:{number}", row

    def _loaded(self, name: str, configuration: str | None) -> Iterable[Row]:
        def load() -> Iterable[Row]:
            import datasets

            rows: Iterable[Row] = datasets.load_dataset(self.repository, configuration, split=self.split)
            return rows

        return _from_hub(load, name, self.repository)


def choose_configurations(
    name: str, repository: str, wanted: str | None, usual: Sequence[str | None]
) -> tuple[str | None, ...]:
    """Return the configurations of a repository to read.

    Args:
        name: the data set, named in errors.
        repository: on the hub.
        wanted: the one asked for; None for those the family usually has, else the only one or `default`.
        usual: the family's own.

    Raises:
        QuestionError: when it cannot be reached, or has others and none was asked for.
    """

    def ask() -> list[str]:
        import datasets

        return list(datasets.get_dataset_config_names(repository))

    there = _from_hub(ask, name, repository)
    known: set[str | None] = set(there)
    only = there[0] if len(there) == 1 else "default"
    choices: list[tuple[str | None, ...]] = [(wanted,)] if wanted else [tuple(usual), (only,)]
    choice = next((names for names in choices if set(names) <= known), ())
    if not choice:
        raise QuestionError(
            f"{repository} has the configurations {', '.join(there)[:300]}, not {wanted or 'a usual one'}; "
            f"name one: {name.partition(':')[0]}:{repository}:CONFIGURATION"
        )
    return choice


def split_names(name: str, repository: str, configuration: str | None) -> list[str]:
    """Return the splits of a repository; raises QuestionError when it cannot be reached."""

    def ask() -> list[str]:
        import datasets

        return list(datasets.get_dataset_split_names(repository, configuration))

    return _from_hub(ask, name, repository)


def _from_hub(load: Callable[[], T], name: str, repository: str) -> T:
    try:
        with _errors_only("huggingface_hub"):
            return load()
    except Exception as cause:  # the package raises whatever its network and file layers raise
        summary = (str(cause).splitlines() or [type(cause).__name__])[0]
        install = "; install agent-forge[datasets]" if isinstance(cause, ImportError) else ""
        instead = "name a local copy in its place" if ":" in name else "set dataset_path to a local copy"
        raise QuestionError(
            f"data set {name} cannot be loaded from the hub as {repository} ({summary}){install}; or {instead}"
        ) from cause


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
