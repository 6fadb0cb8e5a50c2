"""Digests of a file whose parts come in any order, computed from what is there while others are still on their way."""

import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path

_CHUNK = 1 << 18


class Arriving:
    """Reads the parts of a file in their order, each as soon as it and all before it are there.

    Args:
        path: of the file.
        size: of the file, bytes.
        part: of every part but the last, bytes.
        there: numbers of the parts that are there already, from 0.
        with_md5: compute that too.
    """

    def __init__(self, path: Path, size: int, part: int, there: Iterable[int] = (), with_md5: bool = False) -> None:
        self._path, self._size, self._part = path, size, part
        self._there, self._next, self._reading = set(there), 0, False
        self._lock = threading.Lock()
        self._buffer = memoryview(bytearray(min(_CHUNK, size)))
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None

    def read_on(self, arrived: int | None = None) -> None:
        """Note that a part has arrived, and read what can be read, unless another thread does already."""
        with self._lock:
            self._there |= set() if arrived is None else {arrived}
            if self._reading:
                return
            self._reading = True
        while self._has_next():
            self._read_part(self._next)
            self._next += 1

    def digests(self) -> tuple[str, str | None]:
        """Return the sha256 and the MD5 (hex) of the whole file, once every part has arrived and was read.

        Raises:
            ValueError: when one has not.
        """
        if self._next * self._part < self._size:
            raise ValueError(f"{self._path} is not there whole: {self._next} parts of {self._part} bytes")
        return self._sha256.hexdigest(), self._md5.hexdigest() if self._md5 else None

    def _has_next(self) -> bool:
        with self._lock:
            self._reading = self._next in self._there
            return self._reading

    def _read_part(self, number: int) -> None:
        left = min(self._part, self._size - number * self._part)
        with self._path.open("rb", buffering=0) as stream:
            stream.seek(number * self._part)
            while left > 0 and (count := stream.readinto(self._buffer[: min(_CHUNK, left)])):
                left -= count
                self._sha256.update(self._buffer[:count])
                if self._md5:
                    self._md5.update(self._buffer[:count])
