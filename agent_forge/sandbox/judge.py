"""Judging one completion: a candidate and an examiner, each in its sandbox, and the verdict of the examiner."""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import IO

from agent_forge.errors import SandboxError
from agent_forge.sandbox.launch import sandboxed, signal_of
from agent_forge.sandbox.limits import Limits
from agent_forge.sandbox.program import LONGEST

START_SECONDS = 60.0
# A sandbox that does not come up says nothing about the program that was to run in it.
ATTEMPTS = 2
# A program of `program.LONGEST` characters takes up to twelve bytes for each of them.
LONGEST_VERDICT = 2**21
ENDING_SECONDS = 2.0


@dataclass(frozen=True)
class Verdict:
    """What became of a completion.

    Attributes:
        outcome: `passed`, or what kept it from passing.
        detail: which test, which exception; may be empty.
        program: the program that was found in the completion, None without one.
    """

    outcome: str
    detail: str = ""
    program: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the tests ran to their end and nothing failed."""
        return self.outcome == "passed"


def judge(completion: str, prompt: str, names: Sequence[str], tests: str, limits: Limits | None = None) -> Verdict:
    """Run the tests against the program that a completion holds.

    Args:
        completion: what the model wrote after the prompt.
        prompt: the question.
        names: what the program must define; the first is what was asked for.
        tests: Python source that calls them and raises an exception unless all is well.
        limits: of each of the two processes.

    Raises:
        InputError: when there is no bubblewrap here.
        SandboxError: when the sandboxes do not come up.
    """
    # What is longer is no program; the examiner need not find room for it.
    job = {"completion": completion[: LONGEST + 1], "prompt": prompt, "names": list(names), "tests": tests}
    for _ in range(ATTEMPTS):
        verdict = _attempt(json.dumps(job).encode(), limits or Limits())
        if verdict is not None:
            return verdict
    raise SandboxError(f"the sandbox did not come up within {START_SECONDS:.0f} s; is the machine out of memory?")


def _attempt(job: bytes, limits: Limits) -> Verdict | None:
    """Return the verdict; None when a sandbox did not come up."""
    with ExitStack() as stack:
        paper = stack.enter_context(tempfile.TemporaryFile())
        paper.write(job)
        paper.seek(0)
        (asked, asking), (told, telling), (heard, saying) = (_pipe(stack) for _ in range(3))
        candidate = stack.enter_context(sandboxed("candidate", (), limits, asked, telling))
        kept = (told.fileno(), asking.fileno())
        examiner = stack.enter_context(sandboxed("examiner", kept, limits, paper, saying, kept))
        # Each of the two must see the end of the other.
        for end in (asked, asking, told, telling, saying):
            end.close()
        ready, rest = _line(heard, b"", time.monotonic() + START_SECONDS)
        if ready != b"ready":
            return None
        said, _ = _line(heard, rest, time.monotonic() + limits.wall_seconds)
        return _verdict(said, candidate, examiner)


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return stack.enter_context(os.fdopen(reading, "rb", 0)), stack.enter_context(os.fdopen(writing, "wb", 0))


def _line(stream: IO[bytes], begun: bytes, deadline: float) -> tuple[bytes | None, bytes]:
    """Return the next line and what came after it; b"" when the stream ended before, None when time did."""
    read = begun
    while b"\n" not in read and len(read) < LONGEST_VERDICT:
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None, read
        more = os.read(stream.fileno(), 65536)
        if not more:
            return b"", read
        read += more
    line, _, rest = read.partition(b"\n")
    return line, rest


def _verdict(said: bytes | None, candidate: subprocess.Popen[bytes], examiner: subprocess.Popen[bytes]) -> Verdict:
    if said is None:
        return Verdict("timed out")
    if not said:
        expired = _ending(examiner) == signal.SIGXCPU
        return Verdict("timed out" if expired else "unfinished", "the tests did not come to their end")
    found: Mapping[str, str] = json.loads(said)
    outcome, program = found["outcome"], found.get("program")
    if outcome != "ended":
        return Verdict(outcome, found.get("detail", ""), program)
    ended = _ending(candidate)
    if ended == signal.SIGXCPU:
        return Verdict("timed out", program=program)
    said_how = {None: "its process answered with no plain value", 0: "its process ended itself"}
    return Verdict("ended", said_how.get(ended, f"its process was ended by signal {ended}"), program)


def _ending(process: subprocess.Popen[bytes]) -> int | None:
    """Return the signal that ended a process, 0 for an end of its own, None when it runs on."""
    with suppress(subprocess.TimeoutExpired):
        return signal_of(process.wait(ENDING_SECONDS))
    return None
