"""What kustomize builds of the manifests, held against the Kubernetes API's own models and against the pipeline."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from pipelines.compile import HERE
from pipelines.platform import read_platform

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("cpu", "gpu", "spot")
BUILT = [*(f"overlays/{name}" for name in OVERLAYS), "triggers", "serving"]
# Kinds that no model of Kubernetes itself describes.
CUSTOM = {"EventBus", "EventSource", "Sensor"}
# Those of KServe and Kubeflow Trainer are described by their own models, of which the files keep fields and types.
MODELS = {
    name: model
    for file in ("kserve_models.json", "trainer_models.json")
    for name, model in json.loads((Path(__file__).parent / file).read_text())["models"].items()
}
FORBIDDEN = {"*"}


@cache
def built(place: str) -> tuple[dict, ...]:
    command = [ROOT / "scripts/kustomize.sh", ROOT / "manifests" / place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def problems(value: object, kind: str, path: str) -> list[str]:
    """Return the fields of a document that a type of the Kubernetes API does not have."""
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        return [p for n, item in enumerate(value) for p in problems(item, found[1], f"{path}[{n}]")]
    if found := re.fullmatch(r"dict\((.+), (.+)\)", kind):
        return [p for key, item in value.items() for p in problems(item, found[2], f"{path}.{key}")]
    if kind in ("str", "int", "bool", "float", "datetime"):
        expected = {"str": str, "int": int, "bool": bool, "float": (int, float), "datetime": object}[kind]
        good = isinstance(value, expected) and not (kind == "int" and isinstance(value, bool))
        return [] if good else [f"{path} is {value!r}, expected {kind}"]
    if kind == "object":
        return []
    if kind in MODELS:
        fields = MODELS[kind]["fields"]
        missing = [f"{path} lacks {key}" for key in MODELS[kind]["required"] if key not in value]
        unknown = [f"{path}.{key} is no field of {kind}" for key in value if key not in fields]
        known = [p for key in value if key in fields for p in problems(value[key], fields[key], f"{path}.{key}")]
        return missing + unknown + known
    model = getattr(client, kind)
    names = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
    unknown = [f"{path}.{key} is no field of {kind}" for key in value if key not in names]
    known = [p for key in value if key in names for p in problems(value[key], names[key], f"{path}.{key}")]
    return unknown + known


def model_of(document: dict) -> str:
    version = document["apiVersion"].rpartition("/")[2]
    return f"{version.capitalize()}{document['kind']}"


@pytest.mark.parametrize("place", BUILT)
def test_every_document_is_valid_by_the_models_of_kubernetes(place):
    documents = built(place)
    wrong = [
        problem
        for document in documents
        if document["kind"] not in CUSTOM
        for problem in problems(document, model_of(document), document["kind"])
    ]
    assert wrong == [] and documents


def test_the_check_itself_finds_what_is_wrong():
    good = built("overlays/cpu")[0]
    assert problems(good | {"spek": {}}, "V1Namespace", "x") == ["x.spek is no field of V1Namespace"]
    assert problems({"metadata": {"name": 3}}, "V1Namespace", "x") == ["x.metadata.name is 3, expected str"]
    wrong = {"spec": {"predictor": {"model": {"storageURI": "s3://b/k"}}}}
    model = "x.spec.predictor.model"
    assert problems(wrong, "V1beta1InferenceService", "x") == [
        f"{model} lacks modelFormat",
        f"{model}.storageURI is no field of V1beta1ModelSpec",
    ]


@pytest.mark.parametrize("place", BUILT)
def test_everything_stands_in_one_namespace_and_is_labelled(place):
    for document in built(place):
        metadata = document["metadata"]
        assert document["kind"] == "Namespace" or metadata["namespace"] == "quietstar"
        assert metadata["labels"]["app.kubernetes.io/name"] == "agent-forge"


@pytest.mark.parametrize("place", BUILT)
def test_roles_are_narrow_and_bound_to_accounts_that_exist(place):
    documents = built(place)
    roles = {document["metadata"]["name"]: document for document in documents if document["kind"] == "Role"}
    accounts = {document["metadata"]["name"] for document in documents if document["kind"] == "ServiceAccount"}
    assert not [document for document in documents if document["kind"].startswith("Cluster")]
    for role in roles.values():
        for rule in role["rules"]:
            assert not FORBIDDEN.intersection(rule["verbs"], rule["resources"], rule["apiGroups"])
            if "secrets" in rule["resources"]:
                assert rule["resourceNames"] and rule["verbs"] == ["get"]
    for document in documents:
        if document["kind"] == "RoleBinding":
            assert document["roleRef"]["name"] in roles
            assert {subject["name"] for subject in document["subjects"]} <= accounts


@pytest.mark.parametrize("place", BUILT)
def test_no_secret_is_written_down(place):
    assert not [document for document in built(place) if document["kind"] == "Secret"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_quota_holds_what_the_platform_runs_at_once(overlay):
    platform = read_platform(HERE / "platforms" / f"{overlay}.yaml")
    (quota,) = (document for document in built(f"overlays/{overlay}") if document["kind"] == "ResourceQuota")
    wanted = platform.parallelism.cells * platform.needs("evaluate-round").accelerators
    assert int(quota["spec"]["hard"]["requests.nvidia.com/gpu"]) == wanted
    (claim,) = (document for document in built(f"overlays/{overlay}") if document["kind"] == "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "quietstar-models"


def test_the_trigger_calls_the_one_submit_entry_point_as_nobody():
    (sensor,) = (document for document in built("triggers") if document["kind"] == "Sensor")
    sources = {d["metadata"]["name"]: d["spec"] for d in built("triggers") if d["kind"] == "EventSource"}
    for dependency in sensor["spec"]["dependencies"]:
        spec = sources[dependency["eventSourceName"]]
        assert any(dependency["eventName"] in part for name, part in spec.items() if name != "service")
    for trigger in sensor["spec"]["triggers"]:
        job = trigger["template"]["k8s"]["source"]["resource"]
        assert problems(job, "V1Job", "job") == []
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["command"] == ["python", "-m", "pipelines.submit"]
        assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]
        arguments = container["args"]
        for parameter in trigger["template"]["k8s"]["parameters"]:
            index = int(parameter["dest"].rsplit(".", 1)[1])
            assert arguments[index] in ("REFERENCE", "REVISION")


def test_workflows_are_pinned_to_no_secret_in_a_command():
    for path in sorted((ROOT / ".github/workflows").glob("*.yaml")):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        assert not [step for step in steps if "${{" in step.get("run", "")], path.name
        # Without a shell that is named, what a pipe begins with may fail unseen.
        piped = [step for step in steps if re.search(r"[^|]\|[^|]", step.get("run", ""))]
        assert all(step.get("shell") == "bash" for step in piped), path.name
