"""The real clients: MLflow with its SQLite store, W&B offline, and servers that are gone or never answer.

The clients take seconds to import, so each session serves several tests.
"""

import os
import socket
from pathlib import Path

import pytest
import sample_run
from run_files import BAKED, GATED, evolution_files, small, write_run

from agent_forge.config import QuietSTaRConfig
from agent_forge.records import text_sha256
from agent_forge.run_report import facts_of_run
from agent_forge.tracker import Tracker, read_state
from agent_forge.tracking.protocol import MODEL_NAME, TrackedRun

KEY = text_sha256("a key that looks like any other hash")[:40]
SECRETS = {"WANDB_API_KEY": KEY, "HF_TOKEN": f"hf_{KEY}", "AWS_SECRET_ACCESS_KEY": KEY[::-1]}

pytestmark = pytest.mark.filterwarnings("ignore")


def follow(run: Path, kind: str, patience: float = 60.0, evolution: bool = False) -> list[str]:
    """Track what a directory holds; return the warnings."""
    config = QuietSTaRConfig(model_path="m", output_path=str(run), tracking=kind, tracking_timeout=patience)
    said: list[str] = []
    Tracker(config, run, said.append, evolution=evolution).close()
    return said


def clean_environment(patch: pytest.MonkeyPatch, **values: str) -> None:
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        patch.delenv(name)
    for name, value in values.items():
        patch.setenv(name, value)


def leaks(root: Path) -> list[Path]:
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(secret.encode() in path.read_bytes() for secret in SECRETS.values())]


@pytest.fixture(scope="module")
def facts():
    return small(sample_run.published())


@pytest.fixture(scope="module")
def with_mlflow(facts, tmp_path_factory):
    """A whole run in MLflow's default place, as its client reads it."""
    pytest.importorskip("mlflow")
    run = tmp_path_factory.mktemp("mlflow") / "run"
    with pytest.MonkeyPatch.context() as patch:
        clean_environment(patch, **SECRETS)
        write_run(run, facts, BAKED)
        (run / "results.json").write_text(facts.results.model_dump_json())
        assert follow(run, "mlflow") == []
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("quietstar").experiment_id])
    return run, client, found


def test_mlflow_holds_one_run_with_every_stage_once(with_mlflow, facts):
    _, client, found = with_mlflow
    assert found.info.status == "FINISHED"
    assert found.data.metrics["gate/p_value"] == pytest.approx(facts.gate.p_value)
    assert found.data.tags["gate/verdict"] == "bake" and found.data.tags["job_type"] == "quietstar"
    assert found.data.params["alpha"] == "0.05"
    history = client.get_metric_history(found.info.run_id, "reasoning_accuracy/thought")
    assert sorted(point.step for point in history) == list(range(facts.gate.rounds))
    assert len(client.get_metric_history(found.info.run_id, "bake/loss")) == facts.bake.steps
    assert "trace_quality.json" in [file.path for file in client.list_artifacts(found.info.run_id)]


def test_mlflow_knows_a_run_again_and_what_it_holds(with_mlflow, facts, monkeypatch):
    from agent_forge.tracking.mlflow_sink import MlflowSink

    run, client, found = with_mlflow
    clean_environment(monkeypatch)
    about = TrackedRun(
        run_id=found.data.tags["forge.run_id"],
        name="n",
        group="g",
        project="quietstar",
        config={"alpha": 0.05, "batch_size": 999},
        champion={},
        directory=run,
        patience=9,
    )
    sink = MlflowSink()
    assert sink.open(about) == dict.fromkeys(BAKED, "k")
    sink.close(ended_well=True)
    assert len(client.search_runs([found.info.experiment_id])) == 1


def test_mlflow_registers_the_published_model(with_mlflow, facts):
    run, client, found = with_mlflow
    version = client.get_model_version_by_alias(MODEL_NAME, "published")
    assert version.run_id == found.info.run_id and version.source == (run / "baked/model").resolve().as_uri()
    assert version.tags["champion_digest"] == facts.champion.digest


