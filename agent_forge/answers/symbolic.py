"""Symbolic equality by math-verify, in a process that can be killed.

Computer algebra on a model's output can take any time and memory, so it runs in one worker process (`worker`), started
on first use and again after one that ran out of time. Whatever goes wrong with a question means: not equal. Time is the
worker's own, not the clock's: a grade must not depend on what else the machine does.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

from agent_forge.errors import InputError

# Processor seconds for one question.
TIME_LIMIT = 5.0
# By the clock a question may take this many times as long, on a machine that is that busy.
PATIENCE = 20.0
START_LIMIT = 120.0
# A worker that dies in time may have been killed by something else than its question.
ATTEMPTS = 2
LONGEST = 1000


class SymbolicChecker:
    """One worker process and the pipe to it; may be used from several threads, one question at a time."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def __call__(self, found: str, expected: str) -> bool:
        """Whether two LaTeX expressions are equal; False when that takes too long or cannot be told.

        Raises:
            InputError: when the worker cannot be started at all.
        """
        if max(len(found), len(expected)) > LONGEST:
            return False
        request = json.dumps({"found": found, "expected": expected}) + "\n"
        with self._lock:
            for _ in range(ATTEMPTS):
                process, deadline = self._running(), time.monotonic() + PATIENCE * self._time_limit
                reply = self._ask(process, request, deadline)
                out_of_time = process.returncode == -signal.SIGPROF or time.monotonic() >= deadline
                if reply is not None or out_of_time:
                    return reply == b"equal"
        return False

    @property
    def process_id(self) -> int | None:
        """Id of the worker process, None when there is none."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the worker; the next question starts another."""
        process, self._process = self._process, None
        # A forked child must not end the worker of its parent.
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.communicate()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agent_forge.answers.worker", str(self._time_limit), str(PATIENCE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._owner = os.getpid()
            if self._line(self._process, time.monotonic() + START_LIMIT) is None:
                self.close()
                raise InputError("the checker of mathematical answers did not start; reinstall agent-forge[math]")
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], request: str, deadline: float) -> bytes | None:
        """Return the worker's answer; without one the worker is ended, so that none can arrive later."""
        assert process.stdin is not None
        reply = None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(request.encode())
                process.stdin.flush()
                reply = self._line(process, deadline)
        finally:
            if reply is None:
                self.close()
        return reply

    @staticmethod
    def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        """Return the worker's next line, None when it ended or did not answer in time."""
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            read = os.read(process.stdout.fileno(), 4096) if ready else b""
            if not read:
                return None
            line += read
        return line.strip()


symbolically_equal = SymbolicChecker()
atexit.register(symbolically_equal.close)
