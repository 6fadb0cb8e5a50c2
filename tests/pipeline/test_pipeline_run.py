"""The compiled pipeline, run for real on the bundled champion through kfp's own orchestrator."""

import json

import pytest
import yaml
from local_cluster import Cluster
from small_bake import DEMO, SMALL, SmallBake

from agent_forge.records import GateReport, Manifest, VerificationReport, read_record
from agent_forge.storage.artifact import verify_artifact

# kfp warns of what its local runner passes over: resources, retries.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def arguments(scenario: str = "bake", **changes) -> dict:
    fields = yaml.safe_load((DEMO / f"{scenario}.yaml").read_text()) | SMALL | changes
    own = {name: fields.pop(name) for name in ("eval_samples", "ab_test_rounds")}
    fields.pop("eval_dataset")
    return {**own, "config": json.dumps(fields)}


@pytest.fixture(scope="module")
def baseline_wins(tmp_path_factory) -> Cluster:
    """A run that nothing disturbed and in which thinking does not help."""
    cluster = Cluster(tmp_path_factory.mktemp("baseline-wins"))
    with pytest.MonkeyPatch.context() as patch:
        cluster.run(patch, **arguments("baseline_wins"))
    return cluster


def report_of(container) -> str:
    return container.artifact("report").read_text()


def test_a_champion_that_thinking_helps_is_baked_and_published(tmp_path, monkeypatch, undisturbed: SmallBake):
    cluster = Cluster(tmp_path)
    cluster.run(monkeypatch, **arguments(shards=2))
    counts = {stage: cluster.stages().count(stage) for stage in cluster.stages()}
    assert counts == {
        **dict.fromkeys(("resolve-champion", "prepare-questions", "load-and-extend", "significance-gate"), 1),
        **dict.fromkeys(("evaluate-round", "collect-traces"), 2),
        **dict.fromkeys(("bake", "verify", "push-artifact"), 1),
    }
    gate, verify, push = (cluster.one(stage) for stage in ("significance-gate", "verify", "push-artifact"))
    # What the pipeline measures is what one machine measures, whatever the shards.
    on_one_machine = read_record(GateReport, undisturbed.finished / "stages/significance-gate/gate.json")
    assert read_record(GateReport, gate.artifact("gate")) == on_one_machine
    checked = read_record(VerificationReport, verify.artifact("verification"))
    assert (gate.parameter("verdict"), verify.parameter("verdict")) == ("bake", "publish")
    manifest = verify_artifact(push.artifact("model"))
    assert manifest == read_record(Manifest, push.artifact("manifest")) and manifest.verification == checked
    assert manifest.image == "agent-forge:cpu"
    assert "Published" in report_of(push) and "Answers that changed by thinking first" in report_of(gate)


def test_metrics_and_metadata_reach_the_executor_output(baseline_wins):
    cluster = baseline_wins
    assert cluster.stages()[-1] == "keep-champion" and "bake" not in cluster.stages()
    gate = cluster.one("significance-gate")
    assert gate.parameter("verdict") != "bake"
    assert {"baseline_accuracy", "thought_accuracy", "pause_accuracy", "p_value", "seconds"} <= set(gate.metrics)
    assert {"thought_accuracy", "tokens", "seconds"} <= set(cluster.one("evaluate-round").metrics)
    keep = cluster.one("keep-champion")
    assert keep.parameter("reason") == read_record(GateReport, gate.artifact("gate")).reason
    assert "Published" not in report_of(keep)
    written = json.loads(
        (cluster.one("load-and-extend").artifact("extended").parent / "executor_output.json").read_text()
    )
    (extended,) = written["artifacts"]["extended"]["artifacts"]
    assert extended["metadata"]["champion_digest"] == cluster.one("resolve-champion").parameter("champion_digest")


def test_a_bake_that_learnt_nothing_is_rejected(tmp_path, monkeypatch):
    cluster = Cluster(tmp_path)
    cluster.run(monkeypatch, **arguments(learning_rate=1e-9, num_epochs=1, bake_samples=40, verify_samples=20))
    assert cluster.one("verify").parameter("verdict") == "reject"
    assert cluster.stages()[-1] == "keep-champion" and "push-artifact" not in cluster.stages()
    keep = cluster.one("keep-champion")
    assert json.loads(keep.artifact("decision").read_text())["verification_verdict"] == "reject"
    assert "Rejected" in report_of(keep)


def test_a_killed_round_is_run_again_to_the_same_result(tmp_path, monkeypatch, baseline_wins):
    disturbed = {("evaluate-round", 0): 137}
    again = Cluster(tmp_path, disturb=lambda stage, count: disturbed.get((stage, count)))
    again.run(monkeypatch, **arguments("baseline_wins"))
    assert again.stages().count("evaluate-round") == 2
    gates = [cluster.one("significance-gate").artifact("gate").read_bytes() for cluster in (baseline_wins, again)]
    assert gates[0] == gates[1]


def test_a_failing_container_fails_the_run(tmp_path, monkeypatch):
    cluster = Cluster(tmp_path, disturb=lambda stage, count: 137 if stage == "load-and-extend" else None)
    with pytest.raises(RuntimeError):
        cluster.run(monkeypatch, **arguments("baseline_wins"))
    assert "evaluate-round" not in cluster.stages()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_path": "bundled://nonesuch"}, "bundled://champion"),
        ({"model_path": "/no/such/place"}, "does not exist"),
        ({"eval_dataset": "arithmetics"}, "did you mean arithmetic?"),
        ({"ab_test_rounds": 0}, "ab_test_rounds"),
        ({"ab_test_rounds": 100, "config": '{"shards": 100}'}, "10,000 cells"),
        ({"config": '{"alfa": 0.1}'}, "did you mean alpha?"),
        ({"config": "{"}, "not JSON"),
    ],
)
def test_wrong_parameters_fail_in_the_first_task(tmp_path, monkeypatch, changes, said):
    cluster = Cluster(tmp_path)
    with pytest.raises(RuntimeError):
        cluster.run(monkeypatch, **(arguments("baseline_wins") | changes))
    (first,) = cluster.ran
    assert (first.stage, first.code) == ("resolve-champion", 2)
    assert first.said.startswith("forge: ") and said in first.said


def test_a_bake_that_is_published_already_ends_the_run_at_once(tmp_path, monkeypatch, finished_bake: SmallBake):
    cluster = Cluster(tmp_path)
    given = arguments()
    root = str(finished_bake.out)
    cluster.run(monkeypatch, **given, output_path=root)
    assert cluster.stages() == ["resolve-champion"]
    assert cluster.one("resolve-champion").parameter("already_published") == "true"