@pytest.fixture(scope="module")
def with_wandb(facts, tmp_path_factory):
    """A run tracked offline; the records that `wandb sync` would send."""
    pytest.importorskip("wandb")
    run = write_run(tmp_path_factory.mktemp("wandb") / "run", facts, BAKED)
    with pytest.MonkeyPatch.context() as patch:
        clean_environment(patch, **SECRETS, WANDB_MODE="offline")
        assert follow(run, "wandb") == []
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    return run, list(records(file))


def records(path: Path):
    """Yield the records of a W&B transaction log: blocks of 32 KiB of (checksum, length, part of, bytes)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, text = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, part = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        text, at = text + data[at + 7 : at + 7 + length], at + 7 + length
        if part in (1, 4):
            yield Record.FromString(text)
            text = b""


def of_kind(found, kind):
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def test_wandb_gets_figures_tables_and_losses(with_wandb, facts):
    _, found = with_wandb
    run = of_kind(found, "run")[0]
    assert (run.job_type, run.run_group) == ("quietstar", facts.champion.bake_id[:12])
    points = [{item.key or item.nested_key[0] for item in history.item} for history in of_kind(found, "history")]
    keys = set().union(*points)
    wanted = {"gate/p_value", "gate/flips", "reasoning_accuracy/pause", "trace_quality", "verify/baked_accuracy"}
    assert wanted <= keys, wanted - keys
    assert sum("bake/loss" in point for point in points) == facts.bake.steps


def test_wandb_gets_the_published_model_by_reference(with_wandb, facts):
    _, found = with_wandb
    (artifact,) = [item for item in of_kind(found, "artifact") if item.name == MODEL_NAME]
    assert set(artifact.aliases) == {"latest", "published", facts.manifest.bake_id[:12]}
    assert "manifest.json" in [entry.path for entry in artifact.manifest.contents]


def test_wandb_gets_an_evolutions_curve_and_its_champion(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    clean_environment(monkeypatch, **SECRETS, WANDB_MODE="offline")
    (tmp_path / "best_model").mkdir()
    (tmp_path / "best_model/manifest.json").write_text("{}")
    assert follow(evolution_files(tmp_path, True, KEY), "wandb", evolution=True) == []
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    found = list(records(file))
    run = of_kind(found, "run")[0]
    assert (run.job_type, run.run_group) == ("evomerge", "e" * 12)
    points = [{item.key or item.nested_key[0]: item.value_json for item in h.item} for h in of_kind(found, "history")]
    curve = [(p["generation"], p["evolve/best_so_far"]) for p in points if "evolve/best_so_far" in p]
    assert curve == [("0", "0.5"), ("1", "0.75")]
    (model,) = [item for item in of_kind(found, "artifact") if item.type == "model"]
    assert model.name == "model_gen_1" and "c" * 64 in model.metadata
    assert leaks(tmp_path / "wandb") == []


def test_no_credential_is_in_anything_that_was_written(with_wandb, with_mlflow):
    assert leaks(with_wandb[0]) == [] and leaks(with_mlflow[0]) == []


def test_a_server_that_is_gone_is_one_warning(facts, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    clean_environment(monkeypatch, **SECRETS, MLFLOW_TRACKING_URI=f"http://user:{KEY}@127.0.0.1:{port}")
    run = write_run(tmp_path / "run", facts, GATED)
    (warning,) = follow(run, "mlflow")
    assert warning.startswith("tracking: ") and len(warning.splitlines()) == 1 and str(port) in warning
    assert facts_of_run(run).warnings == (warning,)
    assert leaks(run) == [] and KEY not in warning


def test_a_server_that_never_answers_does_not_keep_a_run_from_ending(facts, tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", facts, GATED)
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clean_environment(monkeypatch, **SECRETS, WANDB_BASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        config = QuietSTaRConfig(model_path="m", output_path=str(run), tracking="wandb")
        tracker = Tracker(config, run, said.append)
        process = tracker._process
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            for _ in range(100_000):  # more than a pipe holds: telling it must never wait
                tracker.look()
            tracker.close(patience=0.2)
    assert process.poll() is not None
    assert len(said) == 1 and "0.2 s" in said[0]
    assert read_state(run).warning in said[0] and read_state(run).runs == {}
