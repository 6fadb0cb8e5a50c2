"""What passes between examiner and candidate: requests and replies, as JSON of a stated length."""

import builtins
import json
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from agent_forge.sandbox.values import Broken, Message, Remote, Values

MOST_BYTES = 16 * 2**20
_LENGTH = struct.Struct(">I")


class Link(Values):
    """One end of the pipes.

    Args:
        incoming: what the other end writes.
        outgoing: what it reads.
        serve: carries out a request of the other end.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, serve: Callable[[Message], Message]) -> None:
        super().__init__()
        self._incoming, self._outgoing, self._serve = incoming, outgoing, serve

    def ask(self, request: Message) -> Message:
        """Send a request and return the reply, carrying out what the other end asks for meanwhile."""
        self._send({"ask": request})
        while True:
            message = self._receive()
            if "told" in message:
                return dict(message["told"])
            self._send({"told": self._serve(message["ask"])})

    def serve_forever(self) -> None:
        """Carry out requests until the other end closes."""
        while True:
            message = self._receive()
            self._send({"told": self._serve(message["ask"])})

    def call(self, remote: Remote, args: tuple[Any, ...], named: dict[str, Any], in_place: bool = False) -> Any:
        """Call an object of the other side's.

        Args:
            remote: what is called.
            args: its arguments; the other side gets copies.
            named: its named arguments.
            in_place: copy what became of the lists, dicts, sets and byte arrays among `args` back into them.
        """
        named_there = {name: self.encode(value) for name, value in named.items()}
        request = {"args": [self.encode(value) for value in args], "named": named_there, "in_place": in_place}
        told = self._ask_about(remote, {"op": "call", **request})
        if in_place:
            for mine, theirs in zip(args, self.decode(told.get("args")), strict=True):
                _overwrite(mine, theirs)
        return self.decode(told.get("value"))

    def attribute(self, remote: Remote, name: str) -> Any:
        """Read an attribute of an object of the other side's."""
        return self.decode(self._ask_about(remote, {"op": "get", "name": name}).get("value"))

    def set_attribute(self, remote: Remote, name: str, value: Any) -> None:
        """Set an attribute of an object of the other side's."""
        self._ask_about(remote, {"op": "set", "name": name, "value": self.encode(value)})

    def remote(self, number: int, type_name: str) -> Remote:
        """Return what stands here for an object that the other side keeps."""
        return Remote(self, number, type_name)

    def raised(self, name: str) -> Exception:
        """Return the exception to raise for one of the other side's, by the name of its built-in type."""
        kind = getattr(builtins, name, None)
        # One that ends iteration would quietly end a loop over several calls.
        ends_loops = name in ("StopIteration", "StopAsyncIteration")
        if ends_loops or not isinstance(kind, type) or not issubclass(kind, Exception):
            return RuntimeError(name)
        try:
            return kind("raised on the other side")
        except TypeError:
            return RuntimeError(name)

    def _ask_about(self, remote: Remote, request: Message) -> Message:
        told = self.ask({"object": self.encode(remote), **request})
        if "raised" in told:
            raise self.raised(named_exception(told))
        return told

    def _send(self, message: Message) -> None:
        try:
            body = json.dumps(message, separators=(",", ":")).encode()
        except (ValueError, RecursionError) as cause:
            raise Broken from cause
        if len(body) > MOST_BYTES:
            raise Broken
        try:
            self._outgoing.write(_LENGTH.pack(len(body)) + body)
            self._outgoing.flush()
        except OSError as cause:
            raise Broken from cause

    def _receive(self) -> Message:
        head = self._incoming.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise Broken
        (length,) = _LENGTH.unpack(head)
        body = self._incoming.read(length) if length <= MOST_BYTES else b""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError, MemoryError) as cause:
            raise Broken from cause
        shaped = isinstance(message, dict) and all(isinstance(part, dict) for part in message.values())
        if len(body) < length or not shaped or len(message) != 1:
            raise Broken
        return dict(message)


def _overwrite(mine: Any, theirs: Any) -> None:
    """Give a mutable value the content of another of its type."""
    if type(mine) is not type(theirs):
        return
    if isinstance(mine, (list, bytearray)):
        mine[:] = theirs
    elif isinstance(mine, (dict, set)):
        mine.clear()
        mine.update(theirs)


def named_exception(told: Message) -> str:
    """Return the name of the exception that a reply tells of; the other side may have put anything there."""
    name = str(told["raised"])[:80]
    return name if isinstance(getattr(builtins, name, None), type) else "Exception"


def exception_name(error: BaseException) -> str:
    """Return the name of the built-in exception that an error is or descends from."""
    found = (kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
    return next(found, "Exception")
