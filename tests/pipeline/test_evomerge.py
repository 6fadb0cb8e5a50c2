"""The pipeline that evolves champions: compiled, its task going on where it was, and the bake that it submits."""

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from kfp_server import FakeServer, serving

from agent_forge import cli
from agent_forge.demo.specialists import write_specialist
from agent_forge.errors import ConfigError, InputError
from agent_forge.evolution.scoring import SCORES, Scorer
from agent_forge.evolution_task import is_baked
from pipelines import submit_bake
from pipelines.compile import HERE, compiled
from pipelines.evomerge import define
from pipelines.placement import UNCACHED
from pipelines.platform import EVOMERGE_NAMES, Platform, read_platform

pytestmark = pytest.mark.filterwarnings("ignore")
PACKAGE = HERE / "compiled/evomerge.yaml"
# What this package is called where it is installed.
OURS = {"agent_forge", "agent-forge"}
DEMO = HERE.parent / "agent_forge/demo"
TINY = {
    **yaml.safe_load((DEMO / "evolve.yaml").read_text()),
    **dict.fromkeys(("evolve_samples", "select_samples", "confirm_samples"), 4),
    "fitness_arm": "thought",
    "methods": ["task_arithmetic"],
    "elites": 1,
    "ab_test_rounds": 1,
    "max_thought_length": 8,
}
del TINY["evolution"]


@cache
def documents() -> tuple[dict, dict]:
    pipeline, platform = yaml.safe_load_all(PACKAGE.read_text())
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def tasks(pipeline: dict) -> dict[str, dict]:
    dags = [pipeline["root"], *(part for part in pipeline["components"].values() if "dag" in part)]
    listed = [task for part in dags for task in part["dag"]["tasks"].values()]
    return {task["taskInfo"]["name"]: task for task in listed}


def test_the_evolution_is_placed_on_a_gpu_and_goes_on_after_its_pod_is_gone():
    pipeline, kubernetes = documents()
    (evolve,) = (c for key, c in pipeline["deploymentSpec"]["executors"].items() if key == "exec-evolve")
    assert evolve["container"]["args"] == ["stage", "evolve", "--executor-input", "{{$}}"]
    assert evolve["container"]["resources"]["accelerator"]["resourceCount"] == "1"
    assert tasks(pipeline)["evolve"]["retryPolicy"]["maxRetryCount"] >= 10
    (mount,) = kubernetes["exec-evolve"]["pvcMount"]
    state = pipeline["root"]["inputDefinitions"]["parameters"]["state_path"]["defaultValue"]
    assert Path(state).is_relative_to(mount["mountPath"])
    assert set(EVOMERGE_NAMES) <= UNCACHED & set(tasks(pipeline))
    assert not [name for name in EVOMERGE_NAMES if tasks(pipeline)[name]["cachingOptions"].get("enableCache")]


def test_what_submits_has_an_image_of_its_own_and_no_accelerator():
    pipeline, kubernetes = documents()
    container = pipeline["deploymentSpec"]["executors"]["exec-submit-bake"]["container"]
    assert container["command"] == ["python", "-m", "pipelines.submit_bake"] and ":submit" in container["image"]
    assert "accelerator" not in container["resources"]
    assert {secret["secretName"] for secret in kubernetes["exec-submit-bake"]["secretAsEnv"]} == {"kfp-token"}


def test_what_submits_needs_nothing_that_its_image_lacks():
    """Packages are told by the names that they are imported by, but for those that Python itself begins with."""
    names = "import sys; begun = set(sys.modules); import pipelines.submit_bake; "
    names += "print(*{name.partition('.')[0] for name in set(sys.modules) - begun})"
    done = subprocess.run([sys.executable, "-c", names], cwd=HERE.parent, capture_output=True, text=True, check=True)
    lock = (HERE.parent / "docker/submit.lock").read_text()
    locked = {line.partition("==")[0] for line in lock.splitlines() if line and not line.startswith("#")}
    distributions = packages_distributions()
    needed = {place for name in done.stdout.split() for place in distributions.get(name, ())} - OURS
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in locked}
    assert {"pydantic"} <= {re.sub(r"[-_.]+", "-", name).lower() for name in needed} <= normal


def test_parameters_are_described_and_a_platform_without_a_volume_is_refused():
    parameters = documents()[0]["root"]["inputDefinitions"]["parameters"]
    assert all("defaultValue" in spec and spec["description"] for spec in parameters.values())
    with pytest.raises(ConfigError, match="no volume"):
        define(Platform.model_validate({"name": "mine", "images": {"cpu": "forge"}}))


