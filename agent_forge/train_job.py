"""The bake on several machines: a TrainJob of Kubeflow Trainer that the bake's own task starts and waits for.

    task of the pipeline                       volume that both mount
      copies its inputs                 ->       DIRECTORY/inputs
      creates the TrainJob, waits                torchrun ... forge stage bake, on every node
      copies what came of it            <-       DIRECTORY/outputs        written by the first process

The pods run the stage as the task would have, with an executor input whose paths lie on the volume. The job's name is
made of the executor input: a task that is retried finds the job that it started, and checkpoints stay on the volume, so
a job that is started again goes on after the last of them. Kubernetes is spoken to as it is, over HTTP: three calls.
"""

import hashlib
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from agent_forge.errors import ConfigError, EngineError, ForgeError, StoreError
from agent_forge.records import Record, first_problem
from agent_forge.stages.context import Progress
from agent_forge.stages.executor_input import ExecutorInput, artifact_path, parse_input
from agent_forge.storage.files import write_atomic

# A task is told by this variable to have its stage carried out by a TrainJob; placed there from the platform file.
VARIABLE = "FORGE_TRAIN_JOB"
API = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# What the runtime `torch-distributed` calls its replicated job and the container in it.
NODE = "node"
VOLUME = "forge-volume"
# Seconds between two looks at a job, and how long one call may take.
EVERY, PATIENCE = 15.0, 30.0
# Looks in a row that may go unanswered: a control plane is upgraded in less.
FORGIVEN = 40


class TrainJobSettings(Record):
    """What a TrainJob is made of besides its executor input.

    Attributes:
        nodes, processes: machines, and processes on each.
        runtime: name of the ClusterTrainingRuntime.
        image: of the pods.
        claim, mount: the volume that the task and the pods share.
        resources: of one node: resource name -> quantity, requested and limited alike.
        node_selector, tolerations, pull_secrets: of the pods, as in Kubernetes.
        environment: variables of the pods.
        timeout: seconds after which the job fails; None for never.
    """

    nodes: int = Field(default=1, ge=1)
    processes: int = Field(default=1, ge=1)
    runtime: str = "torch-distributed"
    image: str
    claim: str
    mount: str
    resources: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, str], ...] = ()
    pull_secrets: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    timeout: int | None = Field(default=None, ge=1)


class Cluster:
    """TrainJobs of one namespace.

    Args:
        address: of the API server.
        namespace: that the task runs in.
        token: bearer token; never shown.
        authority: file of the certificate authority, None for the system's.
    """

    def __init__(self, address: str, namespace: str, token: str, authority: Path | None = None) -> None:
        self._jobs = address.rstrip("/") + API.format(namespace=namespace)
        self._token = token
        self._context = ssl.create_default_context(cafile=str(authority)) if authority else None

    def create(self, manifest: dict[str, Any]) -> bool:
        """Create a job; return whether there was none of this name."""
        return self._call("POST", "", manifest, allowed=409) is not None

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a job, None when there is none."""
        return self._call("GET", f"/{name}", allowed=404)

    def delete(self, name: str) -> None:
        """Delete a job and its pods, if it is there."""
        self._call("DELETE", f"/{name}", {"propagationPolicy": "Foreground"}, allowed=404)

    def _call(self, method: str, path: str, content: Any = None, *, allowed: int) -> dict[str, Any] | None:
        request = urllib.request.Request(
            self._jobs + path,
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE, context=self._context) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as cause:
            if cause.code == allowed:
                return None
            raise _refused(cause) from cause
        except OSError as cause:
            raise StoreError(f"the cluster's API does not answer: {cause}; try again") from cause


def read_settings(text: str) -> TrainJobSettings:
    """Read what the variable holds.

    Raises:
        ConfigError: when it is none, naming the field.
    """
    try:
        return TrainJobSettings.model_validate_json(text)
    except ValidationError as cause:
        raise ConfigError(f"{VARIABLE}: {first_problem(cause)}") from cause


def in_cluster() -> Cluster:
    """Return the cluster that this pod runs in, as its service account may use it.

    Raises:
        ConfigError: outside of a cluster, or where the pod has no service account's token.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token, namespace = ((SERVICE_ACCOUNT / name).read_text().strip() for name in ("token", "namespace"))
    except OSError as cause:
        raise ConfigError(
            f"{VARIABLE} asks for a TrainJob, but there is no service account's token in {SERVICE_ACCOUNT}; run the "
            "task in a cluster, with its token mounted"
        ) from cause
    return Cluster(f"https://{host}:{port}", namespace, token, SERVICE_ACCOUNT / "ca.crt")


def train_job(settings: TrainJobSettings, name: str, command: list[str]) -> dict[str, Any]:
    """Return the TrainJob (trainer.kubeflow.org/v1alpha1, Trainer 2.2 and later) that runs a command on every node."""
    pod: dict[str, Any] = {
        "volumes": [{"name": VOLUME, "persistentVolumeClaim": {"claimName": settings.claim}}],
        "containers": [{"name": NODE, "volumeMounts": [{"name": VOLUME, "mountPath": settings.mount}]}],
    }
    if settings.node_selector:
        pod["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        pod["tolerations"] = [dict(taint) for taint in settings.tolerations]
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in settings.pull_secrets]
    spec: dict[str, Any] = {
        "runtimeRef": {"name": settings.runtime},
        "trainer": {
            "image": settings.image,
            "command": command,
            "numNodes": settings.nodes,
            "numProcPerNode": settings.processes,
            "resourcesPerNode": {"requests": dict(settings.resources), "limits": dict(settings.resources)},
            "env": [{"name": key, "value": value} for key, value in sorted(settings.environment.items())],
        },
        "runtimePatches": [{"manager": "agent-forge.dev/bake", "trainingRuntimeSpec": _patch(pod)}],
    }
    if settings.timeout is not None:
        spec["activeDeadlineSeconds"] = settings.timeout
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "agent-forge"}},
        "spec": spec,
    }


