"""The compiled pipelines: up to date, one contract for all containers, and placed as their platforms say."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from agent_forge.config import STAGE_NAMES
from agent_forge.errors import ConfigError
from agent_forge.stages.registry import find_stage
from pipelines.compile import HERE, SHIPPED, main, shipped
from pipelines.placement import UNCACHED
from pipelines.platform import Platform, read_platform

SHIPPED_FILES = sorted((HERE / "compiled").glob("*.yaml"))
COMPILED = [path for path in SHIPPED_FILES if path.name.startswith("quietstar")]


@cache
def documents(path: Path) -> tuple[dict, dict]:
    pipeline, platform = yaml.safe_load_all(path.read_text())
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def containers(pipeline: dict) -> dict[str, list[dict]]:
    """Containers by stage; a component that is placed twice has two."""
    found: dict[str, list[dict]] = {stage: [] for stage in STAGE_NAMES}
    for executor in pipeline["deploymentSpec"]["executors"].values():
        found[executor["container"]["args"][1]].append(executor["container"])
    return found


def tasks(pipeline: dict) -> list[tuple[str, dict]]:
    dags = [pipeline["root"], *pipeline["components"].values()]
    listed = [task for part in dags if "dag" in part for task in part["dag"]["tasks"].values()]
    return [(task["taskInfo"]["name"], task) for task in listed if task["taskInfo"]["name"] in STAGE_NAMES]


def test_what_is_committed_is_what_is_compiled():
    assert {path.name for path in SHIPPED_FILES} == set(SHIPPED)
    for path, text in shipped():
        assert path.read_text() == text, f"{path.name} is stale; run `make compile`"


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_every_container_has_the_one_contract(path):
    for stage, found in containers(documents(path)[0]).items():
        assert found, stage
        for container in found:
            assert container["command"] == ["forge"]
            assert container["args"] == ["stage", stage, "--executor-input", "{{$}}"]


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_components_declare_what_their_stages_read_and_write(path):
    pipeline, _ = documents(path)
    for component in pipeline["components"].values():
        if "executorLabel" not in component:
            continue
        container = pipeline["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        stage = find_stage(container["args"][1])
        inputs = component["inputDefinitions"].get("artifacts", {})
        outputs = component["outputDefinitions"].get("artifacts", {})
        assert set(stage.inputs) <= set(inputs) and not [name for name in inputs if inputs[name].get("isOptional")]
        assert set(stage.outputs) <= set(outputs)
        sides = (component["inputDefinitions"], component["outputDefinitions"])
        described = {name: spec for side in sides for part in side.values() for name, spec in part.items()}
        assert [name for name, spec in described.items() if not spec.get("description")] == [], stage.name


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_only_what_must_not_be_cached_is_not(path):
    for stage, task in tasks(documents(path)[0]):
        assert bool(task["cachingOptions"].get("enableCache")) == (stage not in UNCACHED), stage


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_parameters_have_defaults_and_hold_no_secrets(path):
    parameters = documents(path)[0]["root"]["inputDefinitions"]["parameters"]
    assert all("defaultValue" in spec and spec["description"] for spec in parameters.values())
    assert not [name for name in parameters if "token" in name or "secret" in name or "key" in name]


def test_sampling_and_baking_are_placed_on_accelerators_and_retried():
    pipeline, kubernetes = documents(HERE / "compiled/quietstar.yaml")
    for stage, found in containers(pipeline).items():
        wanted = stage in ("evaluate-round", "collect-traces", "bake", "verify")
        for container in found:
            accelerator = container["resources"].get("accelerator")
            assert bool(accelerator) == wanted, stage
            assert not wanted or (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")
    for stage, task in tasks(pipeline):
        if stage in ("evaluate-round", "collect-traces"):
            assert task["retryPolicy"]["maxRetryCount"] == 4 and task["retryPolicy"]["backoffFactor"] == 2.0
    for executor in kubernetes.values():
        assert executor["secretAsEnv"][0]["secretName"] == "hf-token" and executor["secretAsEnv"][0]["optional"]


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=lambda path: path.stem)
def test_what_is_retried_is_retried_after_its_longest_attempts_too(path):
    """The engine retries nothing, and ends what runs, `backoffMaxDuration` after the first start of a task."""
    pipeline, kubernetes = documents(path)
    seconds = {key: int(spec.get("activeDeadlineSeconds", 0)) for key, spec in kubernetes.items()}
    parts = [part["dag"]["tasks"] for part in pipeline["components"].values() if "dag" in part]
    listed = [task for part in (pipeline["root"]["dag"]["tasks"], *parts) for task in part.values()]
    retried = [task for task in listed if "retryPolicy" in task]
    assert retried
    for task in retried:
        policy, component = task["retryPolicy"], pipeline["components"][task["componentRef"]["name"]]
        first, window = (int(policy[key].removesuffix("s")) for key in ("backoffDuration", "backoffMaxDuration"))
        waits = sum(first * policy["backoffFactor"] ** number for number in range(policy["maxRetryCount"]))
        attempts = (policy["maxRetryCount"] + 1) * seconds[component["executorLabel"]]
        assert attempts > 0 and waits + attempts <= window, task["taskInfo"]["name"]
        # The engine reads a whole number.
        assert policy["backoffFactor"] == int(policy["backoffFactor"])


def test_the_pipelines_own_store_is_opened_to_those_who_publish_only():
    _, kubernetes = documents(HERE / "compiled/quietstar.yaml")
    holders = {
        name.removeprefix("exec-").rstrip("-0123456789")
        for name, executor in kubernetes.items()
        if "mlpipeline-minio-artifact" in {secret["secretName"] for secret in executor["secretAsEnv"]}
    }
    # The second and the third read a champion that lies there, or only its manifest.
    readers = {"resolve-champion", "load-and-extend", "prepare-questions"}
    assert holders == {*readers, "push-artifact", "keep-champion", "keep-rejected"}


def test_the_cpu_variant_asks_for_no_accelerator():
    pipeline, _ = documents(HERE / "compiled/quietstar-cpu.yaml")
    assert not [c for found in containers(pipeline).values() for c in found if "accelerator" in c["resources"]]


PLATFORM = {"name": "mine", "images": {"cpu": "registry/forge@sha256:0"}}


def test_a_platform_of_ones_own_needs_no_code(tmp_path):
    mine = PLATFORM | {
        "pull_secrets": ["registry"],
        "volume": {"claim": "models", "mount": "/models"},
        "stages": {
            "default": {"node_selector": {"pool": "a"}, "tolerations": [{"key": "spot", "effect": "NoSchedule"}]},
            "bake": {"timeout": 99, "shared_memory": "1Gi"},
        },
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    assert main(["--platform", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out.yaml")]) == 0
    pipeline, kubernetes = documents(tmp_path / "out.yaml")
    for name, executor in kubernetes.items():
        assert executor["nodeSelector"]["labels"] == {"pool": "a"} and executor["tolerations"][0]["key"] == "spot"
        assert executor["pvcMount"][0]["mountPath"] == "/models"
        assert ("activeDeadlineSeconds" in executor) == (name == "exec-bake")
    assert {c["image"] for found in containers(pipeline).values() for c in found} == {"registry/forge@sha256:0"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": {"evaluate": {}}}, "did you mean evaluate-round?"),
        ({"secrets": [{"name": "s", "keys": {}, "stages": ["push"]}]}, "secrets.s.stages: unknown stage push"),
        ({"stages": {"bake": {"image": "gpu"}}}, "image gpu is not in images"),
        ({"stages": {"bake": {"memory": "lots"}}}, "stages.bake: memory"),
        ({"stages": {"evolve": {"retries": 20}}}, "stages.evolve: retries 20: attempts and the waits between them"),
        ({"stages": {"bake": {"retries": 1, "retry_after": "2h", "retry_for": "1h"}}}, "after retry_for 1h"),
        ({"colour": "red"}, "colour"),
        ({"parallelism": {"cells": 0}}, "parallelism.cells"),
    ],
)
def test_a_wrong_platform_is_refused_in_one_line(tmp_path, capsys, changes, said):
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(PLATFORM | changes))
    with pytest.raises(ConfigError):
        read_platform(tmp_path / "p.yaml")
    assert main(["--platform", str(tmp_path / "p.yaml"), "--out", str(tmp_path / "out.yaml")]) == 2
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1 and not (tmp_path / "out.yaml").exists()


def test_a_stage_takes_the_default_and_what_is_said_for_itself():
    platform = Platform.model_validate(
        PLATFORM | {"stages": {"default": {"cpu": "2", "memory": "1Gi"}, "bake": {"memory": "9Gi"}}}
    )
    assert (platform.needs("bake").cpu, platform.needs("bake").memory) == ("2", "9Gi")
    assert platform.needs("verify").memory == "1Gi"
