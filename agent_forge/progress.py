"""Progress on standard error: a live bar on a terminal, lines of JSON elsewhere, plain lines where asked for.

FORGE_LOG is `auto`, `text` or `json`. What looks like a credential, or is one of the environment's, is masked in all.
"""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TextIO

from pydantic import ValidationError

from agent_forge.errors import ConfigError
from agent_forge.records import Cost, Record
from agent_forge.report.redact import masked_text, secrets_of
from agent_forge.stages.context import Progress

FORMAT = "FORGE_LOG"
# Lines come this far apart, in seconds, so that a log stays readable.
_PERIOD = 5.0
_WARNING = "warning: "


class LogLine(Record):
    """One line of a log.

    Attributes:
        time: UTC, ISO 8601.
        run: first characters of the bake id; None where it is not known, as in most containers.
        stage: node of the DAG.
        cell: which task of a fan-out.
        seconds, tokens, questions, peak_memory_bytes, peak_device_memory_bytes: what the stage spent, at its end.
    """

    time: str
    level: Literal["info", "warning"]
    run: str | None = None
    stage: str | None = None
    cell: str | None = None
    message: str
    seconds: float | None = None
    tokens: int | None = None
    questions: int | None = None
    peak_memory_bytes: int | None = None
    peak_device_memory_bytes: int | None = None


@dataclass(frozen=True)
class Work:
    """A piece of work: what it is, how many rows or steps it has, how many were done before it began."""

    what: str
    total: int
    before: int
    began: float = field(default_factory=time.monotonic)

    def describe(self, done: int, tokens: int) -> str:
        """Return e.g. `baseline-thought-0: 64/200, 1,250 tokens/s, 12 s left`, as far as it is known."""
        seconds = time.monotonic() - self.began
        parts = [f"{self.what}: {done}/{self.total}" if self.total else f"{self.what}: step {done}"]
        if seconds > 0 and tokens:
            parts.append(f"{tokens / seconds:,.0f} tokens/s")
        if self.total and done > self.before:
            parts.append(f"{seconds * (self.total - done) / (done - self.before):,.0f} s left")
        return ", ".join(parts)


def choose_progress(environment: Mapping[str, str] | None = None, bar: bool = True) -> Progress:
    """Return what progress is shown by.

    Args:
        environment: FORGE_LOG in it wins over what standard error is.
        bar: whether a terminal gets a live bar, or lines.

    Raises:
        ConfigError: when FORGE_LOG is none of its values.
    """
    given = os.environ if environment is None else environment
    chosen = given.get(FORMAT) or "auto"
    if chosen not in ("auto", "text", "json"):
        raise ConfigError(f"{FORMAT} is {chosen!r}; expected auto, text or json")
    terminal = sys.stderr.isatty()
    secrets = secrets_of(given)
    if chosen == "json" or (chosen == "auto" and not terminal):
        return JsonLines(secrets=secrets)
    return Bar(secrets) if terminal and bar else Lines(secrets=secrets)


def read_line(text: str) -> LogLine | None:
    """Return a line of JSON as another process wrote it; None for any other line."""
    try:
        return LogLine.model_validate_json(text) if text.startswith("{") else None
    except ValidationError:
        return None


def _message(text: str) -> str:
    """Return what a line of another process says, whatever its format."""
    line = read_line(text)
    if line is None:
        return text
    return _WARNING * (line.level == "warning") + line.message


class Lines:
    """One line per stage and, while a piece of work goes on, one every few seconds."""

    def __init__(self, stream: TextIO | None = None, secrets: tuple[str, ...] = ()) -> None:
        # Asked for now: what is standard error may change after this module was imported.
        self._stream, self._secrets = stream or sys.stderr, secrets
        self._work, self._shown = Work("", 0, 0), 0.0

    def run(self, bake_id: str) -> None:
        """Plain lines do not say which run they are of."""

    def stage(self, name: str, event: str, cost: Cost | None = None) -> None:  # noqa: ARG002 - the event tells
        """Print a stage's event."""
        self.note(f"{name}: {event}")

    def note(self, line: str) -> None:
        """Print a line."""
        print(masked_text(_message(line), self._secrets), file=self._stream, flush=True)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Begin a piece of work."""
        self._work, self._shown = Work(what, total, done), time.monotonic()

    def advance(self, done: int, tokens: int) -> None:
        """Print how far it is, not more often than every few seconds."""
        now = time.monotonic()
        if now - self._shown >= _PERIOD:
            self._shown = now
            self.note(f"  {self._work.describe(done, tokens)}")


class JsonLines(Lines):
    """The same as lines of JSON, with run, stage and cell; see `LogLine`."""

    _run: str | None = None
    _place = ""

    def run(self, bake_id: str) -> None:
        """Say which run the lines are of."""
        self._run = bake_id[:12]

    def stage(self, name: str, event: str, cost: Cost | None = None) -> None:
        """Print a stage's event; when it has ended, with what it spent."""
        self._place = masked_text(name, self._secrets)
        self._print(event, "info", cost.model_dump() if cost else {})
        if event != "began":
            self._place = ""

    def note(self, line: str) -> None:
        """Print a line; a line of JSON of another process becomes one of this run."""
        text = _message(line).strip()
        level: Literal["info", "warning"] = "warning" if text.startswith(_WARNING) else "info"
        other = read_line(line)
        spent = other.model_dump(include=set(Cost.model_fields)) if other else {}
        self._print(text.removeprefix(_WARNING), level, spent)

    def _print(self, message: str, level: Literal["info", "warning"], spent: Mapping[str, float | None]) -> None:
        stage, _, cell = self._place.partition("/")
        line = LogLine(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            level=level,
            run=self._run,
            stage=stage or None,
            cell=cell or None,
            message=masked_text(message, self._secrets),
            **spent,
        )
        print(line.model_dump_json(exclude_none=True), file=self._stream, flush=True)


class Bar:
    """A live bar drawn by rich."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        from rich.console import Console

        self._console, self._secrets = Console(stderr=True, highlight=False), secrets
        self._status = self._console.status("")
        self._work = Work("", 0, 0)

    def run(self, bake_id: str) -> None:
        """A bar does not say which run it is of."""

    def stage(self, name: str, event: str, cost: Cost | None = None) -> None:  # noqa: ARG002 - the event tells
        """Print finished stages above the bar; show a begun one in it."""
        if event == "began":
            self._status.update(name)
            self._status.start()
            return
        self._status.stop()
        self._print(f"{name}: {event}")

    def note(self, line: str) -> None:
        """Show a line of another process in the bar; a warning stays above it."""
        text = masked_text(_message(line), self._secrets)
        if text.startswith(_WARNING):
            self._print(text)
        else:
            self._status.update(text.replace("[", r"\["))

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Begin a piece of work."""
        self._work = Work(what, total, done)

    def advance(self, done: int, tokens: int) -> None:
        """Show how far it is."""
        self._status.update(self._work.describe(done, tokens))

    def _print(self, text: str) -> None:
        self._console.print(masked_text(text, self._secrets), markup=False)
