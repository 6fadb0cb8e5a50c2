"""Corpora that questions must not stand in, such as the data a champion was trained or chosen on.

    {"prompt": "What is 2 + 2?", "reference": "4"}            JSON lines: every text in a row counts, at any depth
    {"messages": [{"role": "user", "content": "What is"}]}    (a whole JSON document is read too)
    train-00000-of-00001.parquet                              parquet: likewise
    A page of plain text, as it is.                           anything else: one running text

All but parquet may be gzipped. Plain text is read in pieces that overlap, so a file may be larger than memory. A
directory stands for all files in it but hidden ones, each a corpus.
"""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO, cast

from agent_forge.errors import QuestionError
from agent_forge.questions.leak_words import leak_words
from agent_forge.questions.overlap import NGRAM
from agent_forge.questions.sources.rows import file_rows

PIECE = 1 << 20
LONGEST_WORD = 1 << 23
# Words repeated at the head of the next piece: a run and what stands right before it.
OVERLAP_WORDS = NGRAM + 4
_ROWS = frozenset({".json", ".jsonl", ".ndjson"})
_SPACE = re.compile(r"[ \n\t]")
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"


@dataclass(frozen=True)
class Corpus:
    """A corpus: its name, the sha256 of its file, and its texts, read anew at every call."""

    name: str
    sha256: str
    texts: Callable[[], Iterator[str]]


def open_corpora(names: Sequence[str]) -> list[Corpus]:
    """Open corpora by the paths of files and directories.

    Raises:
        QuestionError: when a file cannot be read or does not begin with text, or a directory holds none; what is wrong
            further on shows when its texts are read.
    """
    names = tuple(dict.fromkeys(file for name in names for file in _files(name)))
    for name in names:
        next(corpus_texts(Path(name)))
    return [Corpus(name, _digest(Path(name)), partial(corpus_texts, Path(name))) for name in names]


def _files(name: str) -> list[str]:
    path = Path(name)
    if not path.is_dir():
        return [name]
    found = [file for file in path.rglob("*") if file.is_file()]
    shown = [str(file) for file in sorted(found) if not any(p.startswith(".") for p in file.relative_to(path).parts)]
    if not shown:
        raise QuestionError(
            f"corpus {path} is a directory without files; JSON lines, parquet or plain text is expected"
        )
    return shown


def corpus_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a corpus.

    Raises:
        QuestionError: naming the file, and the line of what is no JSON.
    """
    empty = True
    try:
        for text in _all_texts(path):
            empty = empty and not leak_words(text)
            yield text
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as cause:
        raise QuestionError(
            f"cannot read corpus {path}: {cause}; JSON lines or plain text in UTF-8, gzipped or not, is expected"
        ) from cause
    if empty:
        raise QuestionError(f"corpus {path} holds no text; JSON lines with texts or plain text is expected")


def _all_texts(path: Path) -> Iterator[str]:
    if _head(path) == _PARQUET:
        yield from (_joined_text(row) for _, row in file_rows(path))
        return
    with _opened(path) as stream:
        yield from _row_texts(stream, path) if _holds_rows(path) else _pieces(stream)


def _head(path: Path) -> bytes:
    with path.open("rb") as raw:
        return raw.read(4)


def _opened(path: Path) -> TextIO:
    packed = _head(path).startswith(_GZIP)
    # Line breaks that are not \n may stand inside a JSON text.
    options = {"mode": "rt", "encoding": "utf-8-sig", "newline": "\n"}
    return cast(TextIO, gzip.open(path, **options) if packed else path.open(**options))  # type: ignore[call-overload]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holds_rows(path: Path) -> bool:
    """Whether a file is JSON by its name or by its first line."""
    if any(suffix.lower() in _ROWS for suffix in path.suffixes[-2:]):
        return True
    with _opened(path) as stream:
        head = stream.readline(PIECE)
    try:
        return isinstance(json.loads(head), dict)
    except (ValueError, RecursionError):
        return False


def _row_texts(stream: TextIO, path: Path) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as cause:
            if number == 1 and (document := _document(path)) is not None:
                yield from map(_joined_text, document)
                return
            raise QuestionError(f"{path}:{number}: not JSON: {cause}; one JSON row per line is expected") from cause
        yield from map(_joined_text, row if isinstance(row, list) else [row])


def _document(path: Path) -> list[object] | None:
    """Return the rows of a file that is one JSON document, None for one that is not."""
    with _opened(path) as stream:
        try:
            document = json.load(stream)
        except (ValueError, RecursionError):
            return None
    return document if isinstance(document, list) else [document]


def _joined_text(row: object) -> str:
    return "\n".join(_texts(row))


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a JSON value; the names of fields are none."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def _pieces(stream: TextIO) -> Iterator[str]:
    """Yield a running text in pieces cut between words, each beginning with the last words of the one before."""
    text, fresh = "", 0
    while chunk := stream.read(PIECE):
        text += chunk
        cut = max(text.rfind(space, fresh) for space in " \n\t")
        if cut < 0:
            # What has no space for so long is no text with words; memory is not spent on it.
            if len(text) < LONGEST_WORD:
                continue
            cut = len(text)
        yield text[:cut]
        tail = _last_words(text[:cut])
        text, fresh = tail + text[cut:], len(tail)
    if text[fresh:].strip():
        yield text


def _last_words(text: str) -> str:
    size = 512
    while size < min(len(text), LONGEST_WORD):
        # What is cut in two at the front is left out.
        space = _SPACE.search(text, len(text) - size)
        tail = text[space.start() :] if space else ""
        if len(leak_words(tail)) >= OVERLAP_WORDS:
            return tail
        size *= 2
    return text[-LONGEST_WORD:]
