"""Reports assembled from run directories that real runs have left: finished, cut short, and run again otherwise."""

import json
import shutil
from pathlib import Path

import pytest
from small_bake import forge

from agent_forge.config import build_config
from agent_forge.errors import InputError
from agent_forge.quietstar_baker import QuietSTaRBaker
from agent_forge.records import Alias, GateReport, RunRecord, RunResults, read_record
from agent_forge.run_report import facts_of_run, write_report
from agent_forge.storage.artifact import verify_artifact


def stages_of(run) -> tuple[str, ...]:
    return read_record(RunRecord, run / "run.json").stages


def cut_short(run, stages) -> None:
    """Leave a run as it is found after its process was killed right behind these stages."""
    record = read_record(RunRecord, run / "run.json").model_copy(update={"stages": tuple(stages)})
    (run / "run.json").write_text(record.model_dump_json())
    (run / "results.json").unlink(missing_ok=True)


def test_a_published_run_has_all_its_facts(finished_bake):
    run = finished_bake.out
    facts = facts_of_run(run)
    results = read_record(RunResults, run / "results.json")
    assert facts.results == results and results.report_path == str(run / "report.html")
    assert facts.gate == read_record(GateReport, run / "stages/significance-gate/gate.json")
    assert {row.arm for row in facts.gate_rows} == {"baseline", "thought", "pause"}
    assert {row.arm for row in facts.verify_rows} == {"baseline", "thought", "baked", "swapped"}
    assert {row.question_id for row in (*facts.gate_rows, *facts.verify_rows)} == set(facts.questions)
    assert facts.traces and facts.traces.kept + sum(facts.traces.rejected.values()) == facts.traces.samples
    assert facts.bake and facts.verification and facts.extension and facts.splits
    assert facts.prompting and facts.prompting == facts.manifest.prompting
    assert facts.prompting.template_text == "Q: {prompt}\n" and facts.prompting.few_shot == ()
    assert facts.manifest and facts.manifest.bake_id == results.bake_id == facts.champion.bake_id
    assert set(facts.costs) == {place.split("/")[0] for place in stages_of(run)}
    assert facts.config["questions"]["eval_samples"] == 40
    assert facts.computed_by["evaluate-round"] == facts.computed_by["verify"] == facts.computed_by["collect-traces"]
    assert "attention the engine's own, checked against sdpa" in facts.computed_by["verify"]
    assert facts.computed_by["bake"] == "arithmetic float32, attention sdpa, example by example, device cpu"
    assert facts.manifest.bake.attention == "sdpa, example by example"
    assert facts.computed_by["verify"].replace("'", "&#39;") in (run / "report.html").read_text()


def test_the_report_written_again_is_the_one_that_the_run_wrote(finished_bake):
    before = (finished_bake.out / "report.html").read_bytes()
    (finished_bake.out / "report.html").unlink()
    assert write_report(finished_bake.out).read_bytes() == before
    assert b"Published" in before


def test_a_run_cut_short_anywhere_has_a_report(finished_bake):
    run = finished_bake.out
    stages = stages_of(run)
    for done in range(len(stages)):
        cut_short(run, stages[:done])
        facts = facts_of_run(run)
        assert set(facts.costs) == {place.split("/")[0] for place in stages[:done]}
        assert (facts.gate is not None) == ("significance-gate" in stages[:done])
        assert (facts.bake is not None) == ("bake" in stages[:done])
        assert facts.results is None and facts.manifest is None
        assert "Published" not in write_report(run).read_text()


def test_a_stage_that_is_being_run_again_is_not_shown(finished_bake):
    shutil.rmtree(finished_bake.out / "stages/verify")
    assert facts_of_run(finished_bake.out).verification is None


def test_instances_of_a_stage_are_added_up(finished_bake):
    run = finished_bake.out
    shutil.copytree(run / "stages/collect-traces/0", run / "stages/collect-traces/1")
    one = facts_of_run(run)
    cut_short(run, [*stages_of(run), "collect-traces/1"])
    both = facts_of_run(run)
    assert both.traces.kept == 2 * one.traces.kept and len(both.traces.thought_lengths) == both.traces.kept
    cost, twice = one.costs["collect-traces"], both.costs["collect-traces"]
    assert (twice.seconds, twice.tokens) == (2 * cost.seconds, 2 * cost.tokens)
    assert twice.peak_memory_bytes == cost.peak_memory_bytes


def test_what_another_configuration_left_behind_is_passed_over(finished_bake):
    done = forge(*finished_bake.arguments("--resume", min_improvement=0.97))
    assert done.returncode == 0, done.stderr
    run = finished_bake.out
    assert (run / "stages/verify/receipt.json").exists()
    facts = facts_of_run(run)
    assert facts.gate.verdict != "bake" and facts.results.verdict == facts.gate.verdict
    assert (facts.traces, facts.bake, facts.verification, facts.manifest) == (None, None, None, None)
    assert "Published" not in (run / "report.html").read_text()


def test_results_of_another_configuration_are_not_shown(finished_bake):
    results = finished_bake.out / "results.json"
    results.write_text(json.dumps(json.loads(results.read_text()) | {"bake_id": "0" * 64}))
    assert facts_of_run(finished_bake.out).results is None


def test_a_bake_published_before_is_shown_from_its_manifest(finished_bake):
    run = finished_bake.out
    shutil.rmtree(run / "stages")
    done = forge(*finished_bake.arguments("--resume"))
    assert done.returncode == 0, done.stderr
    facts = facts_of_run(run)
    assert stages_of(run) == ("resolve-champion",)
    assert facts.champion.already_published and facts.gate == facts.manifest.gate
    assert facts.verification == facts.manifest.verification and facts.results.published
    assert "Published" in (run / "report.html").read_text()


def test_a_run_ends_with_what_is_published_where_runs_share_a_place(finished_bake, tmp_path):
    shutil.copytree(finished_bake.out / "baked", tmp_path / "root/baked")
    (tmp_path / "root/baked/latest.json").unlink()
    fields = json.loads((finished_bake.base / "bake.json").read_text()) | {"publish_to": str(tmp_path / "root")}
    given = {**fields, "model_path": str(finished_bake.CHAMPION), "output_path": str(tmp_path / "out")}
    found = QuietSTaRBaker(build_config(given)).run()
    first = read_record(RunResults, finished_bake.out / "results.json")
    places = ("run_dir", "report_path", "model_path", "manifest_path")
    assert found.model_dump(exclude=set(places)) == first.model_dump(exclude=set(places))
    assert verify_artifact(Path(found.model_path)).bake_id == found.bake_id and stages_of(tmp_path / "out") == (
        "resolve-champion",
    )
    assert "Published" in (tmp_path / "out/report.html").read_text()
    assert read_record(Alias, tmp_path / "root/baked/latest.json").bake_id == found.bake_id


def test_a_fallback_is_in_the_report(finished_bake):
    path = finished_bake.out / "stages/evaluate-round/0-0/receipt.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"warnings": ["memory ran out with batch_size 16"]}))
    write_report(finished_bake.out)
    assert "memory ran out with batch_size 16" in (finished_bake.out / "report.html").read_text()


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_named(finished_bake):
    (finished_bake.out / "stages/significance-gate/gate.json").write_text("{")
    with pytest.raises(InputError, match=r"gate\.json"):
        write_report(finished_bake.out)
