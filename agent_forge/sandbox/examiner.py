"""The process that runs the tests: finds the program, has the candidate load it, and calls it as the tests ask.

A program passes when its tests run to their end without an exception, called it at least once, and the candidate kept
to the protocol throughout. The verdict goes to whoever started the examiner, over a pipe that the candidate does not
have.
"""

import ast
import json
import os
import traceback
from typing import Any, BinaryIO

from agent_forge.sandbox.limits import Limits
from agent_forge.sandbox.program import LONGEST, find_program, setting_of
from agent_forge.sandbox.values import Broken, Message, Remote
from agent_forge.sandbox.wire import Link, exception_name, named_exception

TESTS = "<tests>"
IN_PLACE = "__call_in_place__"


class Examination(Link):
    """The examiner's end of the pipes."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        super().__init__(incoming, outgoing, self.serve_call)
        self.broken = False
        self.calls = 0
        self.errors: list[tuple[Exception, str]] = []

    def ask(self, request: Message) -> Message:
        """Ask the candidate; whatever goes wrong on the way is remembered, should a test catch it."""
        try:
            told = super().ask(request)
        except BaseException:
            self.broken = True
            raise
        self.calls += request.get("op") == "call"
        return told

    def decode(self, told: Any, depth: int = 0) -> Any:
        """Decode what the candidate told, see `wire`."""
        try:
            return super().decode(told, depth)
        except BaseException:
            self.broken = True
            raise

    def raised(self, name: str) -> Exception:
        """Return an exception of the program's, and remember that it is one."""
        error = super().raised(name)
        self.errors.append((error, name))
        return error

    def keep(self, value: object) -> Any:
        """Keep a function for the program to call; nothing else of the tests' is given away."""
        if not callable(value):
            raise TypeError(f"the tests pass a {type(value).__name__}, which is no plain value")
        return super().keep(value)

    def serve_call(self, request: Message) -> Message:
        """Let the program call a function that it was passed."""
        if request.get("op") != "call" or not isinstance(request.get("args"), list):
            raise Broken
        function: Any = self.decode(request.get("object"))
        if isinstance(function, Remote):
            raise Broken
        try:
            args = [self.decode(value) for value in request["args"]]
            named = {str(name): self.decode(value) for name, value in dict(request.get("named") or {}).items()}
            return {"value": self.encode(function(*args, **named))}
        except Exception as error:  # whatever the function raises is the program's to handle
            return {"raised": exception_name(error)}


class CallsInPlace(ast.NodeTransformer):
    """Rewrites calls whose value is thrown away: they are made for what they do to their arguments.

    Only then are changes to arguments copied back. Otherwise a program could empty the input that the expected value is
    computed from.
    """

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Rewrite `f(x)` that stands for itself."""
        call = node.value
        if isinstance(call, ast.Call) and not isinstance(call.func, ast.Call):
            call.args.insert(0, call.func)
            call.func = ast.copy_location(ast.Name(IN_PLACE, ast.Load()), call)
        return node


def examine(job: Message, link: Examination) -> Message:
    """Return the verdict on a completion: `outcome`, `detail` and the `program` that was found.

    Args:
        job: `completion`, `prompt`, `names` that the program must define, `tests`.
        link: to a candidate that is ready.
    """
    found = find_program(job["completion"], job["prompt"], job["names"][0])
    if found is None:
        return {"outcome": "no program"}
    try:
        told = link.ask({"op": "load", "sources": [found.setting, found.text], "names": job["names"]})
        verdict = _not_loaded(told, job["names"]) or _run_tests(job, link, link.decode(told.get("value")))
    except Broken:
        verdict = {"outcome": "ended"}
    return {**verdict, "program": found.text[:LONGEST]}


def _known(name: object, names: list[str]) -> str:
    return name if isinstance(name, str) and name in names else names[0]


def _not_loaded(told: Message, names: list[str]) -> Message | None:
    if "missing" in told:
        return {"outcome": "incomplete", "detail": f"does not define {_known(told['missing'], names)}"}
    if "raised" in told:
        return {"outcome": "raised", "detail": f"{named_exception(told)} while it was loaded"}
    return None


def _run_tests(job: Message, link: Examination, served: list[Any]) -> Message:
    whole = isinstance(served, list) and len(served) == len(job["names"])
    if not whole or not all(isinstance(one, Remote) for one in served):
        raise Broken
    space: dict[str, Any] = {"__name__": "tests", IN_PLACE: _call_in_place}
    exec(compile(setting_of(job["prompt"], job["names"][0]), "<prompt>", "exec"), space)
    space |= dict(zip(job["names"], served, strict=True))
    tree = ast.fix_missing_locations(CallsInPlace().visit(ast.parse(job["tests"])))
    try:
        exec(compile(tree, TESTS, "exec"), space)
    except Exception as error:
        return _failure(error, job["tests"], link)
    if link.broken:
        return {"outcome": "ended"}
    return {"outcome": "passed"} if link.calls else {"outcome": "untested"}


def _failure(error: Exception, tests: str, link: Examination) -> Message:
    """Say which test failed and how."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == TESTS]
    lines = tests.split("\n")
    place = frames[-1].lineno if frames and frames[-1].lineno else 0
    said = f": {lines[place - 1].strip()[:200]}" if 0 < place <= len(lines) else ""
    if link.broken:
        return {"outcome": "ended"}
    if (own := next((name for known, name in link.errors if known is error), None)) is not None:
        return {"outcome": "raised", "detail": own + said}
    if isinstance(error, AssertionError):
        return {"outcome": "wrong answer", "detail": said.removeprefix(": ")}
    return {"outcome": "wrong answer", "detail": f"{exception_name(error)} in a test{said}"}


def _call_in_place(function: Any, /, *args: Any, **named: Any) -> Any:
    if isinstance(function, Remote):
        return function._link.call(function, args, named, in_place=True)
    return function(*args, **named)


def main(incoming: int, outgoing: int, limits: Limits) -> None:
    """Read the job from standard input, write `ready` and then the verdict to standard output, a line each."""
    with os.fdopen(os.dup(0), "rb") as stream:
        job = json.loads(stream.read())
    verdicts = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream_number in (0, 1, 2):
        os.dup2(nothing, stream_number)
    limits.apply()
    link = Examination(os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb"))
    if link._incoming.readline(64) != b"ready\n":
        os._exit(3)
    print("ready", file=verdicts, flush=True)
    print(json.dumps(examine(job, link)), file=verdicts, flush=True)
    os._exit(0)


def start(incoming: int, outgoing: int, **limits: Any) -> None:
    """Run `main` with limits given by name; what the sandbox's command line calls."""
    main(incoming, outgoing, Limits(**limits))