def carry_out(
    stage: str,
    executor_input: str,
    settings: TrainJobSettings,
    cluster: Cluster,
    progress: Progress,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Have a stage carried out by a TrainJob, and put what came of it where the task was to write it.

    Args:
        stage: name of the stage.
        executor_input: of the task, JSON.
        settings: of the job.
        cluster: that it runs in.
        progress: is told what becomes of the job.
        wait: waits for so many seconds.

    Raises:
        EngineError: when the job fails, with the reason that the cluster gives.
        StoreError: when the cluster's API does not answer.
    """
    given = parse_input(executor_input)
    name = f"forge-{stage}-{hashlib.sha256(executor_input.encode()).hexdigest()[:16]}"
    directory = Path(settings.mount) / "train-jobs" / name
    moved = _on_volume(given, directory)
    job = train_job(settings, name, _command(stage, moved))
    if _failed(cluster.read(name)) is not None:
        # One that failed stays failed; what it wrote is continued.
        cluster.delete(name)
        while cluster.read(name) is not None:
            wait(EVERY)
    if cluster.create(job):
        progress.note(f"started TrainJob {name}: {settings.nodes} nodes with {settings.processes} processes each")
    try:
        _await(cluster, name, wait)
    except KeyboardInterrupt:
        cluster.delete(name)
        raise
    _bring_back(given, moved)
    cluster.delete(name)
    shutil.rmtree(directory, ignore_errors=True)


def _command(stage: str, moved: ExecutorInput) -> list[str]:
    told = moved.model_dump_json()
    return ["torchrun", "-m", "agent_forge.cli", "stage", stage, "--executor-input", told]


def _on_volume(given: ExecutorInput, directory: Path) -> ExecutorInput:
    """Copy the inputs to the volume; return the executor input with every path on it."""
    moved = given.model_copy(deep=True)
    # A job that goes on may be reading what an earlier try of this task has copied.
    copied = directory / "copied"
    for key, listed in moved.inputs.artifacts.items():
        for number, artifact in enumerate(listed.artifacts):
            place = directory / "inputs" / key / str(number)
            if not copied.exists():
                _copy(artifact_path(artifact.uri), place)
            artifact.uri = str(place)
    write_atomic(copied, "")
    for key, listed in moved.outputs.artifacts.items():
        for artifact in listed.artifacts:
            artifact.uri = str(directory / "outputs" / key)
    for key, parameter in moved.outputs.parameters.items():
        parameter.outputFile = str(directory / "parameters" / key)
    moved.outputs.outputFile = str(directory / "output.json")
    moved.inputs.parameterValues = {**moved.inputs.parameterValues, "scratch": str(directory / "scratch")}
    (directory / "scratch").mkdir(parents=True, exist_ok=True)
    return moved


def _bring_back(given: ExecutorInput, moved: ExecutorInput) -> None:
    """Copy what the job wrote to where the task was to write it."""
    for key, listed in given.outputs.artifacts.items():
        source = Path(moved.outputs.artifacts[key].artifacts[0].uri)
        # Metrics are metadata only.
        if source.exists():
            _copy(source, artifact_path(listed.artifacts[0].uri))
    for key, parameter in given.outputs.parameters.items():
        if (written := Path(moved.outputs.parameters[key].outputFile)).exists():
            write_atomic(Path(parameter.outputFile), written.read_text(encoding="utf-8"))
    if given.outputs.outputFile:
        described = json.loads(Path(moved.outputs.outputFile).read_text(encoding="utf-8"))
        for key, listed in given.outputs.artifacts.items():
            described["artifacts"][key]["artifacts"][0]["uri"] = listed.artifacts[0].uri
        write_atomic(Path(given.outputs.outputFile), json.dumps(described))


def _copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, place)


def _await(cluster: Cluster, name: str, wait: Callable[[float], None]) -> None:
    """Wait until a job is complete; an API that is away for a while costs nothing but time."""
    unanswered = 0
    while True:
        try:
            job = cluster.read(name)
            unanswered = 0
        except StoreError:
            unanswered += 1
            if unanswered > FORGIVEN:
                raise
            wait(EVERY)
            continue
        if job is None:
            raise EngineError(f"TrainJob {name} was deleted while it ran; nothing was baked, run the task again")
        if (why := _failed(job)) is not None:
            raise EngineError(f"TrainJob {name} failed: {why}; see the logs of its pods, then run the task again")
        if _condition(job, "Complete") is not None:
            return
        wait(EVERY)


def _failed(job: dict[str, Any] | None) -> str | None:
    """Return why a job failed, None when it did not."""
    condition = _condition(job or {}, "Failed")
    if condition is None:
        return None
    return " ".join(str(condition.get("message") or condition.get("reason") or "no reason given").split())


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found["type"] == kind and found["status"] == "True"), None)


def _patch(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a patch of the runtime's pods."""
    return {
        "template": {"spec": {"replicatedJobs": [{"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}]}}
    }


def _refused(cause: urllib.error.HTTPError) -> ForgeError:
    try:
        said = str(json.load(cause).get("message", ""))
    except (ValueError, OSError, AttributeError):
        said = ""
    line = f"the cluster refuses the TrainJob ({cause.code}): {' '.join(said.split()) or cause.reason}"
    if cause.code in (401, 403):
        return ConfigError(f"{line}; give the task's service account the role of manifests/base/rbac.yaml")
    if cause.code in (400, 404, 422):
        return ConfigError(f"{line}; is Kubeflow Trainer 2.2 or later installed, with this runtime?")
    return StoreError(f"{line}; try again")
