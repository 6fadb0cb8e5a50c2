"""An append-only log of finished batches, so that a killed cell continues after its last whole batch.

A row is a line, and a line `[batch, rows]` ends each batch, which is forced to disk before the next one begins:

    {"question_id": "a", ...}
    {"question_id": "b", ...}
    [0, 2]

What a kill left of a batch is cut off when the log is opened again. Rows stay on disk; memory holds where they begin.
"""

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from agent_forge.storage.files import writing_to

R = TypeVar("R", bound=BaseModel)


class BatchLog(Generic[R]):
    """The rows of the batches finished so far, in the order they were finished."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        self._path = path
        self._kind = kind
        self._begins = array("q")
        self._end = 0
        self._batches = 0
        self._open()

    def __len__(self) -> int:
        """Return how many rows are finished."""
        return len(self._begins)

    def append(self, rows: Sequence[R]) -> None:
        """Add the next batch and force it to disk.

        Raises:
            OutputError: when the place cannot be written to; the batches before are still there.
        """
        lines = [row.model_dump_json().encode() + b"\n" for row in rows]
        ending = json.dumps([self._batches, len(rows)]).encode() + b"\n"
        with writing_to(self._path), self._path.open("ab") as stream:
            stream.write(b"".join([*lines, ending]))
            stream.flush()
            os.fsync(stream.fileno())
        for line in lines:
            self._begins.append(self._end)
            self._end += len(line)
        self._end += len(ending)
        self._batches += 1

    def rows(self, places: Iterable[int]) -> Iterator[R]:
        """Yield the rows at some places of the log, in the order of the places."""
        return (self._kind.model_validate_json(line) for line in self.lines(places))

    def lines(self, places: Iterable[int]) -> Iterator[str]:
        """Yield the same rows as JSON, each ended by a newline."""
        if not len(self):
            return
        with self._path.open("rb") as stream:
            for place in places:
                stream.seek(self._begins[place])
                yield stream.readline().decode()

    def _open(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("r+b") as stream:
            self._read(stream)
            stream.truncate(self._end)

    def _read(self, lines: Iterable[bytes]) -> None:
        """Take in whole batches, up to the first line that is not as it was written."""
        begun, position = array("q"), 0
        for line in lines:
            if not line.endswith(b"\n"):
                return
            if line.startswith(b"["):
                if line != json.dumps([self._batches, len(begun)]).encode() + b"\n":
                    return
                self._begins.extend(begun)
                self._end, self._batches, begun = position + len(line), self._batches + 1, array("q")
            elif self._valid(line):
                begun.append(position)
            else:
                return
            position += len(line)

    def _valid(self, line: bytes) -> bool:
        try:
            self._kind.model_validate_json(line)
        except ValidationError:
            return False
        return True
