"""Runs `forge` in a process of its own that need not import everything first.

A server process imports the package once and forks for every command, so a command costs tens of milliseconds before
it begins instead of seconds. What a command sees is otherwise what a new process sees: its own arguments, environment,
directory and standard streams. Tests of starting itself, of signals and of variables that libraries read while they
are imported use `small_bake.command` instead.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

IMPORTED = (
    "agent_forge.cli",
    "agent_forge.config",
    "agent_forge.local_run",
    "agent_forge.models.finetune",
    "agent_forge.quietstar_baker",
    "agent_forge.stages.executor",
    "transformers.models.gpt_neox",
    "transformers.models.llama.modeling_llama",
    "transformers.trainer_pt_utils",
)


class WarmRun:
    """A command that runs; as much of `subprocess.Popen` as tests need of it."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str] | None = None) -> None:
        self._kept = tempfile.TemporaryDirectory()
        self._streams = [str(Path(self._kept.name, name)) for name in ("out", "err")]
        given = dict(os.environ if environment is None else environment)
        self._process = _server().Process(target=_forge, args=(arguments, given, str(Path.cwd()), *self._streams))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it at once."""
        self._process.kill()

    def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end and return what it wrote."""
        self._process.join()
        with self._kept:
            out, err = (Path(stream).read_bytes() if Path(stream).exists() else b"" for stream in self._streams)
        return out, err


def run_warm(arguments: tuple[str, ...], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run the command line with these arguments and return how it ended and what it wrote."""
    run = WarmRun(arguments, environment)
    out, err = (text.decode(errors="replace") for text in run.communicate())
    return subprocess.CompletedProcess(arguments, run.poll(), out, err)


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED, __name__])
    return context


def _forge(arguments: tuple[str, ...], environment: dict[str, str], place: str, out: str, err: str) -> None:
    for stream, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["forge", *arguments]
    from agent_forge.cli import main

    main()
