"""The bake on several machines: the TrainJob is one, and what came of it lies where the task was to write it.

No cluster is here: a small server speaks the three calls, and carries jobs out by running a stage on the volume.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from test_manifests import problems

from agent_forge import train_job as module
from agent_forge.config import build_config
from agent_forge.errors import ConfigError, EngineError, StoreError
from agent_forge.stages.context import Silent
from agent_forge.train_job import API, VARIABLE, Cluster, TrainJobSettings, carry_out, in_cluster, read_settings
from pipelines.compile import main
from pipelines.placement import _train_job
from pipelines.platform import Platform

TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
PLATFORM = {
    "name": "several",
    "images": {"cpu": "forge:cpu", "gpu": "forge:gpu"},
    "pull_secrets": ["registry"],
    "volume": {"claim": "models", "mount": "/models"},
    "stages": {
        "bake": {
            "image": "gpu",
            "cpu": "8",
            "accelerators": 4,
            "timeout": 99,
            "node_selector": {"pool": "a"},
            "tolerations": [TAINT],
            "train_job": {"nodes": 2, "processes": 4},
        }
    },
}


def settings(mount: Path) -> TrainJobSettings:
    told = read_settings(_train_job("bake", Platform.model_validate(PLATFORM)))
    return told.model_copy(update={"mount": str(mount)})


def executor_input(root: Path) -> str:
    """Return what a task is given whose inputs are a file and a directory."""
    (root / "extended").mkdir(parents=True)
    (root / "extended" / "weights").write_text("w")
    (root / "traces").write_text("t")
    outputs = {name: {"artifacts": [{"name": name, "uri": str(root / name)}]} for name in ("baked", "metrics")}
    return json.dumps(
        {
            "inputs": {
                "parameterValues": {"config": "{}"},
                "artifacts": {name: {"artifacts": [{"uri": str(root / name)}]} for name in ("extended", "traces")},
            },
            "outputs": {"artifacts": outputs, "outputFile": str(root / "output.json")},
        }
    )


class Kubernetes:
    """What a cluster does with TrainJobs: `becomes` says how each ends, in turn."""

    def __init__(self, *becomes: str) -> None:
        self.becomes, self.jobs, self.created, self.tokens = list(becomes), {}, [], set()

    def answer(self, method, name, content):
        if method == "POST":
            name = content["metadata"]["name"]
            if name in self.jobs:
                return 409, {"message": "already exists"}
            if problems(content, "V1alpha1TrainJob", "job"):
                return 422, {"message": f"invalid: {problems(content, 'V1alpha1TrainJob', 'job')[0]}"}
            self.created.append(content)
            self.jobs[name] = self.ended(content, self.becomes.pop(0))
        if name not in self.jobs:
            return 404, {"message": "not found"}
        return 200, self.jobs.pop(name) if method == "DELETE" else self.jobs[name]

    def ended(self, job, becomes):
        if becomes == "Complete":
            self.work(json.loads(job["spec"]["trainer"]["command"][-1]))
        return job | {"status": {"conditions": [{"type": becomes, "status": "True", "message": "node-0\nkilled"}]}}

    def work(self, told):
        """Do what the first process does: read the inputs, write the outputs, on the volume."""
        (weights, traces) = (
            told["inputs"]["artifacts"][name]["artifacts"][0]["uri"] for name in ("extended", "traces")
        )
        text = (Path(weights) / "weights").read_text() + Path(traces).read_text()
        outputs = told["outputs"]
        baked = Path(outputs["artifacts"]["baked"]["artifacts"][0]["uri"])
        baked.mkdir(parents=True)
        (baked / "weights").write_text(text)
        assert Path(told["inputs"]["parameterValues"]["scratch"]).is_dir()
        described = {name: {"artifacts": [{"uri": "volume", "metadata": {"n": 1}}]} for name in outputs["artifacts"]}
        Path(outputs["outputFile"]).write_text(json.dumps({"artifacts": described}))


@contextmanager
def served(kubernetes: Kubernetes, status: int = 200):
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            kubernetes.tokens.add(self.headers["Authorization"])
            length = int(self.headers.get("Content-Length", 0))
            content = json.loads(self.rfile.read(length)) if length else None
            name = self.path.removeprefix(API.format(namespace="ours")).strip("/")
            code, said = (
                kubernetes.answer(self.command, name, content) if status == 200 else (status, {"message": "no"})
            )
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Cluster(f"http://127.0.0.1:{server.server_port}", "ours", "secret-token")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_came_of_a_job_lies_where_the_task_was_to_write_it(tmp_path):
    told, kubernetes = executor_input(tmp_path / "task"), Kubernetes("Complete")
    with served(kubernetes) as cluster:
        carry_out("bake", told, settings(tmp_path / "volume"), cluster, Silent())
    assert (tmp_path / "task/baked/weights").read_text() == "wt"
    described = json.loads((tmp_path / "task/output.json").read_text())["artifacts"]
    assert described["baked"]["artifacts"][0] == {"uri": str(tmp_path / "task/baked"), "metadata": {"n": 1}}
    assert kubernetes.tokens == {"Bearer secret-token"} and not kubernetes.jobs
    # Nothing is left on the volume.
    assert list((tmp_path / "volume/train-jobs").iterdir()) == []


def test_the_job_says_what_the_platform_says(tmp_path):
    told, kubernetes = executor_input(tmp_path / "task"), Kubernetes("Complete")
    with served(kubernetes) as cluster:
        carry_out("bake", told, settings(tmp_path / "volume"), cluster, Silent())
    (job,) = kubernetes.created
    trainer, spec = job["spec"]["trainer"], job["spec"]
    assert (trainer["numNodes"], trainer["numProcPerNode"], trainer["image"]) == (2, 4, "forge:gpu")
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "8", "memory": "4Gi", "nvidia.com/gpu": "4"}
    assert trainer["command"][:6] == ["torchrun", "-m", "agent_forge.cli", "stage", "bake", "--executor-input"]
    assert spec["runtimeRef"] == {"name": "torch-distributed"} and spec["activeDeadlineSeconds"] == 99
    jobs = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = jobs[0]["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "a"} and pod["tolerations"] == [TAINT]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models"}
    assert "secret-token" not in json.dumps(job) and VARIABLE not in json.dumps(job)


def test_a_compiled_pipeline_tells_the_bake_alone_and_keeps_the_task_itself_small(tmp_path):
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(PLATFORM))
    assert main(["--platform", str(tmp_path / "p.yaml"), "--out", str(tmp_path / "out.yaml")]) == 0
    pipeline, _ = yaml.safe_load_all((tmp_path / "out.yaml").read_text())
    told = {}
    for name, executor in pipeline["deploymentSpec"]["executors"].items():
        if "container" in executor:
            variables = {one["name"]: one["value"] for one in executor["container"].get("env", ())}
            told |= {name: variables[VARIABLE]} if VARIABLE in variables else {}
            assert "accelerator" not in executor["container"]["resources"], name
    assert list(told) == ["exec-bake"]
    assert read_settings(told["exec-bake"]).model_copy(update={"mount": str(tmp_path)}) == settings(tmp_path)


def test_a_job_that_failed_says_why_and_is_started_anew_by_the_next_try(tmp_path):
    told, kubernetes = executor_input(tmp_path / "task"), Kubernetes("Failed", "Complete")
    with served(kubernetes) as cluster:
        with pytest.raises(EngineError, match=r"^TrainJob forge-bake-\w{16} failed: node-0 killed; see the logs"):
            carry_out("bake", told, settings(tmp_path / "volume"), cluster, Silent())
        assert not (tmp_path / "task/baked").exists()
        carry_out("bake", told, settings(tmp_path / "volume"), cluster, Silent())
    assert (tmp_path / "task/baked/weights").read_text() == "wt" and len(kubernetes.created) == 2


def test_a_job_that_goes_on_is_waited_for_and_not_started_twice(tmp_path):
    told, kubernetes = executor_input(tmp_path / "task"), Kubernetes("Suspended")

    def later(_seconds):
        if kubernetes.becomes == []:
            raise TimeoutError
        name = next(iter(kubernetes.jobs))
        kubernetes.jobs[name] = kubernetes.ended(kubernetes.created[0], kubernetes.becomes.pop())

    with served(kubernetes) as cluster:
        with pytest.raises(TimeoutError):
            carry_out("bake", told, settings(tmp_path / "volume"), cluster, Silent(), later)
        kubernetes.becomes = ["Complete"]
        carry_out("bake", told, settings(tmp_path / "volume"), cluster, Silent(), later)
    assert len(kubernetes.created) == 1 and (tmp_path / "task/baked").is_dir()


def test_a_task_that_is_ended_ends_its_job(tmp_path):
    def ended(_seconds):
        raise KeyboardInterrupt

    kubernetes = Kubernetes("Suspended")
    with served(kubernetes) as cluster, pytest.raises(KeyboardInterrupt):
        carry_out("bake", executor_input(tmp_path / "task"), settings(tmp_path / "volume"), cluster, Silent(), ended)
    assert kubernetes.created and not kubernetes.jobs


def test_an_api_that_is_away_for_a_while_costs_nothing_but_time(tmp_path, monkeypatch):
    told, waited = executor_input(tmp_path / "task"), []
    with served(Kubernetes("Complete")) as cluster:
        answers = [cluster.read, away, away, cluster.read, cluster.read]
        monkeypatch.setattr(cluster, "read", lambda name: answers.pop(0)(name))
        carry_out("bake", told, settings(tmp_path / "volume"), cluster, Silent(), waited.append)
    assert (tmp_path / "task/baked").is_dir() and len(waited) == 2
    with served(Kubernetes("Suspended")) as cluster, pytest.raises(StoreError):
        answers = [cluster.read, *[away] * 99]
        monkeypatch.setattr(cluster, "read", lambda name: answers.pop(0)(name))
        carry_out("bake", told, settings(tmp_path / "other"), cluster, Silent(), waited.append)


def away(_name):
    raise StoreError("the cluster's API does not answer")


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [(403, ConfigError, "manifests/base/rbac.yaml"), (422, ConfigError, "Trainer 2.2"), (500, StoreError, "try again")],
)
def test_a_cluster_that_refuses_is_one_clear_line(tmp_path, status, kind, said):
    with served(Kubernetes(), status) as cluster, pytest.raises(kind, match=said) as refused:
        carry_out("bake", executor_input(tmp_path / "task"), settings(tmp_path / "volume"), cluster, Silent())
    assert "secret-token" not in str(refused.value) and "\n" not in str(refused.value)


def test_outside_of_a_cluster_it_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", tmp_path)
    with pytest.raises(ConfigError, match="no service account's token"):
        in_cluster()
    with pytest.raises(ConfigError, match=f"{VARIABLE}: "):
        read_settings('{"nodes": 0}')
    # It is no field of the configuration, though it begins as those do.
    assert build_config({"model_path": "m", "output_path": "o"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": {"verify": {"train_job": {}}}}, "stages.verify: train_job is for bake alone"),
        ({"volume": None}, "train_job needs a volume"),
    ],
)
def test_a_platform_that_makes_no_sense_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Platform.model_validate(PLATFORM | changes)
