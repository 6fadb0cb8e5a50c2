"""Progress on standard error: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from agent_forge.stages.context import Progress

# Plain lines come this far apart, in seconds, so that a log stays readable.
_PERIOD = 5.0


@dataclass(frozen=True)
class Work:
    """A piece of work: what it is, how many rows or steps it has, how many were done before it began."""

    what: str
    total: int
    before: int
    began: float = field(default_factory=time.monotonic)

    def describe(self, done: int, tokens: int) -> str:
        """Return e.g. `thought-0: 64/200, 1,250 tokens/s, 12 s left`, as far as it is known."""
        seconds = time.monotonic() - self.began
        parts = [f"{self.what}: {done}/{self.total}" if self.total else f"{self.what}: step {done}"]
        if seconds > 0 and tokens:
            parts.append(f"{tokens / seconds:,.0f} tokens/s")
        if self.total and done > self.before:
            parts.append(f"{seconds * (self.total - done) / (done - self.before):,.0f} s left")
        return ", ".join(parts)


def choose_progress() -> Progress:
    """Return a live bar when standard error is a terminal, else plain lines."""
    return Bar() if sys.stderr.isatty() else Lines()


class Lines:
    """One line per stage and, while a piece of work goes on, one every few seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        # Asked for now: what is standard error may change after this module was imported.
        self._stream = stream or sys.stderr
        self._work, self._shown = Work("", 0, 0), 0.0

    def stage(self, name: str, event: str) -> None:
        """Print a stage's event."""
        self.note(f"{name}: {event}")

    def note(self, line: str) -> None:
        """Print a line."""
        print(line, file=self._stream, flush=True)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Begin a piece of work."""
        self._work, self._shown = Work(what, total, done), time.monotonic()

    def advance(self, done: int, tokens: int) -> None:
        """Print how far it is, not more often than every few seconds."""
        now = time.monotonic()
        if now - self._shown >= _PERIOD:
            self._shown = now
            self.note(f"  {self._work.describe(done, tokens)}")


class Bar:
    """A live bar drawn by rich."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("")
        self._work = Work("", 0, 0)

    def stage(self, name: str, event: str) -> None:
        """Print finished stages above the bar; show a begun one in it."""
        if event == "began":
            self._status.update(name)
            self._status.start()
            return
        self._status.stop()
        self._console.print(f"{name}: {event}", markup=False)

    def note(self, line: str) -> None:
        """Show a line of another process in the bar."""
        self._status.update(line.replace("[", r"\["))

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Begin a piece of work."""
        self._work = Work(what, total, done)

    def advance(self, done: int, tokens: int) -> None:
        """Show how far it is."""
        self._status.update(self._work.describe(done, tokens))
