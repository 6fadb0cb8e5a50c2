"""An append-only log of finished batches, so that a killed cell continues after its last whole batch.

Each line is `{"batch": 3, "rows": [...]}` and is forced to disk before the next batch begins. A line that was torn by
a kill is cut off when the log is opened again.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from agent_forge.storage.files import writing_to

R = TypeVar("R", bound=BaseModel)


class BatchLog(Generic[R]):
    """The batches finished so far; batch numbers are 0, 1, 2, ... without gaps."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        self._path = path
        self._kind = kind
        self.batches: list[list[R]] = []
        self._open()

    def append(self, rows: Sequence[R]) -> None:
        """Add the next batch and force it to disk.

        Raises:
            OutputError: when the place cannot be written to; the batches before are still there.
        """
        line = json.dumps(
            {"batch": len(self.batches), "rows": [row.model_dump(mode="json") for row in rows]}, ensure_ascii=True
        )
        with writing_to(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.batches.append(list(rows))

    def _open(self) -> None:
        if not self._path.exists():
            return
        good = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            batch = self._parse(line)
            if batch is None:
                break
            self.batches.append(batch)
            good += len(line)
        with self._path.open("r+b") as stream:
            stream.truncate(good)

    def _parse(self, line: bytes) -> list[R] | None:
        if not line.endswith(b"\n"):
            return None
        try:
            content = json.loads(line)
            if content["batch"] != len(self.batches):
                return None
            return [self._kind.model_validate(row) for row in content["rows"]]
        except (ValueError, KeyError, TypeError, ValidationError):
            return None
