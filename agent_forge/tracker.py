"""Tracking beside a run: a process of its own reads what finished stages have written and sends it.

The run directory is the queue. This process only says that there is something new, without waiting for anyone to hear
it, so a service that is slow or gone can neither fail nor slow a run. The end of a run waits a bounded time; what has
not been sent by then stays in the run directory, and `--resume` sends it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ForgeError
from agent_forge.records import Record, read_record
from agent_forge.run_directory import PARAMETERS
from agent_forge.stages.executor import Task
from agent_forge.storage.files import write_atomic

TRACKING = "tracking.json"
WORKER = "agent_forge.tracking_worker"
LAST_STAGES = frozenset({"push-artifact", "keep-champion"})
# After Ctrl-C nobody wants to wait.
INTERRUPTED_PATIENCE = 2.0


class SentRun(Record):
    """What one run at a service holds: keys of stages by place."""

    run_id: str
    sent: dict[str, str] = Field(default_factory=dict)


class TrackingState(Record):
    """What has been sent from a run directory, by service and bake id, and what went wrong the last time."""

    schema_version: Literal[1] = 1
    runs: dict[str, SentRun] = Field(default_factory=dict)
    warning: str = ""


class TaskFiles(Record):
    """What a container knows of a whole run, and what it has just done."""

    config: dict[str, object]
    artifacts: dict[str, tuple[Path, ...]]
    model_uri: str


class TrackingJob(Record):
    """What the process is to send: a directory that a run or an evolution is writing, or the files of one container."""

    kind: Literal["wandb", "mlflow"]
    project: str
    patience: float
    upload_model: bool
    directory: Path
    task: TaskFiles | None = None
    evolution: bool = False


class Tracker:
    """The process beside a run, or none.

    Args:
        config: says which service, if any.
        directory: the run directory.
        warn: is told, once, what went wrong.
        task: the files of a container, for one that has no run directory.
        evolution: whether the directory is that of an evolution.
    """

    def __init__(
        self,
        config: QuietSTaRConfig,
        directory: Path,
        warn: Callable[[str], None],
        task: TaskFiles | None = None,
        evolution: bool = False,
    ) -> None:
        self._directory, self._warn, self._patience = directory, warn, config.tracking_timeout
        self._process: subprocess.Popen[bytes] | None = None
        if config.tracking == "none":
            return
        job = TrackingJob(
            kind=config.tracking,
            project=config.tracking_project,
            patience=config.tracking_timeout,
            upload_model=config.tracking_upload_model,
            directory=directory.resolve(),
            task=task,
            evolution=evolution,
        )
        try:
            self._process = _start([sys.executable, "-m", WORKER, job.model_dump_json()])
        except OSError as cause:
            self._give_up(f"its process did not start: {cause}")

    def look(self) -> None:
        """Say that a stage has ended; never waits."""
        if self._process is not None and self._process.stdin is not None:
            # Full: it has been told before and has not looked yet. Broken: it is gone, and `close` says why.
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), b"\n")

    def close(self, patience: float | None = None) -> None:
        """Wait a bounded time until everything is sent, then end the process whatever it does."""
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        patience = self._patience if patience is None else patience
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            code = process.wait(patience)
            said = process.stdout.read().decode(errors="replace").strip()
            warning = said or (f"its process ended with code {code}" if code else "")
        except subprocess.TimeoutExpired:
            warning = f"not everything was sent within {patience:g} s; the rest is left out"
        finally:
            # Only while it has not been waited for is its number its own.
            if process.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
        if warning:
            self._give_up(warning)

    def _give_up(self, warning: str) -> None:
        """Say once what went wrong, now and in the report, and go on."""
        self._warn(f"tracking: {warning}")
        with contextlib.suppress(ForgeError, OSError):
            write_state(self._directory, read_state(self._directory).model_copy(update={"warning": warning}))


def track_task(task: Task, model_uri: str, warn: Callable[[str], None]) -> None:
    """Track a whole run from the container of its last stage, waiting a bounded time.

    That stage is never served from a cache and is given what all others made, so what is tracked is whole whichever of
    them were cached, and no two containers write to one run at a service.
    """
    if task.config.tracking == "none" or task.place not in LAST_STAGES:
        return
    files = TaskFiles(config=task.config.model_dump(mode="json"), artifacts=task.artifacts, model_uri=model_uri)
    try:
        place = Path(tempfile.mkdtemp(prefix="forge-tracking-"))
    except OSError as cause:
        warn(f"tracking: there is no place to write to: {cause}")
        return
    Tracker(task.config, place, warn, files).close()


def read_state(directory: Path) -> TrackingState:
    """Return what has been sent from a run directory so far; nothing, when that cannot be read any more."""
    path = directory / TRACKING
    try:
        return read_record(TrackingState, path) if path.is_file() else TrackingState()
    except ForgeError:
        return TrackingState()


def read_parameters(place: Path) -> dict[str, str]:
    """Return the small outputs of a finished stage."""
    values: dict[str, str] = json.loads((place / PARAMETERS).read_text(encoding="utf-8"))
    return values


def write_state(directory: Path, state: TrackingState) -> None:
    """Write down what has been sent."""
    write_atomic(directory / TRACKING, state.model_dump_json(indent=2) + "\n")


def _start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start the process in a session of its own: Ctrl-C is for the run, which then says what to do."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    if process.stdin is not None:
        os.set_blocking(process.stdin.fileno(), False)
    return process
