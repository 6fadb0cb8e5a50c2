"""Rows of one file: JSON lines, a JSON document or parquet, the first two gzipped or not.

    train.jsonl  train.jsonl.gz          one object a line
    train.json   train.json.gz           a list of objects, `{"examples": [...]}` as BIG-Bench Hard has it, one object,
                                         or JSON lines after all
    train.parquet                        as the hub keeps data sets

What a file is shows in its first bytes, then in its name. Parquet is read by pyarrow, which `datasets` is built on and
comes with: it touches neither a cache nor the network, nor asks for a directory it may write to.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.lines import json_lines, json_object
from agent_forge.questions.sources.task import Row

SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".json.gz", ".parquet")
# A JSON document may hold its rows under one of these names.
_ROW_LISTS = ("examples", "data", "rows")
# What people keep tables in; named for what they are, since no part of them is JSON.
_OTHERS = (
    ".csv",
    ".tsv",
    ".xls",
    ".xlsx",
    ".arrow",
    ".feather",
    ".yaml",
    ".yml",
    ".zip",
    ".zst",
    ".bz2",
    ".xz",
    ".tar",
)
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"


def file_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield `file:row` and the row, in order; rows of JSON lines are numbered by line.

    Raises:
        QuestionError: when the file cannot be read, is not what it should be, or holds no row.
    """
    head = _head(path)
    if path.suffix.lower() in _OTHERS:
        raise QuestionError(f"cannot read questions {path}: a {path.suffix} file; JSON lines or parquet is expected")
    if head == _PARQUET or path.suffix == ".parquet":
        yield from _parquet_rows(path)
    elif bare_name(path)[1].startswith(".json") and ".jsonl" not in path.suffixes:
        yield from _document_rows(_text(path), path)
    elif head.startswith(_GZIP):
        yield from _line_rows(_text(path), path)
    else:
        yield from json_lines(path)


def what_is_at(path: Path) -> Literal["file", "directory", "nothing"]:
    """Return what a path leads to; nothing where the system cannot even have such a name."""
    try:
        return "directory" if path.is_dir() else "file" if path.exists() else "nothing"
    except (OSError, ValueError):
        return "nothing"


def bare_name(path: Path) -> tuple[str, str]:
    """Return a file's name without the suffix that says its form, and that suffix; any other suffix stays."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)], suffix
    return path.stem, path.suffix


def _head(path: Path) -> bytes:
    try:
        # A pipe can be read only once: it holds JSON lines.
        if not path.is_file() and path.exists():
            return b""
        with path.open("rb") as file:
            return file.read(4)
    except (OSError, ValueError) as cause:
        raise QuestionError(f"cannot read questions {path}: {cause}; a file of JSON lines is expected") from cause


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as cause:
        raise QuestionError(f"cannot read questions {path}: {cause}; JSON in UTF-8 is expected") from cause


def _line_rows(text: str, path: Path) -> Iterator[tuple[str, Row]]:
    # `splitlines` would also break at U+2028 and others, which may stand inside a JSON text.
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not numbered:
        raise QuestionError(f"{path} holds no questions; one JSON object per line is expected")
    for where, line in numbered:
        yield where, json_object(line, where)


def _document_rows(text: str, path: Path) -> Iterator[tuple[str, Row]]:
    try:
        content = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError) as cause:
        if _begins_with_object(text):
            yield from _line_rows(text, path)
            return
        raise QuestionError(f"{path}: not JSON: {cause}; a list of JSON objects is expected") from cause
    rows = _listed(content)
    if not rows:
        raise QuestionError(f"{path} holds no questions; a list of JSON objects is expected")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise QuestionError(f"{path}:{number}: a {type(row).__name__}; a list of JSON objects is expected")
        yield f"{path}:{number}", row


def _begins_with_object(text: str) -> bool:
    """Whether the first line that is not blank is a JSON object of its own, and others follow."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _listed(content: object) -> list[object]:
    if isinstance(content, dict):
        held = [content[name] for name in _ROW_LISTS if isinstance(content.get(name), list)]
        return held[0] if len(held) == 1 else [content]
    return content if isinstance(content, list) else [content]


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as cause:
        raise QuestionError(
            f"cannot read questions {path}: parquet needs the package pyarrow, which is not installed; "
            "install agent-forge[datasets], or give JSON lines"
        ) from cause
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    # A column that another row fills is no field of this one.
                    yield f"{path}:{number}", {name: value for name, value in row.items() if value is not None}
    except (ArrowException, ArithmeticError, OSError, ValueError) as cause:
        summary = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise QuestionError(f"cannot read questions {path}: {summary}; a whole parquet file is expected") from cause
    if not number:
        raise QuestionError(f"{path} holds no questions; a parquet file with rows is expected")
