"""The CPU image as a cluster runs it: any user, a read-only root file system, no network. `make test-image` runs this.

It is no part of the test suite, since it needs a container engine and the image: build it first.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "pipeline")]

from local_cluster import Cluster

from agent_forge.records import GateReport, read_record
from agent_forge.storage.artifact import verify_artifact

IMAGE = "agent-forge:cpu"
MOST_BYTES = 1_600_000_000
USER = random.Random().randint(10_000, 2_000_000_000)


# runc starts where the host's control groups are of both versions; limits are those that a plain user may set.
RUNC = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin")
PODMAN = ("podman", "--runtime", RUNC or "runc")


def podman(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, check=False)


def container(*command: str, mount: Path | None = None, environment: dict[str, str] | None = None) -> list[str]:
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
    surroundings = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    mounts = [f"--volume={mount}:{mount}"] if mount else []
    locked = ["--read-only", "--network=none", f"--user={USER}:{USER}", "--cap-drop=all", "--no-healthcheck"]
    return ["run", "--rm", *locked, *limits, *surroundings, *mounts, IMAGE, *command]


def inspected() -> dict:
    return json.loads(podman("image", "inspect", IMAGE).stdout)[0]


def test_it_is_small_and_says_what_it_is():
    image = inspected()
    print(f"{IMAGE}: {image['Size']:,} bytes")
    assert image["Size"] < MOST_BYTES
    labels = image["Labels"]
    assert labels["org.opencontainers.image.title"] == "agent-forge"
    assert labels["org.opencontainers.image.version"] != "0.0.0"
    assert image["Config"]["User"] == "65532:65532"
    assert image["Healthcheck"]["Test"] == ["CMD", "forge", "--version"]


def test_it_starts_as_any_user_on_a_read_only_root():
    done = podman(*container("forge", "--version"))
    assert done.returncode == 0 and done.stdout.startswith("forge "), done.stderr
    written = podman(*container("sh", "-c", "id -u; touch /x || touch /opt/forge/x || touch /tmp/x && echo only /tmp"))
    assert written.stdout.split() == [str(USER), "only", "/tmp"]


@pytest.mark.parametrize("name", ["kfp", "pip", "pytest", "setuptools"])
def test_what_a_stage_does_not_need_is_not_in_it(name):
    assert podman(*container("python3", "-c", f"import {name}")).returncode == 1


def test_everything_that_stages_import_is_in_it():
    # Their clients and vLLM are left out, as the documents say.
    absent = [
        "agent_forge.models.vllm_processor",
        "agent_forge.tracking.mlflow_sink",
        "agent_forge.tracking.wandb_sink",
    ]
    code = (
        "import importlib, pkgutil, agent_forge\n"
        "for found in pkgutil.walk_packages(agent_forge.__path__, 'agent_forge.'):\n"
        f"    if found.name not in {absent}:\n"
        "        importlib.import_module(found.name)\n"
        "for name in ('datasets', 'pyarrow', 'gguf', 'sentencepiece', 'math_verify', 'boto3', 'cryptography'):\n"
        "    importlib.import_module(name)\n"
    )
    done = podman(*container("python3", "-c", code))
    assert done.returncode == 0, done.stderr


def first_task(**values: str) -> subprocess.CompletedProcess:
    given = {
        "inputs": {"parameterValues": {"model_path": "bundled://champion", "output_path": "pipeline://", **values}},
        "outputs": {"artifacts": {"champion": {"artifacts": [{"uri": "gs://bucket/champion", "metadata": {}}]}}},
    }
    return podman(*container("forge", "stage", "resolve-champion", "--executor-input", json.dumps(given)))


def test_code_answers_are_refused_in_one_line_where_nothing_could_judge_them():
    done = first_task(eval_dataset="code", config='{"allow_code_execution": true}')
    complaint = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and complaint.startswith("forge: ") and "bubblewrap" in complaint, done.stderr


@pytest.mark.parametrize("tool", ["gcc", "cc", "make", "git", "curl"])
def test_no_build_tools_are_in_it(tool):
    assert podman(*container("sh", "-c", f"command -v {tool}")).returncode != 0


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_compiled_pipeline_runs_in_it(tmp_path, monkeypatch):
    for place in (tmp_path, *tmp_path.parents[:3]):
        place.chmod(0o777)
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o777)

    def launch(command: list[str], environment: dict[str, str]) -> list[str]:
        return [*PODMAN, *container(*command, mount=root, environment=environment)]

    # Nothing but the image and the compiled file: every parameter has a default that runs.
    cluster = Cluster(root, launch=launch)
    cluster.run(monkeypatch)
    assert {made.code for made in cluster.ran} == {0} and cluster.stages()[-1] == "push-artifact"
    gate, push = cluster.one("significance-gate"), cluster.one("push-artifact")
    assert read_record(GateReport, gate.artifact("gate")).verdict == gate.parameter("verdict") == "bake"
    assert gate.metrics["thought_accuracy"] > 0.9 and gate.artifact("gate").stat().st_uid == USER
    assert verify_artifact(push.artifact("model")).image == "agent-forge:cpu"


def test_a_wrong_parameter_is_one_line_after_the_log():
    done = first_task(model_path="bundled://nonesuch")
    *log, complaint = done.stderr.splitlines()
    assert done.returncode == 2 and complaint.startswith("forge: ") and "nonesuch" in complaint
    assert [json.loads(line)["message"] for line in log] == ["began"]
