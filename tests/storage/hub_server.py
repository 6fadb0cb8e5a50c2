"""A stand-in for the Hugging Face hub: the few requests that fetching a model takes, over real HTTP."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

# Files of these kinds are kept outside of git there, and named by their sha256.
LARGE = (".safetensors", ".bin")


@dataclass
class Hub:
    """Repositories by name: branches by name, commits by id, files by path.

    Attributes:
        cut: path of a file whose next answer breaks off half way.
        flip: path of a file that is sent with one bit flipped, though its digest is stated right.
        asked: requests as (method, path, range).
    """

    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cut: str | None = None
    flip: str | None = None
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def commit(self, repository: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit and let a branch point to it; return its id."""
        name = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.branches.setdefault(repository, {})[branch] = name
        return name

    def find(self, repository: str, revision: str) -> str | None:
        """Return the commit of a revision."""
        branches = self.branches.get(repository, {})
        return revision if revision in branches.values() or revision in self.commits else branches.get(revision)


def digest(name: str, content: bytes) -> str:
    """Return what the hub names a file by."""
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Serve a hub; give its address."""
    handler = type("Bound", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4], parts[5])
        else:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)

    def _api(self, repository: str, what: str, revision: str) -> None:
        commit = self.hub.find(repository, revision)
        if commit is None:
            self._refuse("RepoNotFound")
            return
        files = self.hub.commits[commit]
        if what == "revision":
            self._json({"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]})
            return
        self._json([_described(name, content) for name, content in files.items()])

    def _file(self, repository: str, revision: str, name: str, body: bool) -> None:
        commit = self.hub.find(repository, revision)
        if commit is None or name not in self.hub.commits[commit]:
            self._refuse("EntryNotFound" if commit else "RepoNotFound")
            return
        content = self.hub.commits[commit][name]
        etag = digest(name, content)
        if self.hub.flip == name:
            content = content[:-1] + bytes([content[-1] ^ 1])
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        sent = content[first:]
        self.send_response(206 if self.headers.get("Range") else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", commit)
        if name.endswith(LARGE):
            self.send_header("X-Linked-Etag", f'"{etag}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", str(len(sent)))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body and self.hub.cut == name:
            self.hub.cut = None
            self.wfile.write(sent[: len(sent) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        if body:
            self.wfile.write(sent)

    def _json(self, value: object) -> None:
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _described(name: str, content: bytes) -> dict[str, object]:
    found: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": digest("x", content)}
    if name.endswith(LARGE):
        found["lfs"] = {"oid": digest(name, content), "size": len(content), "pointerSize": 134}
    return found
