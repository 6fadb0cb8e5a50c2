"""Published data sets: from files in a local directory, or from the hub through the package `datasets`."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_forge.errors import QuestionError
from agent_forge.questions.on_disk import stored
from agent_forge.questions.sources.hub import HubPart, choose_configurations, split_names
from agent_forge.questions.sources.local import LocalPart, find_part
from agent_forge.questions.sources.rows import bare_name, what_is_at
from agent_forge.questions.sources.task import Part, Row, TaskQuestions
from agent_forge.records import AnswerKind, Question

__all__ = ["HUB_NAME", "HubPart", "Published", "has_part", "load_from_place", "load_published", "local_path"]

# What a row becomes; called with the row and where it stands.
ReadRow = Callable[[Row, str], Question]

_WORDS = re.compile(r"[a-z]+")
_JUDGED_ON = frozenset({"test", "validation", "valid", "val", "dev", "eval", "verify", "gate"})
HUB_NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w.-]+)(?::(?P<configuration>[\w.-]+))?")


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        name: as in the configuration.
        kind: of all its answers, or of those that need the most.
        folders: the folder below `dataset_path` may have any of these names.
        files: per part, the names its file may have, without .jsonl.
        hub: per part, where it stands on the hub.
        read_row: makes a question of a row.
        belongs: whether a row is of a part, where a row says so itself; None when its file says it all.
        part_folders: for parts that stand elsewhere than the others, their folders instead of `folders`.
        shares_wording: whether its questions have long passages in common that say nothing about their answers.
        worked_answer: the answer that a row works out, ending in the reference; None where rows have none.
    """

    name: str
    kind: AnswerKind
    folders: tuple[str, ...]
    files: Mapping[Part, tuple[str, ...]]
    hub: Mapping[Part, HubPart]
    read_row: ReadRow
    belongs: Callable[[Row, Part, str], bool] | None = None
    part_folders: Mapping[Part, tuple[str, ...]] = field(default_factory=dict)
    shares_wording: bool = False
    worked_answer: Callable[[Row], str] | None = None


def load_published(data_set: Published, dataset_path: str | None) -> TaskQuestions:
    """Load the parts of a published data set that there are; `test` must be there, `train` need not.

    Args:
        data_set: what to load.
        dataset_path: local directory; None for the hub.

    Raises:
        QuestionError: when there is no test part, or a row is not as published.
    """
    if dataset_path is None:
        return _from_hub(data_set, data_set.hub)
    return _from_directory(data_set, dataset_path, f"dataset_path {dataset_path}")


def load_from_place(data_set: Published, place: str) -> TaskQuestions:
    """Load a data set in a family's form from a file, a directory or a repository on the hub.

    A file's part is what its name says, `train` or a part to judge on; where it says neither, or the family has no
    train part, it is only judged on.

    Args:
        data_set: the family.
        place: path, `owner/name`, or `owner/name:configuration`.

    Raises:
        QuestionError: when there is none of these, or a row is not as published.
    """
    path = local_path(place)
    at = what_is_at(path) if place else "nothing"
    if at == "file":
        # Rows that say themselves what they are of need no file name that does.
        parts = [_part_of_file(path, data_set)] if data_set.belongs is None else list(data_set.files)
        name = bare_name(path)[0]
        return _task(data_set, {part: (name, str(path), LocalPart(name, (path,)).rows()) for part in parts})
    if at == "directory":
        return _from_directory(data_set, str(path), f"{data_set.name}:{place}")
    match = HUB_NAME.fullmatch(place.removeprefix("hf://"))
    if match is None or bare_name(path)[1]:
        raise QuestionError(
            f"{data_set.name}:{place}: there is no file or directory {place}, and on the hub a data set is called "
            "owner/name; give one of these"
        )
    return _from_hub(data_set, _hub_parts(data_set, match["repository"], match["configuration"]))


def _from_directory(data_set: Published, directory: str, called: str) -> TaskQuestions:
    found = {part: at for part in data_set.files if (at := _local_part(data_set, part, directory)) is not None}
    if "test" not in found:
        raise QuestionError(_missing(data_set, directory, called))
    return _task(data_set, {part: (at.name, at.source, at.rows()) for part, at in found.items()})


def local_path(place: str) -> Path:
    """Return a place as a path; `~` is the home directory, since no shell expands it after `FAMILY:`."""
    return Path(os.path.expanduser(place))  # noqa: PTH111 - the method of paths raises where there is no such user


