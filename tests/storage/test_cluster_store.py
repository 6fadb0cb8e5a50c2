"""Where a pipeline publishes that was given no root: beside its own artifacts, in the store of its installation."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from report.sample_run import RUNS

from agent_forge.errors import InputError
from agent_forge.stages import executor_input
from agent_forge.stages.context import Silent
from agent_forge.stages.executor import run_executor_input
from agent_forge.storage.beside import put_beside
from agent_forge.storage.cluster_store import root_beside
from agent_forge.storage.files import list_files
from agent_forge.storage.publication import publication
from agent_forge.storage.s3 import Location, connect, get_object
from agent_forge.storage.s3_download import fetch


class Obliging(BaseHTTPRequestHandler):
    """A store that writes whatever the condition."""

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_DELETE(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def installation(server, bucket, monkeypatch):
    """A pipeline's pods: credentials for the installation's store only; the prefix its artifacts lie below."""
    for name, value in server.items():
        monkeypatch.setenv(name.replace("AWS_ENDPOINT_URL", "PIPELINE_STORE_ENDPOINT"), value)
        monkeypatch.delenv(name, raising=name != "AWS_ENDPOINT_URL")
    monkeypatch.setenv("PIPELINE_STORE_ACCESS_KEY", server["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("PIPELINE_STORE_SECRET_KEY", server["AWS_SECRET_ACCESS_KEY"])
    return bucket[1].replace("s3://", "minio://")


@pytest.fixture
def resolve(tmp_path, monkeypatch):
    """Run resolve-champion as a pod whose artifacts lie below a prefix; return its parameters and its warnings."""
    monkeypatch.setitem(executor_input._ROOTS, "minio", str(tmp_path / "minio"))

    def run(prefix: str, **values) -> tuple[dict, tuple[str, ...]]:
        names = ("full_config", "already_published", "bake_id")
        uri = f"{prefix}/v2/artifacts/quietstar-bake/run-1/resolve-champion/champion"
        given = {"model_path": "bundled://champion", "output_path": "pipeline://", "eval_samples": 20, **values}
        outputs = {
            "parameters": {name: {"outputFile": str(tmp_path / name)} for name in names},
            "artifacts": {"champion": {"artifacts": [{"name": "champion", "uri": uri}]}},
        }
        text = json.dumps({"inputs": {"parameterValues": given}, "outputs": outputs})
        outcome = run_executor_input("resolve-champion", text, Silent())
        return {name: (tmp_path / name).read_text() for name in names}, outcome.warnings

    return run


@pytest.mark.parametrize(
    ("artifact", "root"),
    [
        ("minio://mlpipeline/v2/artifacts/bake/1/task/champion", "minio://mlpipeline/agent-forge"),
        ("minio://mlpipeline/private/team/v2/artifacts/bake/1/c", "minio://mlpipeline/private/team/agent-forge"),
        ("minio://bucket/elsewhere/c", "minio://bucket/agent-forge"),
        ("s3://bucket/v2/artifacts/c", None),
        ("/tmp/root/v2/artifacts/c", None),
        ("", None),
    ],
)
def test_bakes_are_published_beside_the_artifacts(artifact, root, monkeypatch):
    assert root_beside(artifact) is None
    monkeypatch.setenv("PIPELINE_STORE_ACCESS_KEY", "key")
    assert root_beside(artifact) == root


def test_a_second_run_finds_the_bake_without_being_told_where(installation, resolve, tmp_path):
    told, warnings = resolve(installation)
    root = json.loads(told["full_config"])["output_path"]
    assert root == f"{installation}/agent-forge" and not warnings and told["already_published"] == "false"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    sample = next(manifest for run in RUNS.values() if (manifest := run().manifest) is not None)
    manifest = sample.model_copy(update={"bake_id": told["bake_id"], "files": list_files(tmp_path / "model")})
    where = publication(root).publish(tmp_path / "model", manifest)
    put_beside(where, "note.txt", "signed")
    place = Location.parse(where.rpartition("/")[0]) / "note.txt"
    assert get_object(connect(place.scheme), place)["Body"].read() == b"signed"
    assert resolve(installation)[0]["already_published"] == "true"
    assert (fetch(where.rpartition("/")[0]) / "model.safetensors").read_bytes() == b"weights"


def test_a_store_that_refuses_leaves_the_model_an_artifact_and_says_so(installation, resolve, monkeypatch):
    monkeypatch.setenv("PIPELINE_STORE_SECRET_KEY", "another")
    told, (warning,) = resolve(installation)
    assert "output_path" in told["full_config"] and json.loads(told["full_config"])["output_path"] == "pipeline://"
    assert "which no later run can find" in warning and "PIPELINE_STORE" not in warning


def test_a_named_root_that_cannot_be_written_to_is_refused_before_anything_is_spent(bucket, resolve, reader):
    with pytest.raises(InputError, match="access is denied"):
        resolve("minio://unused", output_path=f"{bucket[1]}/models")


def test_a_store_that_keeps_no_conditions_is_refused(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Obliging) as store:
        threading.Thread(target=store.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with pytest.raises(InputError, match="does not keep If-None-Match"):
            publication("s3://bucket/models").check()
        store.shutdown()


@pytest.mark.parametrize("known", ["minio-service.kubeflow", "seaweedfs.kubeflow", None])
def test_the_clusters_store_is_found_by_either_name(known, monkeypatch):
    def look_up(host, port):
        if host != known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for name in ("ACCESS", "SECRET"):
        monkeypatch.setenv(f"PIPELINE_STORE_{name}_KEY", "key")
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    if known is None:
        with pytest.raises(InputError, match="PIPELINE_STORE_ENDPOINT"):
            connect("minio://")
    else:
        assert connect("minio://").meta.endpoint_url == f"http://{known}:9000"
    # What is said wins, without asking anybody.
    monkeypatch.setenv("PIPELINE_STORE_ENDPOINT", "http://elsewhere:1")
    assert connect("minio://").meta.endpoint_url == "http://elsewhere:1"


def test_without_credentials_the_clusters_store_is_refused_in_one_line():
    with pytest.raises(InputError, match="minio:// needs PIPELINE_STORE_ACCESS_KEY"):
        publication("minio://bucket/models")
