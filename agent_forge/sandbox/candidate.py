"""The process that runs the program.

What it says is only ever read as plain values, so nothing here needs protection from the program.
"""

import os
import sys
import types
from typing import Any

from agent_forge.sandbox.limits import Limits
from agent_forge.sandbox.values import Broken, Message, Remote
from agent_forge.sandbox.wire import Link, exception_name

MODULE = "program"


class Program:
    """The program's module, and what the examiner may do with it."""

    def __init__(self) -> None:
        self.module = types.ModuleType(MODULE)
        self.link: Link

    def serve(self, request: Message) -> Message:
        """Carry out one request."""
        try:
            return self._load(request) if request["op"] == "load" else self._use(request)
        except Broken:
            raise
        except BaseException as error:  # whatever a program raises, it is for the examiner to judge
            return {"raised": exception_name(error)}

    def _load(self, request: Message) -> Message:
        sys.modules[MODULE] = self.module
        if any("random" in source for source in request["sources"]):
            # The same program computes the same, as far as it asks the usual generator.
            __import__("random").seed(0)
        for source in request["sources"]:
            exec(compile(source, "<program>", "exec"), self.module.__dict__)
        names = request["names"]
        missing = [name for name in names if name not in self.module.__dict__]
        if missing:
            return {"missing": missing[0]}
        return {"value": [self.link.keep(self.module.__dict__[name]) for name in names]}

    def _use(self, request: Message) -> Message:
        used = self.link.decode(request["object"])
        if request["op"] == "get":
            return {"value": self.link.encode(getattr(used, request["name"]))}
        if request["op"] == "set":
            setattr(used, request["name"], self.link.decode(request["value"]))
            return {}
        args = [self.link.decode(value) for value in request["args"]]
        named = {name: self.link.decode(value) for name, value in request["named"].items()}
        told: Message = {"value": self.link.encode(used(*args, **named))}
        if request["in_place"]:
            told["args"] = [None if isinstance(value, Remote) else self.link.encode(value) for value in args]
        return told


def main(limits: Limits) -> None:
    """Serve the examiner on the standard streams until it closes them."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    limits.apply()
    program = Program()
    program.link = Link(incoming, outgoing, program.serve)
    sys.setrecursionlimit(1100)
    outgoing.write(b"ready\n")
    outgoing.flush()
    try:
        program.link.serve_forever()
    except Broken:
        os._exit(0)


def start(**limits: Any) -> None:
    """Run `main` with limits given by name; what the sandbox's command line calls."""
    main(Limits(**limits))