def _from_hub(data_set: Published, parts: Mapping[Part, HubPart]) -> TaskQuestions:
    return _task(data_set, {part: (at.split, at.source, at.rows(data_set.name)) for part, at in parts.items()})


def _task(data_set: Published, parts: Mapping[Part, tuple[str, str, Iterable[tuple[str, Row]]]]) -> TaskQuestions:
    """Read the rows of every part; parts come as published name, source and rows."""
    questions: dict[Part, Sequence[Question]] = {}
    worked: dict[str, str] = {}
    for part, (_, source, rows) in parts.items():
        if found := stored(_questions(data_set, part, rows, worked)):
            questions[part] = found
        elif part == "test" or data_set.belongs is None:
            raise QuestionError(
                f"{source} holds no {part} questions of {data_set.name}; the published file is expected"
            )
    return TaskQuestions(
        data_set.name,
        questions,
        ", ".join(dict.fromkeys(source for _, source, _ in parts.values())),
        {part: name if _says_part(name) else part for part, (name, _, _) in parts.items()},
        data_set.shares_wording,
        worked,
    )


def _questions(
    data_set: Published, part: Part, rows: Iterable[tuple[str, Row]], worked: dict[str, str]
) -> Iterator[Question]:
    """Yield a part's questions; what `train` rows work out goes into `worked`: from no other part is it ever shown."""
    for where, row in rows:
        if data_set.belongs is None or data_set.belongs(row, part, where):
            question = data_set.read_row(row, where)
            if part == "train" and data_set.worked_answer is not None:
                worked[question.id] = data_set.worked_answer(row)
            # One reader may serve several data sets, such as MATH's.
            same = question.task == data_set.name
            yield question if same else question.model_copy(update={"task": data_set.name})


def has_part(data_set: Published, part: Part, folder: Path) -> bool:
    """Whether a folder itself holds a part of a data set."""
    return _find(data_set, part, [folder]) is not None


def _local_part(data_set: Published, part: Part, dataset_path: str) -> LocalPart | None:
    """Return the part's files, in a folder of the data set's name or in the directory itself."""
    root = Path(dataset_path)
    return _find(data_set, part, [*(root / f for f in data_set.part_folders.get(part, data_set.folders)), root])


def _find(data_set: Published, part: Part, folders: Sequence[Path]) -> LocalPart | None:
    on_hub = data_set.hub.get(part)
    configurations, split = (on_hub.configurations, on_hub.split) if on_hub else ((), part)
    return find_part(folders, data_set.files[part], configurations, split)


def _missing(data_set: Published, directory: str, called: str) -> str:
    if what_is_at(Path(directory)) == "file":
        return (
            f"{called} is a file, and a directory is expected; "
            f"name the file itself as the data set: {data_set.name}:{directory}"
        )
    file = f"{data_set.folders[0]}/{data_set.files['test'][0]}.jsonl"
    return f"{called} has no {file}; put the published file there"


def _part_of_file(path: Path, data_set: Published) -> Part:
    """Return the part that a file's name, or else its folder's, speaks of; what is not said to be train is test."""
    names = (bare_name(path)[0], path.absolute().parent.name)
    said = next((part for name in names if (part := _says_part(name))), None)
    return said if said is not None and said in data_set.files else "test"


def _says_part(name: str) -> Part | None:
    words = set(_WORDS.findall(name.lower()))
    if words & _JUDGED_ON:
        return "test"
    return "train" if "train" in words else None


def _hub_parts(data_set: Published, repository: str, configuration: str | None) -> dict[Part, HubPart]:
    usual = next(iter(data_set.hub.values())).configurations
    name = f"{data_set.name}:{repository}"
    configurations = choose_configurations(name, repository, configuration, usual)
    there = split_names(name, repository, configurations[0])
    found: dict[Part, HubPart] = {}
    for part, files in data_set.files.items():
        on_hub = data_set.hub.get(part)
        names = [*([on_hub.split] if on_hub else []), *files, *(["validation"] if part == "test" else [])]
        split = next((candidate for candidate in names if candidate in there), None)
        if split is not None:
            found[part] = HubPart(repository, configurations, split)
    if "test" not in found:
        raise QuestionError(
            f"{repository} has the splits {', '.join(there)}, none of which {data_set.name} is judged on; "
            f"{' or '.join(data_set.files['test'])} is expected"
        )
    return found
