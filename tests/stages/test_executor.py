"""The contract of a container: the executor input of Kubeflow Pipelines in, files and an executor output out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_forge.errors import ForgeError, InputError
from agent_forge.records import Cost, GateReport, read_record
from agent_forge.stages import executor
from agent_forge.stages.context import Silent, Stage, StageContext, StageOutcome
from agent_forge.stages.executor import artifact_path, run_executor_input
from agent_forge.stages.pipeline_limits import MOST_COLLECTED, on_a_volume
from agent_forge.stages.registry import find_stage

CONFIG = json.dumps({"model_path": "m", "output_path": "o", "eval_dataset": ["arithmetic"], "eval_samples": 20})


def rows(round_number: int, thought_right: bool) -> str:
    return "".join(
        json.dumps(
            {
                "question_id": f"q{number}",
                "round": round_number,
                "arm": arm,
                "correct": arm == "thought" and thought_right,
                "completion": f"{arm} {number} {round_number}",
            }
        )
        + "\n"
        for number in range(40)
        for arm in ("baseline", "thought")
    )


def gate_input(tmp_path: Path, cells: list[str]) -> str:
    """The executor input of the gate after a fan-out, artifacts in the order given."""
    artifacts = []
    for number, text in enumerate(cells):
        (tmp_path / f"cell-{number}").write_text(text)
        artifacts.append({"name": f"results-{number}", "uri": str(tmp_path / f"cell-{number}"), "metadata": {}})
    described = {
        "inputs": {"parameterValues": {"config": CONFIG}, "artifacts": {"results": {"artifacts": artifacts}}},
        "outputs": {
            "parameters": {"verdict": {"outputFile": str(tmp_path / "out/verdict")}},
            "artifacts": {
                "gate": {"artifacts": [{"name": "gate", "uri": str(tmp_path / "out/gate")}]},
                "evaluation": {"artifacts": [{"name": "evaluation", "uri": str(tmp_path / "out/evaluation")}]},
                "metrics": {"artifacts": [{"name": "metrics", "uri": str(tmp_path / "out/metrics")}]},
            },
            "outputFile": str(tmp_path / "out/executor_output.json"),
        },
    }
    return json.dumps(described)


def test_parameters_artifacts_and_metrics_are_written_where_the_pipeline_says(tmp_path):
    run_executor_input("significance-gate", gate_input(tmp_path, [rows(0, True), rows(1, True)]), Silent())
    report = read_record(GateReport, tmp_path / "out/gate")
    assert (tmp_path / "out/verdict").read_text() == report.verdict == "bake"
    (metrics,) = json.loads((tmp_path / "out/executor_output.json").read_text())["artifacts"]["metrics"]["artifacts"]
    assert metrics["name"] == "metrics" and metrics["uri"] == str(tmp_path / "out/metrics")
    assert metrics["metadata"]["thought_accuracy"] == 1.0


def test_collected_artifacts_may_come_in_any_order(tmp_path):
    cells = [rows(0, True), rows(1, False), rows(2, True)]
    reports = []
    for name, order in (("one", cells), ("other", cells[::-1])):
        (tmp_path / name).mkdir()
        run_executor_input("significance-gate", gate_input(tmp_path / name, order), Silent())
        reports.append((tmp_path / name / "out/gate").read_bytes())
    assert reports[0] == reports[1]


def test_lists_go_out_as_json_parameters(tmp_path):
    text = json.dumps(
        {
            "inputs": {"parameterValues": {"config": json.loads(CONFIG)}},
            "outputs": {
                "parameters": {
                    name: {"outputFile": str(tmp_path / name)} for name in ("cells", "shards", "not-written-by-it")
                },
                "artifacts": {"questions": {"artifacts": [{"name": "questions", "uri": str(tmp_path / "q")}]}},
            },
        }
    )
    run_executor_input("prepare-questions", text, Silent())
    assert json.loads((tmp_path / "cells").read_text()) == ["0-0", "1-0", "2-0"]
    assert json.loads((tmp_path / "shards").read_text()) == ["0"]
    assert not (tmp_path / "not-written-by-it").exists()
    assert sorted(path.name for path in (tmp_path / "q").iterdir()) == [
        "bake.jsonl",
        "gate.jsonl",
        "splits.json",
        "verify.jsonl",
    ]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://b/k", "/minio/b/k"),
        ("s3://b/k/x", "/s3/b/k/x"),
        ("gs://b/k", "/gcs/b/k"),
        ("file:///tmp/x", "/tmp/x"),
        ("/tmp/x", "/tmp/x"),
    ],
)
def test_an_artifact_lies_at_its_uri_with_the_scheme_as_a_folder(uri, path):
    assert artifact_path(uri) == Path(path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("no-such-stage", "{}", "unknown stage"),
        ("significance-gate", "not json", "executor input"),
        ("significance-gate", json.dumps({"inputs": {"parameterValues": {"config": "["}}}), "not JSON"),
        ("significance-gate", json.dumps({"inputs": {"parameterValues": {"config": "[]"}}}), "JSON object"),
        ("significance-gate", json.dumps({"inputs": {"parameterValues": {"config": CONFIG}}}), "results is missing"),
        (
            "significance-gate",
            json.dumps({"inputs": {"parameterValues": {"config": '{"alfa": 1}'}}}),
            "alpha",
        ),
    ],
)
def test_a_bad_executor_input_is_one_line(name, text, said):
    with pytest.raises(ForgeError) as caught:
        run_executor_input(name, text, Silent())
    assert said in str(caught.value) and caught.value.exit_code == 2


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match="ftp"):
        artifact_path("ftp://b/k")


def test_warnings_of_a_stage_are_in_its_outcome_once(tmp_path, monkeypatch):
    judge = find_stage("significance-gate").run

    def warned(context: StageContext) -> StageOutcome:
        context.warn("memory ran out")
        context.warn("memory ran out")
        return judge(context)

    stage = Stage("significance-gate", warned, ("results",), ("gate",))
    monkeypatch.setattr("agent_forge.stages.significance_gate.STAGE", stage)
    outcome = run_executor_input("significance-gate", gate_input(tmp_path, [rows(0, True)]), Silent())
    assert outcome.warnings == ("memory ran out",)


def test_fields_given_on_their_own_win_over_the_configuration(tmp_path):
    values = {"config": CONFIG, "ab_test_rounds": 2, "eval_samples": "", "shards": 1.0}
    outputs = {
        "parameters": {"cells": {"outputFile": str(tmp_path / "cells")}},
        "artifacts": {"questions": {"artifacts": [{"name": "questions", "uri": str(tmp_path / "q")}]}},
    }
    run_executor_input(
        "prepare-questions", json.dumps({"inputs": {"parameterValues": values}, "outputs": outputs}), Silent()
    )
    assert json.loads((tmp_path / "cells").read_text()) == ["0-0", "1-0"]
    assert len((tmp_path / "q/gate.jsonl").read_text().splitlines()) == 20


def test_without_a_configuration_a_bundled_champion_is_run_as_it_is_meant_to_be(tmp_path):
    def told(**values) -> dict:
        outputs = {
            "parameters": {"full_config": {"outputFile": str(tmp_path / "config")}},
            "artifacts": {"champion": {"artifacts": [{"name": "champion", "uri": str(tmp_path / "champion.json")}]}},
        }
        values = {"model_path": "bundled://champion", "output_path": "pipeline://", "eval_samples": 20, **values}
        text = json.dumps({"inputs": {"parameterValues": values}, "outputs": outputs})
        run_executor_input("resolve-champion", text, Silent())
        return json.loads((tmp_path / "config").read_text())

    assert (told(config="")["thought_prompt"], told(config="")["eval_samples"]) == ("Steps:", 20)
    assert "thought_prompt" not in told(config="{}", eval_dataset="arithmetic")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"gate_looks": 2}', "gate_looks is 2, but the pipeline evaluates all cells side by side"),
        ('{"ab_test_rounds": 3, "shards": 34}', "102 cells, and the pipeline can hand at most 100 to the gate"),
        ('{"signing_key_file": "/no/key"}', "/no/key"),
        ('{"eval_dataset": "gsm8k"}', "eval_dataset is gsm8k in config and arithmetic as a parameter of its own"),
    ],
)
def test_the_pipeline_refuses_what_only_one_machine_can(tmp_path, config, said):
    values = {"model_path": "bundled://champion", "output_path": "pipeline://", "eval_dataset": "arithmetic"}
    values["config"] = config
    outputs = {"artifacts": {"champion": {"artifacts": [{"name": "champion", "uri": str(tmp_path / "champion.json")}]}}}
    text = json.dumps({"inputs": {"parameterValues": values}, "outputs": outputs})
    with pytest.raises(InputError, match=said):
        run_executor_input("resolve-champion", text, Silent())


@pytest.mark.parametrize(
    ("config", "parameter"),
    [('{"eval_dataset": ["arithmetic"]}', "arithmetic"), ('{"eval_samples": 200}', 200.0), (" ", 3), ("{}", "3.0")],
)
def test_a_field_may_be_said_twice_when_it_is_the_same(config, parameter):
    name = "eval_dataset" if parameter == "arithmetic" else "eval_samples"
    told = executor._config({"model_path": "bundled://champion", "output_path": "o", "config": config, name: parameter})
    assert getattr(told, name) == (("arithmetic",) if name == "eval_dataset" else int(float(parameter)))


def test_a_directory_of_the_pod_is_no_place_to_publish_to(monkeypatch):
    def refused(place: str) -> str:
        uri = "minio://mlpipeline/v2/artifacts/champion"
        values = {"model_path": "bundled://champion", "output_path": place}
        outputs = {"artifacts": {"champion": {"artifacts": [{"name": "champion", "uri": uri}]}}}
        with pytest.raises(InputError) as error:
            run_executor_input(
                "resolve-champion", json.dumps({"inputs": {"parameterValues": values}, "outputs": outputs}), Silent()
            )
        return str(error.value)

    monkeypatch.setattr(os.path, "ismount", lambda place: str(place) in ("/", "/tmp", "/models"))
    for place in ("pipeline", "models", "/", "/no/such/volume", "/tmp/baked", "/models/../baked"):
        assert refused(place).startswith(f"{place} is in the pod")
    assert on_a_volume(Path("/models/baked")) and on_a_volume(Path("/models"))


def test_as_many_cells_as_the_pipeline_allows_fit_into_one_argument_of_the_gate(tmp_path):
    """As a backend describes artifacts: where each lies, and what its store is reached by."""
    described = json.loads(gate_input(tmp_path, [rows(0, True)]))
    store = {
        "Provider": "minio",
        "Params": {
            "accessKeyKey": "accesskey",
            "disableSSL": "true",
            "endpoint": "seaweedfs.kubeflow.svc.cluster.local:9000",
            "forcePathStyle": "true",
            "fromEnv": "false",
            "maxRetries": "5",
            "region": "us-east-1",
            "secretKeyKey": "secretkey",
            "secretName": "mlpipeline-minio-artifact",
        },
    }
    root = f"minio://{'b' * 63}/private-artifacts/{'n' * 63}/v2/artifacts/quietstar-bake"
    artifact = {
        "name": "1234567890",
        "type": {"schemaTitle": "system.Dataset"},
        "uri": f"{root}/{'1' * 36}/evaluate-round/{'2' * 36}/results",
        "metadata": {"display_name": "results", "store_session_info": json.dumps(store)},
    }
    described["inputs"]["artifacts"]["results"]["artifacts"] = [artifact] * MOST_COLLECTED
    most = os.sysconf("SC_PAGESIZE") * 32
    assert len(json.dumps(described)) < 0.75 * most


def test_the_gate_knows_by_the_questions_which_look_it_takes(tmp_path):
    config = json.dumps(json.loads(CONFIG) | {"eval_samples": 80, "gate_looks": 2})
    text = gate_input(tmp_path, [rows(0, True), rows(1, True)]).replace(json.dumps(CONFIG), json.dumps(config))
    run_executor_input("significance-gate", text, Silent())
    report = read_record(GateReport, tmp_path / "out/gate")
    assert (report.verdict, report.looks.taken) == ("bake", 1)
    assert [look.questions for look in report.looks.planned] == [40, 80]


def test_what_a_container_dies_of_is_left_where_kubernetes_reads_it(tmp_path):
    log = tmp_path / "termination-log"
    log.touch()
    command = [sys.executable, "-m", "agent_forge.cli", "stage", "significance-gate", "--executor-input", "{}"]
    done = subprocess.run(
        command, env=os.environ | {"FORGE_TERMINATION_LOG": str(log)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr == log.read_text() + "\n" != "\n"


def test_scratch_that_nobody_named_is_removed_and_a_named_one_is_kept(tmp_path, monkeypatch):
    made = []

    def run(context: StageContext) -> StageOutcome:
        (context.scratch / "half").write_text("")
        made.append(context.scratch)
        if context.parameters.get("fails"):
            raise InputError("fails")
        return StageOutcome(cost=Cost(seconds=0.0))

    monkeypatch.setattr(executor, "find_stage", lambda name: Stage(name, run, (), ()))

    def given(**values: str) -> str:
        return json.dumps({"inputs": {"parameterValues": {"config": CONFIG, **values}}})

    (tmp_path / "named").mkdir()
    run_executor_input("bake", given(), Silent())
    with pytest.raises(InputError):
        run_executor_input("bake", given(fails="yes"), Silent())
    run_executor_input("bake", given(scratch=str(tmp_path / "named")), Silent())
    assert [path.exists() for path in made] == [False, False, True]
