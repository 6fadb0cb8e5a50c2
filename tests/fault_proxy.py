"""A proxy in front of an object store that spoils answers, or swallows them, as networks and stores do.

    with fault_proxy(endpoint) as proxy:
        proxy.spoil("reset", every=3)      every third request, until told otherwise
        proxy.spoil("ExpiredToken")        every request

Names of faults are those of the methods of `_Handler`, or error codes that the store is to answer with.
"""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_STATUS = {"SlowDown": 503, "InternalError": 500, "RequestTimeTooSkewed": 403, "AccessDenied": 403}
_OWN = {"connection", "keep-alive", "transfer-encoding", "expect"}


@dataclass
class Proxy:
    """Where clients find the proxy, and what it does to which requests."""

    upstream: str
    endpoint: str = ""
    fault: str = ""
    every: int = 1
    methods: tuple[str, ...] = ()
    spoiled: int = 0
    _seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spoil(
        self, fault: str, every: int = 1, methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST"), after: int = 0
    ) -> None:
        """Spoil every so many-th request of some methods after the first few; none at all for an empty name."""
        self.fault, self.every, self.methods, self.spoiled, self._seen = fault, every, methods, 0, -after

    def chosen(self, method: str) -> str:
        """Return the fault for the next request, empty for none."""
        with self._lock:
            if not self.fault or method not in self.methods:
                return ""
            self._seen += 1
            if self._seen <= 0 or self._seen % self.every:
                return ""
            self.spoiled += 1
            return self.fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.chosen(self.command)
        if fault == "reset":
            self._hang_up()
        elif fault and not hasattr(self, f"_{fault}"):
            self._refuse(fault)
        else:
            status, headers, answer = self._forward(self._flipped_on_the_way_up(body) if "up" in fault else body)
            getattr(self, f"_{fault or 'send'}")(status, headers, answer)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names that the base class looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        connection.request(self.command, self.path, body, headers)
        found = connection.getresponse()
        answer = found.read()
        connection.close()
        return found.status, [(k, v) for k, v in found.getheaders() if k.lower() not in _OWN], answer

    def _head(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        self._head(status, headers, len(answer))
        self.wfile.write(answer)

    def _answer_lost(self, *_: object) -> None:
        self._hang_up()

    def _truncated(self, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        self._head(status, headers, len(answer))
        self.wfile.write(answer[: len(answer) // 2])
        self._hang_up()

    def _slow(self, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        self._head(status, headers, len(answer))
        for start in range(0, len(answer), len(answer) // 4 + 1):
            self.wfile.write(answer[start : start + len(answer) // 4 + 1])
            self.wfile.flush()
            time.sleep(0.02)

    def _flipped(self, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        self._send(status, headers, answer[:-1] + bytes([answer[-1] ^ 1]) if answer else answer)

    def _up(self, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        self._send(status, headers, answer)

    def _flipped_on_the_way_up(self, body: bytes) -> bytes:
        return body[:-1] + bytes([body[-1] ^ 1]) if body else body

    def _refuse(self, code: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._send(_STATUS.get(code, 400), [("Content-Type", "application/xml")], text.encode())

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Connections that were hung up are what it is for."""


@contextmanager
def fault_proxy(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in front of a store at an URL."""
    proxy = Proxy(upstream)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