@pytest.fixture(scope="module")
def specialists(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("specialists")
    for notation in ("letters", "signs"):
        write_specialist(notation, place / notation)
    return place


def executor_input(root: Path, values: dict, outputs: tuple[str, ...], artifacts: tuple[str, ...] = ()) -> str:
    return json.dumps(
        {
            "inputs": {"parameterValues": values},
            "outputs": {
                "parameters": {name: {"outputFile": str(root / name)} for name in outputs},
                "artifacts": {name: {"artifacts": [{"name": name, "uri": str(root / name)}]} for name in artifacts},
                "outputFile": str(root / "executor_output.json"),
            },
        }
    )


OUTPUTS = ("champion_uri", "champion_digest", "verdict", "bake", "bake_config")


def parameters(specialists: Path) -> dict:
    return {
        "base_models": f"{specialists}/letters,{specialists}/signs",
        "base": "bundled://champion",
        "eval_dataset": "arithmetic",
        "gens": 1,
        "population": 4,
        "publish_to": "",
        "state_path": str(specialists / "state"),
        "bake_when": "always",
        "config": json.dumps(TINY),
    }


def evolved(root: Path, specialists: Path, **changes) -> dict[str, str]:
    values = parameters(specialists) | changes
    given = executor_input(root, values, OUTPUTS, ("evolution", "page", "metrics"))
    cli.app(["stage", "evolve", "--executor-input", given], standalone_mode=False)
    return {name: (root / name).read_text() for name in OUTPUTS}


@pytest.fixture(scope="module")
def first(specialists, tmp_path_factory) -> dict[str, str]:
    return evolved(tmp_path_factory.mktemp("first"), specialists)


def test_a_task_that_runs_again_finds_what_it_had_found(first, specialists, tmp_path):
    (state,) = (specialists / "state").iterdir()
    scored = {path: path.stat().st_mtime_ns for path in (state / SCORES).rglob("*") if path.is_file()}
    assert evolved(tmp_path, specialists) == first
    assert scored == {path: path.stat().st_mtime_ns for path in (state / SCORES).rglob("*") if path.is_file()}
    assert (Path(first["champion_uri"]) / "model.safetensors").exists() and first["bake"] == "true"
    assert json.loads((tmp_path / "evolution").read_text())["champion_digest"] == first["champion_digest"]
    metrics = json.loads((tmp_path / "executor_output.json").read_text())["artifacts"]["metrics"]["artifacts"][0]
    assert metrics["metadata"]["generations"] == 1.0


def test_a_machine_that_helps_scores_all_it_is_left_and_nothing_twice(first, specialists, tmp_path, monkeypatch):
    """Alone, so that all of it falls to the one that helps; the evolution then finds every score."""
    state = tmp_path / "state"
    helper = {"state_path": str(state), "bake_when": None, "node": 1}
    values = {name: value for name, value in (parameters(specialists) | helper).items() if value is not None}
    given = executor_input(tmp_path, values, ())
    cli.app(["stage", "help-evolve", "--executor-input", given], standalone_mode=False)
    (shared,) = state.iterdir()
    assert [path.name for path in shared.iterdir()] == [SCORES]
    monkeypatch.setattr(Scorer, "_rows", lambda *_: pytest.fail("scored twice"))
    again = evolved(tmp_path, specialists, state_path=str(state), nodes=2)
    assert again["champion_digest"] == first["champion_digest"]


def test_whoever_helps_needs_a_number(specialists, tmp_path):
    given = executor_input(tmp_path, parameters(specialists), ())
    with pytest.raises(InputError, match="node is 0"):
        cli.app(["stage", "help-evolve", "--executor-input", given], standalone_mode=False)


def test_a_platform_with_several_machines_has_a_task_for_each(tmp_path):
    file = tmp_path / "mine.yaml"
    written = yaml.safe_load((HERE / "platforms/evomerge.yaml").read_text())
    file.write_text(yaml.safe_dump(written | {"parallelism": {"evolve": 3}}))
    pipeline, *_ = yaml.safe_load_all(compiled(read_platform(file), "evomerge"))
    listed = pipeline["root"]["dag"]["tasks"]
    names = sorted(task["taskInfo"]["name"] for task in listed.values())
    assert [name for name in names if name.startswith("help")] == ["help-evolve 1", "help-evolve 2"]
    nodes = [task["inputs"]["parameters"].get("node") for task in listed.values() if "help" in task["taskInfo"]["name"]]
    assert sorted(int(node["runtimeValue"]["constant"]) for node in nodes) == [1, 2]
    assert not [task for task in listed.values() if task.get("cachingOptions", {}).get("enableCache")]


def test_the_bake_of_the_champion_is_submitted_once(first, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    server = FakeServer()
    values = {name: first[name] for name in ("champion_uri", "champion_digest", "bake_config")}
    with serving(server) as url:
        given = values | {
            "host": url,
            "namespace": "kubeflow",
            "output_path": "s3://models/root",
            "service_account": "",
        }
        for _ in range(2):
            text = executor_input(tmp_path, given, ("run_id",))
            assert submit_bake.main(["--executor-input", text]) == 0, capsys.readouterr().err
    (run,) = server.objects["runs"]
    assert (tmp_path / "run_id").read_text() == run["run_id"]
    asked = run["runtime_config"]["parameters"]
    assert (asked["model_path"], asked["output_path"]) == (first["champion_uri"], "s3://models/root")
    assert asked["eval_dataset"] == "arithmetic" and json.loads(asked["config"])["thought_prompt"] == "Steps:"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state_path": "evolutions"}, "state_path is 'evolutions'"),
        ({"config": "{"}, "config is not JSON"),
        ({"gens": -1}, "gens"),
        ({"base_models": "one"}, "base_models"),
    ],
)
def test_bad_input_is_refused_in_one_line(specialists, tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        evolved(tmp_path, specialists, **changes)


def test_an_unknown_word_for_when_to_bake_is_refused():
    with pytest.raises(InputError, match="expected better, always or never"):
        is_baked(None, "often")
