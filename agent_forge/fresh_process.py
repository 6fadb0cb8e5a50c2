"""Stages in a process of their own, by the contract of their containers, so that nothing of this one leaks into them.

Importing PyTorch and transformers takes seconds of processor time, as long as a small model takes to be verified. So
the command line may fork a process when everything is imported and nothing is read yet: it waits, runs at most one
stage, and ends when its parent does. To that stage it is as fresh as a new one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from agent_forge.errors import CheckFailed, ForgeError, InputError, Interrupted
from agent_forge.records import read_record
from agent_forge.stages.context import StageContext, StageOutcome

_KINDS: dict[int, type[ForgeError]] = {kind.exit_code: kind for kind in (CheckFailed, InputError, Interrupted)}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Waiting:
    """A process that waits for the arguments of one command; it ends when `orders` is closed, whoever closes it.

    Attributes:
        pid: its id.
        orders: its standard input.
        said: its standard error.
    """

    pid: int
    orders: TextIO
    said: TextIO
    _code: int | None = None

    def begin(self, arguments: Sequence[str]) -> bool:
        """Let it run a command; return False when it cannot: it ran one already, or is gone."""
        if self._code is not None:
            return False
        try:
            print(json.dumps(arguments), file=self.orders, flush=True)
        except BrokenPipeError:
            return False
        return True

    def terminate(self) -> None:
        """Ask it to end."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it ends; return its exit code, negative for the signal that killed it."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def dismiss(self) -> None:
        """End it, and let nothing of it behind."""
        # What could not be written to a process that is gone is written once more when the file is closed.
        with contextlib.suppress(BrokenPipeError):
            self.orders.close()
        self.wait()
        self.said.close()


@contextlib.contextmanager
def standing_by(run: Callable[[Sequence[str]], int]) -> Iterator[Waiting | None]:
    """Keep a forked process ready while the context is open; None where forking is not safe.

    Args:
        run: runs a command in that process, and returns its exit code.
    """
    waiting = _fork(run) if _forks_safely() else None
    try:
        yield waiting
    finally:
        if waiting is not None:
            waiting.dismiss()


def _forks_safely() -> bool:
    """Whether a copy of this process works: of its threads only one is copied, and a GPU's driver is not at all."""
    torch = sys.modules.get("torch")
    drivers = torch is not None and (torch.version.cuda or torch.version.hip)
    return sys.platform == "linux" and threading.active_count() == 1 and not drivers


def _fork(run: Callable[[Sequence[str]], int]) -> Waiting:
    sys.stdout.flush()
    sys.stderr.flush()
    (orders, give), (hear, said) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        # Whatever happens, this process never returns into what the other one is doing.
        try:
            os.close(give)
            os.close(hear)
            code = _stand_by(orders, said, run)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    os.close(orders)
    os.close(said)
    return Waiting(pid, os.fdopen(give, "w", encoding="utf-8"), os.fdopen(hear, encoding="utf-8", errors="replace"))


def _stand_by(orders: int, said: int, run: Callable[[Sequence[str]], int]) -> int:
    handlers = [signal.signal(number, signal.SIG_DFL) for number in _SIGNALS]
    os.dup2(orders, 0)
    os.dup2(said, 2)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.close(orders)
    os.close(said)
    order = sys.stdin.readline()
    if not order:
        return 0
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)
    return run(json.loads(order))


def run_in_fresh_process(
    name: str, context: StageContext, working: Path, waiting: Waiting | None = None
) -> StageOutcome:
    """Run a stage as its container does, so that nothing of this process can leak into it.

    The child's progress lines are passed on. It ends when this process ends, however that happens.

    Args:
        name: node of the DAG.
        context: of the stage.
        working: directory for what the two processes tell each other.
        waiting: process to run it in; a new one is started where there is none, or it has ended.

    Raises:
        ForgeError: of the kind that the child's exit code stands for, with its own message.
    """
    outcome_file = working / "outcome.json"
    arguments = ["stage", name, "--executor-input", json.dumps(_executor_input(context, working))]
    arguments += ["--outcome-file", str(outcome_file), "--end-with-stdin"]
    if waiting is not None and waiting.begin(arguments):
        code, last = _heard(waiting, waiting.said, context)
    else:
        command = [sys.executable, "-m", "agent_forge.cli", *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            code, last = _heard(child, child.stderr or (), context)
    if code != 0:
        raise _failure(name, code, last)
    return read_record(StageOutcome, outcome_file)


def _heard(child: "Waiting | subprocess.Popen[str]", said: Iterable[str], context: StageContext) -> tuple[int, str]:
    """Pass on what a child says until it ends; return its exit code and its last line."""
    last = ""
    try:
        for line in said:
            last = line.strip() or last
            if not last.startswith("forge: "):
                context.progress.note(last)
    except BaseException:
        child.terminate()
        raise
    return child.wait(), last


def _failure(name: str, code: int, last: str) -> ForgeError:
    if code < 0:
        return CheckFailed(
            f"stage {name} was killed by {signal.Signals(-code).name}; if memory ran out, lower batch_size; "
            "add --resume to continue"
        )
    kind = _KINDS.get(code, CheckFailed)
    return kind(f"stage {name}: {last.removeprefix('forge: ') or f'exit code {code}'}")


def _executor_input(context: StageContext, working: Path) -> dict[str, object]:
    def listed(name: str, paths: Sequence[Path]) -> dict[str, object]:
        return {"artifacts": [{"name": name, "uri": str(path.resolve())} for path in paths]}

    values = {"config": context.config.model_dump_json(), "scratch": str(context.scratch), **context.parameters}
    return {
        "inputs": {
            "parameterValues": values,
            "artifacts": {name: listed(name, paths) for name, paths in context.inputs.items()},
        },
        "outputs": {
            "artifacts": {name: listed(name, [path]) for name, path in context.outputs.items()},
            "outputFile": str(working / "executor-output.json"),
        },
    }
