"""What is sent, and when: with a service that only takes notes."""

import io
from collections import Counter

import pytest
import sample_run
from run_files import BAKED, GATED, evolution_files, small, write_run

from agent_forge import tracking_worker
from agent_forge.records import text_sha256
from agent_forge.report.redact import MASK
from agent_forge.tracker import TaskFiles, TrackingJob, read_state

KEY = text_sha256("a key that looks like any other hash")[:40]


class Notes:
    """A service that keeps what it is told, over several sessions."""

    def __init__(self):
        self.runs, self.sent, self.ends, self.fails_at = [], [], [], ""

    def open(self, run):
        self.runs.append(run)
        return {}

    def log(self, stage, key):
        if stage.place == self.fails_at:
            raise ConnectionError("the service is gone")
        self.sent.append(stage)

    def close(self, ended_well):
        self.ends.append(ended_well)

    def stage(self, place):
        (stage,) = (stage for stage in self.sent if stage.place == place)
        return stage

    @property
    def places(self):
        return [stage.place for stage in self.sent]


@pytest.fixture
def notes(monkeypatch):
    service = Notes()
    monkeypatch.setattr(tracking_worker, "open_sink", lambda kind: service)
    return service


@pytest.fixture(scope="module")
def published():
    return small(sample_run.published())


def send(directory, lines="", task=None, upload=False):
    job = TrackingJob(
        kind="wandb", project="p", patience=9, upload_model=upload, directory=directory.resolve(), task=task
    )
    tracking_worker.follow(job, io.StringIO(lines), (KEY,))


def test_every_stage_is_sent_once_however_often_it_is_looked_for(notes, published, tmp_path):
    run = write_run(tmp_path / "run", published, BAKED)
    send(run, lines="\n\n")
    send(run)
    assert notes.places == list(BAKED) and len(notes.runs) == 1


def test_a_resumed_run_sends_what_is_new_to_the_same_run(notes, published, tmp_path):
    send(write_run(tmp_path / "run", published, GATED))
    run = write_run(tmp_path / "run", published, BAKED)
    (run / "results.json").write_text(published.results.model_dump_json())
    send(run)
    assert notes.places == list(BAKED)
    assert notes.runs[0].run_id == notes.runs[1].run_id
    assert notes.ends == [False, True]


def test_a_stage_that_was_run_again_is_sent_again(notes, published, tmp_path):
    send(write_run(tmp_path / "run", published, GATED))
    send(write_run(tmp_path / "run", published, GATED, key="other"))
    assert notes.places == [*GATED, *GATED]


def test_another_bake_in_the_same_directory_is_another_run(notes, published, tmp_path):
    send(write_run(tmp_path / "run", published, GATED))
    champion = published.champion.model_copy(update={"bake_id": text_sha256("another")})
    send(write_run(tmp_path / "run", published.model_copy(update={"champion": champion}), GATED))
    assert len({run.run_id for run in notes.runs}) == 2 and Counter(notes.places) == dict.fromkeys(GATED, 2)


def test_what_a_service_did_not_take_is_sent_the_next_time(notes, published, tmp_path):
    run, notes.fails_at = write_run(tmp_path / "run", published, BAKED), "bake"
    with pytest.raises(ConnectionError):
        send(run)
    notes.fails_at = ""
    send(run)
    assert notes.places == list(BAKED)


def test_the_figures_are_those_of_the_reports(notes, published, tmp_path):
    send(write_run(tmp_path / "run", published, BAKED))
    gate, bake = notes.stage("significance-gate"), notes.stage("bake")
    assert gate.figures["gate/p_value"] == published.gate.p_value
    assert gate.texts["gate/verdict"] == "bake"
    ((axis, rounds),) = [(series.axis, dict(series.points)) for series in gate.series]
    assert axis == "round" and sorted(rounds) == list(range(published.gate.rounds))
    thought = [rounds[number]["reasoning_accuracy/thought"] for number in rounds]
    assert sum(thought) / len(thought) == pytest.approx(published.gate.thought_accuracy)
    changes = Counter(row[0] for row in gate.tables["gate/flips"].rows)
    flips = published.gate.flips
    assert flips.gained and (changes["gained"], changes["lost"]) == (flips.gained, flips.lost)
    assert sum(bake.histograms["trace_quality"].counts) == len(published.traces.solve_rates)
    losses = [point["bake/loss"] for _, point in bake.series[0].points if "bake/loss" in point]
    assert losses == [point.loss for point in published.bake.curve if point.loss is not None]
    assert notes.stage("verify").figures["verify/baked_accuracy"] == published.verification.baked_accuracy
    assert bake.figures["cost/bake/seconds"] == published.costs["bake"].seconds


