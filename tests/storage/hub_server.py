"""A stand-in for the Hugging Face hub: the requests that fetching and publishing a model take, over real HTTP.

What huggingface_hub sends is answered as the hub's documentation and that library describe it: `preupload` says which
files are large, those go to addresses that `info/lfs/objects/batch` signs, a commit of JSON lines names its parent and
is refused with 412 when the branch has moved on. Large files are believed to be what they are called by, unless
`verify` is asked, as by the real one; xet is not spoken.
"""

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

# Files of these kinds are kept outside of git there, and named by their sha256.
LARGE = (".safetensors", ".bin")
SIGNATURE = "X-Amz-Signature=signed-for-an-hour"


@dataclass
class Hub:
    """Repositories by name: branches by name, commits by id, files by path.

    Attributes:
        large: bytes of large files, by the digest that they were sent under.
        called: digests that large files were sent under, by their own.
        history: commits of each branch, as (repository, branch, id), in the order they were made.
        ages: hours since a commit was made, where a test says so; else none.
        token: that is asked for where something is written; None for nobody's.
        cut: path of a file whose next answer breaks off half way.
        flip: path of a file that is sent with one bit flipped, though its digest is stated right.
        faults: what becomes of the next requests whose path holds a text: a status, `reset`, or `lost` for an answer
            that does not arrive though what it is about took place; a list of (text, fault), each used once.
        spoil: the last byte of large files is flipped when they arrive.
        asked: requests as (method, path, range).
        address: where it is served, where a test says so.
    """

    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    history: list[tuple[str, str, str]] = field(default_factory=list)
    ages: dict[str, float] = field(default_factory=dict)
    token: str | None = None
    cut: str | None = None
    flip: str | None = None
    faults: list[tuple[str, int | str]] = field(default_factory=list)
    spoil: bool = False
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def commit(self, repository: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit and let a branch point to it; return its id."""
        parent = self.branches.get(repository, {}).get(branch, "")
        name = hashlib.sha1(repr((parent, sorted(files.items()))).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.branches.setdefault(repository, {})[branch] = name
        self.history.append((repository, branch, name))
        return name

    def files(self, repository: str, branch: str = "main") -> dict[str, bytes]:
        """Return the files of a branch."""
        return self.commits[self.branches[repository][branch]]

    def find(self, repository: str, revision: str) -> str | None:
        """Return the commit of a revision."""
        branches = self.branches.get(repository, {})
        return revision if revision in branches.values() or revision in self.commits else branches.get(revision)

    def fault(self, path: str) -> int | str | None:
        """Return what is to become of a request, and forget it."""
        with self.lock:
            for number, (text, fault) in enumerate(self.faults):
                if text in path:
                    del self.faults[number]
                    return fault
        return None


def digest(name: str, content: bytes) -> str:
    """Return what the hub names a file by."""
    return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_sha1(content)


def git_sha1(content: bytes) -> str:
    """Return what git names a file's content by."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Connections that were hung up are what it is for."""


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Serve a hub; give its address."""
    handler = type("Bound", (_Handler,), {"hub": hub})
    with _Server(("127.0.0.1", 0), handler) as server:
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
    # An answer that is sent in pieces waits for the client's acknowledgement of the first.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_PUT(self) -> None:
        self._answer(self._body())

    def _body(self) -> bytes:
        if (length := self.headers.get("Content-Length")) is not None:
            return self.rfile.read(int(length))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _answer(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        fault = self.hub.fault(path)
        if fault == "reset":
            self._hang_up()
        elif isinstance(fault, int):
            self._refuse(fault, "")
        else:
            if fault == "lost":
                self._send = lambda *_: self._hang_up()  # type: ignore[method-assign]
            self._route(path, body)

    def _route(self, path: str, body: bytes) -> None:
        parts = path.split("/")
        if not path:
            self._send(200, b"")
        elif parts[0] == "large":
            self._large(parts[1], body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:], body)
        else:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _api(self, repository: str, parts: list[str], body: bytes) -> None:
        what, rest = parts[0], "/".join(parts[1:])
        writes = what in ("preupload", "commit", "branch", "auth-check")
        if writes and self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._refuse(401 if "Authorization" in self.headers else 403, "")
        elif repository not in self.hub.branches:
            self._refuse(404, "RepoNotFound")
        elif what == "auth-check":
            self._send(200, b"{}")
        elif what == "branch":
            self._make_branch(repository, rest)
        elif what == "tree":
            self._tree(repository, parts[1], "/".join(parts[2:]))
        elif (commit := self.hub.find(repository, rest)) is None:
            self._refuse(404, "RevisionNotFound")
        elif what == "revision":
            siblings = [{"rfilename": name} for name in self.hub.commits[commit]]
            self._json({"id": repository, "sha": commit, "siblings": siblings})
        elif what == "paths-info":
            wanted = parse_qs(body.decode())["paths"]
            files = self.hub.commits[commit].items()
            self._json([self._described(name, content) for name, content in files if name in wanted])
        elif what == "preupload":
            self._preupload(commit, json.loads(body)["files"])
        elif what == "commit":
            self._commit(repository, rest, [json.loads(line) for line in body.splitlines()])

    def _tree(self, repository: str, revision: str, folder: str) -> None:
        commit = self.hub.find(repository, revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound")
            return
        files = self.hub.commits[commit].items()
        found = [
            self._described(name, content) for name, content in files if not folder or name.startswith(f"{folder}/")
        ]
        if "expand=True" in self.path or "expand=true" in self.path:
            found = [{**item, "lastCommit": self._last(repository, revision, str(item["path"]))} for item in found]
        if found or not folder:
            self._json(found)
        else:
            self._refuse(404, "EntryNotFound")

    def _last(self, repository: str, branch: str, path: str) -> dict[str, str]:
        """Describe the commit that a file came with."""
        of_branch = [commit for name, there, commit in self.hub.history if (name, there) == (repository, branch)]
        head = self.hub.branches[repository][branch]
        content, found = self.hub.commits[head][path], head
        for commit in reversed(of_branch or [head]):
            if self.hub.commits[commit].get(path) != content:
                break
            found = commit
        when = datetime.now(UTC) - timedelta(hours=self.hub.ages.get(found, 0.0))
        return {"id": found, "title": "x", "date": when.strftime("%Y-%m-%dT%H:%M:%S.000Z")}

    def _make_branch(self, repository: str, branch: str) -> None:
        with self.hub.lock:
            if branch in self.hub.branches[repository]:
                self._refuse(409, "")
                return
            self.hub.branches[repository][branch] = self.hub.branches[repository]["main"]
        self._send(200, b"{}")

    def _preupload(self, commit: str, files: list[dict[str, str]]) -> None:
        there = self.hub.commits[commit]
        ignored = there.get(".gitignore", b"").decode().split()
        self._json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": any(fnmatch(file["path"].rpartition("/")[2], pattern) for pattern in ignored),
                        "oid": digest(file["path"], there[file["path"]]) if file["path"] in there else None,
                    }
                    for file in files
                ]
            }
        )

    def _batch(self, asked: dict[str, list[dict[str, object]]]) -> None:
        address = f"http://{self.headers['Host']}/large"
        objects: list[dict[str, object]] = []
        for item in asked["objects"]:
            found: dict[str, object] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.large:
                found["actions"] = {"upload": {"href": f"{address}/{item['oid']}?{SIGNATURE}"}}
            objects.append(found)
        self._json({"transfer": "basic", "objects": objects})

    def _large(self, oid: str, body: bytes) -> None:
        content = body[:-1] + bytes([body[-1] ^ 1]) if self.hub.spoil else body
        self.hub.large[oid] = content
        self.hub.called[hashlib.sha256(content).hexdigest()] = oid
        self._send(200, b"")

    def _commit(self, repository: str, branch: str, lines: list[dict[str, dict[str, str]]]) -> None:
        with self.hub.lock:
            head = self.hub.branches[repository][branch]
            if lines[0]["value"].get("parentCommit", head) != head:
                self._refuse(412, "", "A commit has happened since. Please refresh and try again.")
                return
            files = dict(self.hub.commits[head])
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "file":  # type: ignore[comparison-overlap]
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":  # type: ignore[comparison-overlap]
                    files[value["path"]] = self.hub.large[value["oid"]]
                else:
                    files.pop(value["path"])
            made = self.hub.commit(repository, files, branch)
        self._json({"commitUrl": f"http://{self.headers['Host']}/{repository}/commit/{made}", "commitOid": made})

    def _file(self, repository: str, revision: str, name: str) -> None:
        commit = self.hub.find(repository, revision)
        if commit is None or name not in self.hub.commits[commit]:
            self._refuse(404, "EntryNotFound" if commit else "RepoNotFound")
            return
        content = self.hub.commits[commit][name]
        etag = self._stated(name, content)
        if self.hub.flip == name:
            content = content[:-1] + bytes([content[-1] ^ 1])
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
        if name.endswith(LARGE):
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        cut = self.command == "GET" and self.hub.cut == name
        self._send(206 if self.headers.get("Range") else 200, content[first:], headers, cut=cut)

    def _stated(self, name: str, content: bytes) -> str:
        found = digest(name, content)
        return self.hub.called.get(found, found)

    def _described(self, name: str, content: bytes) -> dict[str, object]:
        found: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": git_sha1(content)}
        if name.endswith(LARGE):
            found["lfs"] = {"oid": self._stated(name, content), "size": len(content), "pointerSize": 134}
        return found

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        headers = {"X-Error-Code": code} if code else {}
        self._send(status, json.dumps({"error": message}).encode(), {**headers, "Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut:
            self.hub.cut = None
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
