import json

import pytest

from agent_forge.config import build_config
from agent_forge.errors import OutputError
from agent_forge.records import Cost
from agent_forge.run_directory import RunDirectory
from agent_forge.stages.context import StageOutcome


def config(**changes):
    return build_config({"model_path": "m", "output_path": "o", **changes})


def finish(run, name="bake", key="k", content="x"):
    place = run.begin(name, key)
    (place / "out" / "file").write_text(content)
    return run.finish(name, key, {"in": "digest"}, StageOutcome(cost=Cost(seconds=1.0), parameters={"verdict": "bake"}))


def test_a_finished_stage_has_its_receipt_and_nothing_partial(tmp_path):
    run = RunDirectory(tmp_path)
    written = finish(run)
    assert run.receipt("bake", "k") == written
    assert run.parameters("bake") == {"verdict": "bake"}
    assert not (tmp_path / "partial" / "bake").exists()


def test_another_key_or_a_changed_file_voids_the_receipt(tmp_path):
    run = RunDirectory(tmp_path)
    finish(run)
    assert run.receipt("bake", "other") is None
    (run.final("bake") / "file").write_text("changed")
    assert run.receipt("bake", "k") is None


def test_scratch_survives_the_same_key_only(tmp_path):
    run = RunDirectory(tmp_path)
    (run.begin("bake", "k") / "scratch" / "half").write_text("")
    assert (run.begin("bake", "k") / "scratch" / "half").exists()
    assert not (run.begin("bake", "other") / "scratch" / "half").exists()


def test_a_field_changes_the_keys_of_its_stages_and_no_other(tmp_path):
    run = RunDirectory(tmp_path)

    def keys(**changes):
        return {
            name: run.key(name, config(**changes), {}, {}) for name in ("evaluate-round", "significance-gate", "bake")
        }

    before, after = keys(), keys(alpha=0.01)
    assert {name for name in before if before[name] != after[name]} == {"significance-gate"}
    assert keys(device="cpu", batch_size=3, output_path="elsewhere") == before


def test_a_second_process_is_refused(tmp_path):
    with RunDirectory(tmp_path).locked(), pytest.raises(OutputError, match="in use"), RunDirectory(tmp_path).locked():
        pass


def test_events_are_json_lines(tmp_path):
    run = RunDirectory(tmp_path)
    run.log("began", "bake")
    run.log("ended", "bake", Cost(seconds=2.0))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["began", "ended"]


def test_a_torn_event_gives_way_to_the_next(tmp_path):
    run = RunDirectory(tmp_path)
    run.log("began", "bake")
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write('{"event": "en')
    run.log("began", "verify")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["stage"] for event in events] == ["bake", "verify"]


def test_another_number_of_rounds_leaves_each_round_as_it_is(tmp_path):
    run = RunDirectory(tmp_path)
    stages = ("prepare-questions", "evaluate-round", "collect-traces", "verify")
    three, eight = ([run.key(name, config(ab_test_rounds=n), {}, {}) for name in stages] for n in (3, 8))
    assert [one == other for one, other in zip(three, eight, strict=True)] == [False, True, True, False]