def test_only_a_published_model_is_a_model(notes, published, tmp_path):
    send(write_run(tmp_path / "run", published, BAKED), upload=True)
    assert [stage.place for stage in notes.sent if stage.model] == ["push-artifact"]
    model = notes.stage("push-artifact").model
    assert model.uri == (tmp_path / "run/baked/model").resolve().as_uri()
    assert "published" in model.aliases and model.metadata["champion_digest"] == published.champion.digest
    assert (model.upload / "model.safetensors").read_text() == "weights"


@pytest.mark.parametrize("name", ["rejected", "kept"])
def test_a_model_that_was_not_published_is_never_sent(notes, tmp_path, name):
    facts = small(sample_run.RUNS[name]())
    places = BAKED[:-1] if facts.verification else GATED
    send(write_run(tmp_path / "run", facts, (*places, "keep-champion")), upload=True)
    assert notes.places == [*places, "keep-champion"] and not any(stage.model for stage in notes.sent)


def test_the_container_of_the_last_stage_sends_the_whole_run(notes, published, tmp_path):
    stages = write_run(tmp_path / "run", published, BAKED) / "stages"
    artifacts = {
        "champion": stages / "resolve-champion/champion.json",
        "questions": stages / "prepare-questions/questions",
        "extension": stages / "load-and-extend/extension.json",
        "gate": stages / "significance-gate/gate.json",
        "evaluation": stages / "significance-gate/evaluation.jsonl",
        "bake_report": stages / "bake/bake.json",
        "trace_set": stages / "bake/trace_set",
        "verification": stages / "verify/verification.json",
        "verification_results": stages / "verify/results.jsonl",
        "manifest": stages / "push-artifact/manifest.json",
    }
    task = TaskFiles(config={"alpha": 0.05}, artifacts={k: (v,) for k, v in artifacts.items()}, model_uri="s3://b/m")
    send(tmp_path / "scratch", task=task)
    assert notes.places == [place for place in BAKED if "/" not in place and place != "resolve-champion"]
    assert notes.stage("push-artifact").model.uri == "s3://b/m"
    assert notes.runs[0].run_id == published.champion.bake_id[:16] and notes.ends == [True]


def test_credentials_are_masked_by_name_by_look_and_by_heart(notes, published, tmp_path):
    question = next(iter(published.questions.values()))
    leaky = published.model_copy(
        update={
            "config": {
                "model": {"model_path": "s3://AKIAABCDEFGHIJKLMNOP:hidden/secret@b/c", "hub_token": "hidden-one"}
            },
            "champion": published.champion.model_copy(update={"uri": f"https://host/x?api_key={KEY}"}),
            "questions": {**published.questions, question.id: question.model_copy(update={"prompt": f"Is {KEY} odd?"})},
        }
    )
    send(write_run(tmp_path / "run", leaky, BAKED))
    told = "".join(record.model_dump_json() for record in [*notes.runs, *notes.sent])
    assert MASK in told and not [secret for secret in (KEY, "hidden", "AKIA") if secret in told]


def test_a_damaged_state_is_no_obstacle(notes, published, tmp_path):
    run = write_run(tmp_path / "run", published, GATED)
    (run / "tracking.json").write_text("{")
    send(run)
    assert notes.places == list(GATED) and len(read_state(run).runs) == 1


def test_an_evolution_sends_its_generations_and_its_champion(notes, tmp_path):
    def follow(ended):
        job = TrackingJob(
            kind="wandb",
            project="p",
            patience=9,
            upload_model=False,
            directory=evolution_files(tmp_path, ended, KEY),
            evolution=True,
        )
        tracking_worker.follow(job, io.StringIO(), (KEY,))

    follow(ended=False)
    follow(ended=True)
    follow(ended=True)
    assert notes.places == ["generation-0", "generation-1", "champion"] and notes.ends == [False, True]
    first, second = notes.runs
    assert first.run_id == second.run_id and first.job_type == "evomerge" and KEY not in first.model_dump_json()
    curve = [point for stage in notes.sent for series in stage.series for point in series.points]
    assert [(number, values["evolve/best_so_far"]) for number, values in curve] == [(0, 0.5), (1, 0.75)]
    model = notes.stage("champion").model
    assert {"select/hf_//a_1", "select/b"} < set(notes.stage("champion").figures)
    assert (model.name, model.uri) == ("model_gen_1", "s3://store/champions/c")
