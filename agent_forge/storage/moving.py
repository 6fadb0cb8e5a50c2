"""Telling how many bytes of a model have moved, whichever threads move them."""

import threading
from typing import Protocol

_MEGABYTE = 1_000_000


class Watcher(Protocol):
    """Is told how far a piece of work has come; a run's progress is one."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Begin a piece of work."""
        ...

    def advance(self, done: int, tokens: int) -> None:
        """Say how much is done."""
        ...


class Moving:
    """Adds up bytes and tells a watcher in megabytes.

    Args:
        watcher: None when nobody is interested.
        what: e.g. `publishing`.
        total: bytes to move.
        done: bytes that were there before.
    """

    def __init__(self, watcher: Watcher | None, what: str, total: int, done: int = 0) -> None:
        self._watcher, self._done, self._lock = watcher, done, threading.Lock()
        if watcher is not None:
            watcher.begin(f"{what}, MB", total // _MEGABYTE, done // _MEGABYTE)

    def add(self, count: int) -> None:
        """Say that so many more bytes are where they belong."""
        with self._lock:
            self._done += count
            if self._watcher is not None:
                self._watcher.advance(self._done // _MEGABYTE, 0)
