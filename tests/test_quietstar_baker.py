"""The Python interface, and the runs that must not bake."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_bake import DEMO, SMALL, forge, small_arguments

from agent_forge.config import QuietSTaRConfig as Config
from agent_forge.errors import OutputError
from agent_forge.quietstar_baker import QuietSTaRBaker, QuietSTaRConfig
from agent_forge.records import GateReport, RunResults, read_record

# A whole run; prints what it imported of what takes up hundreds of megabytes.
LIGHT = """
import sys
from agent_forge.config import QuietSTaRConfig
from agent_forge.quietstar_baker import QuietSTaRBaker
QuietSTaRBaker(QuietSTaRConfig.model_validate_json(open(sys.argv[1]).read())).run()
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""


def config(out: Path, **changes) -> QuietSTaRConfig:
    fields = yaml.safe_load((DEMO / "baseline_wins.yaml").read_text()) | SMALL | changes
    return QuietSTaRConfig(**fields, model_path=str(DEMO / "champion"), output_path=str(out))


def gate_of(out: Path) -> GateReport:
    return read_record(GateReport, out / "stages/significance-gate/gate.json")


def test_the_pipeline_returns_a_mapping(tmp_path):
    shared = {"publish_to": str(tmp_path / "root")}
    results = asyncio.run(QuietSTaRBaker(config(tmp_path / "run", **shared)).run_baking_pipeline())
    gate = gate_of(tmp_path / "run")
    assert (results["winner"], results["verdict"], results["published"]) == ("baseline", gate.verdict, False)
    assert results["verdict"] in ("no_bake", "inconclusive")
    assert results["p_value"] == gate.p_value
    assert results["improvement"] == pytest.approx(100 * gate.difference / gate.baseline_accuracy)
    assert results["model_path"] == str(DEMO / "champion")
    assert Path(results["report_path"]).read_text().startswith("<!DOCTYPE html>")
    assert dict(results) == json.loads((tmp_path / "run/results.json").read_text())
    assert not (tmp_path / "run/baked").exists() and not (tmp_path / "root/baked").exists()
    # Another run of the same bake ends with the verdict of the first.
    (tmp_path / "again.json").write_text(config(tmp_path / "again", **shared).model_dump_json())
    done = subprocess.run([sys.executable, "-c", LIGHT, str(tmp_path / "again.json")], capture_output=True, text=True)
    # It needs neither torch nor transformers for that, nor did it while it could have had to wait.
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    again = read_record(RunResults, tmp_path / "again/results.json")
    places = {"run_dir", "report_path"}
    assert again.model_dump(exclude=places) == {name: results[name] for name in results if name not in places}
    assert [path.name for path in (tmp_path / "again/stages").iterdir()] == ["resolve-champion"]
    (left,) = (tmp_path / "root/verdicts").iterdir()
    assert left.name == again.bake_id and (left / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_the_config_is_the_one_of_the_command_line_and_takes_the_names_users_know():
    assert QuietSTaRConfig is Config
    QuietSTaRConfig(
        model_path="m",
        output_path="o",
        start_thought_token="<|a|>",
        end_thought_token="<|b|>",
        max_thought_length=8,
        thought_probability=0.5,
        eval_dataset="gsm8k",
        eval_samples=100,
        ab_test_rounds=3,
        learning_rate=1e-5,
        num_epochs=3,
    )


def test_greedy_rounds_are_one_round_and_do_not_bake(tmp_path):
    arguments = small_arguments(tmp_path, tmp_path / "run", scenario="baseline_wins", temperature=0, ab_test_rounds=4)
    done = forge(*arguments)
    assert done.returncode == 0, done.stderr
    gate = gate_of(tmp_path / "run")
    assert (gate.rounds, gate.effective_rounds) == (4, 1)
    assert gate.verdict != "bake" and any("4 rounds are only 1 distinct" in warning for warning in gate.warnings)


def test_shards_change_where_the_work_is_done_and_nothing_else(tmp_path):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    for out, shards in ((whole, 1), (pieces, 3)):
        done = forge(*small_arguments(tmp_path, out, scenario="baseline_wins", shards=shards))
        assert done.returncode == 0, done.stderr
    assert gate_of(whole) == gate_of(pieces)
    assert len(list((pieces / "stages/evaluate-round").iterdir())) == 3


def test_evaluation_ends_at_the_first_look_that_decides_and_a_resume_goes_on_from_there(tmp_path):
    # Nothing gains 80 points here, which half of the questions are enough to find.
    used = config(tmp_path / "run", gate_looks=4, min_improvement=0.8)
    first = QuietSTaRBaker(used).run()
    gate, cells = gate_of(tmp_path / "run"), tmp_path / "run/stages/evaluate-round"
    assert (first.verdict, gate.looks.taken, gate.questions) == ("no_bake", 2, 20)
    assert sorted(cell.name for cell in cells.iterdir()) == ["0-0", "0-1"]
    assert "50.0% of the planned questions were not asked" in Path(first.report_path).read_text()
    with pytest.raises(OutputError, match="--resume"):
        QuietSTaRBaker(used).run()
    assert QuietSTaRBaker(used, resume=True).run() == first

    done = {cell.name: (cell / "receipt.json").read_bytes() for cell in cells.iterdir()}
    asking_less = used.model_copy(update={"min_improvement": 0.25})
    second = QuietSTaRBaker(asking_less, resume=True).run()
    gate = gate_of(tmp_path / "run")
    assert (second.verdict, gate.looks.taken, gate.questions) == ("inconclusive", 4, 40)
    assert len(list(cells.iterdir())) == 4
    assert all((cells / name / "receipt.json").read_bytes() == receipt for name, receipt in done.items())


def test_json_output_is_the_results_and_nothing_else(tmp_path):
    done = forge(*small_arguments(tmp_path, tmp_path / "run", "--json", "--quiet", scenario="baseline_wins"))
    assert done.returncode == 0 and done.stderr == ""
    assert json.loads(done.stdout) == json.loads((tmp_path / "run/results.json").read_text())
