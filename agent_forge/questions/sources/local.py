"""Where the files of a published part stand in a local directory.

DIR/gsm8k/train.jsonl                                as published; .json, .parquet and .gz too
DIR/gsm8k/train-00000-of-00002.parquet ...           shards, read in their order; all must be there
DIR/gsm8k/data/train.jsonl                           in a folder `data`
DIR/gsm8k/main/train-00000-of-00001.parquet          a clone of the hub's repository, by configuration
DIR/MATH/train/algebra/1.json ...                    a folder of files, read in the order of their numbers
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.rows import SUFFIXES, bare_name, file_rows
from agent_forge.questions.sources.task import Row

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?")
_FOLDERS = ("train", "test", "validation", "dev")
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class LocalPart:
    """The files of one part, in order, and the name they go by, such as `validation`."""

    name: str
    files: tuple[Path, ...]

    @property
    def source(self) -> str:
        """Where the questions came from, for the report."""
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.files[0]}{more}"

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield `file:row` and the row of every file."""
        for file in self.files:
            yield from file_rows(file)


def find_part(
    folders: Sequence[Path], names: Sequence[str], configurations: Sequence[str | None], split: str
) -> LocalPart | None:
    """Return a part's files from the first folder that has them, or None.

    Args:
        folders: where to look.
        names: what the part's file may be called, the best first.
        configurations: the hub's, each a folder in a clone of the repository; all are needed.
        split: the hub's name of the part.

    Raises:
        QuestionError: when a shard or a configuration is missing.
    """
    below = [name for name in configurations if name]
    for folder in folders:
        for name in names:
            for place in (folder, folder / "data", folder / "default"):
                if files := _files(place, name):
                    return LocalPart(name, tuple(files))
            for called in dict.fromkeys((name, split)):
                if files := _of_configurations(folder, below, called):
                    return LocalPart(called, tuple(files))
    return None


def _of_configurations(folder: Path, configurations: Sequence[str], name: str) -> list[Path]:
    found = {configuration: _files(folder / configuration, name) for configuration in configurations}
    missing = [name for name, files in found.items() if not files]
    if missing and len(missing) < len(found):
        raise QuestionError(
            f"{folder} has {name} questions of {len(found) - len(missing)} of {len(found)} parts; "
            f"{missing[0]} is missing: copy the whole data set"
        )
    return [file for files in found.values() for file in files]


def _files(folder: Path, name: str) -> list[Path]:
    for suffix in SUFFIXES:
        if (file := folder / f"{name}{suffix}").is_file():
            return [file]
    if shards := _shards(folder, name):
        return shards
    inside = folder / name
    if name not in _FOLDERS or not inside.is_dir():
        return []
    return sorted((file for file in inside.rglob("*") if _is_data(file)), key=_in_order)


def _shards(folder: Path, name: str) -> list[Path]:
    if not folder.is_dir():
        return []
    found: dict[int, Path] = {}
    totals = set()
    for file in sorted(folder.iterdir()):
        match = _SHARD.fullmatch(bare_name(file)[0])
        if match and match.group(1) == name and _is_data(file):
            found[int(match.group(2))] = file
            totals.add(int(match.group(3)))
    if not found:
        return []
    wanted = set(range(max(totals)))
    if len(totals) > 1 or set(found) != wanted:
        lost = sorted(wanted - set(found)) or sorted(found)
        raise QuestionError(
            f"{folder}: shard {lost[0]:05d} of {name} does not fit the others ({len(found)} found, of "
            f"{' or '.join(f'{total}' for total in sorted(totals))}); copy all shards of one data set"
        )
    return [found[number] for number in sorted(found)]


def _is_data(file: Path) -> bool:
    return file.is_file() and bare_name(file)[1] in SUFFIXES


def _in_order(file: Path) -> list[tuple[int, str]]:
    """Sort `2.json` before `10.json`."""
    return [(int(text), "") if text.isdigit() else (-1, text) for text in _DIGITS.split(file.as_posix())]
