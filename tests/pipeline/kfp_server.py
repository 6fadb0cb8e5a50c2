"""A small server that speaks as much of the Kubeflow Pipelines API (v2beta1) as submitting and scheduling use.

It keeps what it is told in memory. How runs end is up to the test: `finish` gives a run's tasks as a backend would list
them, groups of the graph by their task names.
"""

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KINDS = {
    "experiments": "experiment_id",
    "pipelines": "pipeline_id",
    "runs": "run_id",
    "recurringruns": "recurring_run_id",
}
LISTED = {"recurringruns": "recurringRuns"}


class FakeServer:
    """The state behind the server, and what tests look at."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict]] = {kind: [] for kind in (*KINDS, "versions")}
        self.headers: list[dict[str, str]] = []
        self.terminated: list[str] = []
        self.fail_with: int | None = None
        self.new_run: dict = {"state": "RUNNING"}
        self.counter = itertools.count(1)
        self.lock = threading.Lock()

    def finish(self, state: str, groups: tuple[str, ...] = (), error: str = "") -> None:
        """Let every run end, and new ones be over at once."""
        tasks = [{"display_name": group, "state": "SUCCEEDED"} for group in groups]
        if error:
            tasks.append({"display_name": "resolve-champion", "state": "FAILED", "error": {"message": error}})
        self.new_run = {"state": state, "run_details": {"task_details": tasks}}
        for run in self.objects["runs"]:
            run.update(self.new_run)

    def make(self, kind: str, fields: dict) -> dict:
        with self.lock:
            number = next(self.counter)
            made = {KINDS.get(kind, "pipeline_version_id"): f"{kind}-{number}", **fields}
            made["created_at"] = f"2026-01-01T00:00:{number % 60:02d}Z"
            self.objects[kind].append(made)
            return made

    def handle(self, method: str, path: str, query: dict[str, list[str]], body: dict) -> dict:
        if path.endswith("/healthz"):
            return {"multi_user": False}
        if path.endswith("/pipelines/upload"):
            return self.make("pipelines", {"display_name": query["name"][0]})
        if path.endswith("/pipelines/upload_version"):
            fields = {"display_name": query["name"][0], "pipeline_id": query["pipelineid"][0]}
            return self.make("versions", fields)
        if found := re.search(r"/pipelines/([^/]+)/versions$", path):
            return {"pipeline_versions": [v for v in self.objects["versions"] if v["pipeline_id"] == found[1]]}
        if found := re.search(r"/runs/([^/:]+):terminate$", path):
            self.terminated.append(found[1])
            return {}
        kind, _, key = path.removeprefix("/apis/v2beta1/").partition("/")
        if method == "DELETE":
            self.objects[kind] = [item for item in self.objects[kind] if item[KINDS[kind]] != key]
            return {}
        if method == "POST":
            return self.make(kind, body | (self.new_run if kind == "runs" else {}))
        if key:
            return next(item for item in self.objects[kind] if item[KINDS[kind]] == key)
        return {LISTED.get(kind, kind): [item for item in self.objects[kind] if self._matches(item, query)]}

    def _matches(self, item: dict, query: dict[str, list[str]]) -> bool:
        predicates = json.loads(query["filter"][0])["predicates"] if "filter" in query else []
        return all(
            item.get("display_name") == (wanted.get("stringValue") or wanted.get("string_value"))
            for wanted in predicates
        )


@contextmanager
def serving(state: FakeServer) -> Iterator[str]:
    """Serve on a free port of this machine; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            state.headers.append(dict(self.headers))
            is_json = "json" in (self.headers.get("Content-Type") or "") and raw
            code = state.fail_with or 200
            if parts.path.endswith("/healthz"):
                code = 200
            content = (
                state.handle(self.command, parts.path, parse_qs(parts.query), json.loads(raw) if is_json else {})
                if code == 200
                else {"error": "no"}
            )
            payload = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, *arguments) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
