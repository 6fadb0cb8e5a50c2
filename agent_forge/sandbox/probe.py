"""Does the sandbox hold on this machine? Found out by running a program that tries to get out of it."""

import functools
import os
import subprocess
import sys
import tempfile

from agent_forge.errors import InputError, SandboxError
from agent_forge.sandbox.judge import judge
from agent_forge.sandbox.launch import filtered, find_bwrap, sandbox_command
from agent_forge.sandbox.limits import Limits

_LIMITS = Limits(memory_bytes=2**29)
_START_SECONDS = 60
_PROGRAM = """
import os, socket, threading

KNOWN = ("PWD", "LC_", "PYTHON", "OPENBLAS_", "OMP_")

def escapes(path, memory):
    def succeeds(attempt):
        try:
            attempt()
        except (OSError, RuntimeError, MemoryError):
            return False
        return True
    attempts = {
        "starts a process": os.fork,
        "starts a thread": lambda: threading.Thread(target=print).start(),
        "opens a socket": socket.socket,
        "sees a file of the host": lambda: os.stat(path),
        "sees the table of processes": lambda: os.listdir("/proc"),
        "writes outside of its directory": lambda: open("/escaped", "w"),
        "writes too large a file": lambda: open("large", "wb").write(bytes(2**25)),
        "takes too much memory": lambda: bytearray(memory),
        "becomes another user": lambda: os.setuid(0),
    }
    done = [name for name, attempt in attempts.items() if succeeds(attempt)]
    done += ["sees the environment"] * (not all(name.startswith(KNOWN) for name in os.environ))
    done += ["is a user of the host"] * (os.getuid() != 65534)
    done += ["is a process of the host"] * (os.getpid() > 9)
    return done
"""

_ESCAPES = (
    *("starts a process", "starts a thread", "opens a socket", "sees a file of the host"),
    *("sees the table of processes", "writes outside of its directory", "writes too large a file"),
    *("takes too much memory", "becomes another user", "sees the environment", "is a user of the host"),
    "is a process of the host",
)


@functools.cache
def require_sandbox() -> None:
    """Check that programs can be run here and do not get out of their sandbox; once per process.

    Raises:
        InputError: saying why not.
    """
    if problem := _start_problem() or _escape():
        raise InputError(
            f"answers of kind code cannot be graded here: the sandbox {problem}; it needs bubblewrap 0.8 or newer, "
            "and a machine or a container that allows user namespaces"
        )


def _start_problem() -> str | None:
    """Start a sandbox that does nothing; return bubblewrap's own words when it cannot."""
    find_bwrap()
    with filtered() as descriptor:
        command = [*sandbox_command(_LIMITS, descriptor), os.path.realpath(sys.executable), "-S", "-c", ""]
        try:
            done = subprocess.run(
                command, pass_fds=[descriptor], stdin=subprocess.DEVNULL, capture_output=True, timeout=_START_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"does not start ({error})"
    said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
    return f"does not start ({said})" if done.returncode else None


def _escape() -> str | None:
    """Return what a program in the sandbox could do and should not have been able to."""
    with tempfile.NamedTemporaryFile() as file:
        # One line for each, since the line that failed is what a verdict tells.
        tests = f"done = escapes({file.name!r}, {2 * _LIMITS.memory_bytes})\n"
        tests += "".join(f"assert {name!r} not in done\n" for name in _ESCAPES) + "assert done == []\n"
        try:
            verdict = judge(_PROGRAM, "", ["escapes"], tests, _LIMITS)
        except SandboxError as error:
            return str(error)
    return None if verdict.passed else f"does not hold ({verdict.outcome} {verdict.detail})"
