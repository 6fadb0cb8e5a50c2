"""Code on the command line: refused unless it is allowed and the sandbox is there, judged by its tests otherwise."""

import json
import sys

import pytest
from refusals import mentions, run_arguments

from agent_forge import cli
from agent_forge.config import STAGE_NAMES, QuietSTaRConfig, narrowed, result_values, stage_values
from agent_forge.errors import InputError
from agent_forge.records import Question, SplitReport, rows_text
from agent_forge.sandbox.probe import require_sandbox
from agent_forge.stages.context import StageContext
from agent_forge.stages.registry import find_stage


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def questions(tmp_path):
    """Questions that the bundled champion can read; it answers with numbers, never with a program."""
    rows = [
        {
            "prompt": f"{a} + {b} =",
            "kind": "code",
            "reference": json.dumps({"names": ["f"], "tests": f"assert f() == {a + b}\n"}),
        }
        for a in range(3, 10)
        for b in range(3, 10)
    ]
    return write_lines(tmp_path / "programs.jsonl", rows)


@pytest.fixture
def arguments(tmp_path, questions):
    changes = {"eval_samples": 2, "verify_samples": 2, "bake_samples": 2}
    return run_arguments(tmp_path, eval_dataset=str(questions), **changes)


@pytest.fixture
def without_bwrap(monkeypatch, tmp_path):
    require_sandbox.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    yield
    require_sandbox.cache_clear()


@pytest.fixture
def forge(monkeypatch, capsys):
    def run(*given):
        monkeypatch.setattr(sys, "argv", ["forge", *map(str, given)])
        code = cli._run()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_run_without_permission_is_refused_before_anything_is_written(refusal, arguments, tmp_path):
    mentions(refusal(*arguments), ["code", "--allow-code-execution", "allow_code_execution"])
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_sandbox_is_refused_before_anything_is_written(refusal, arguments, tmp_path, without_bwrap):
    mentions(refusal(*arguments, "--allow-code-execution"), ["bwrap", "scripts/install_sandbox.sh"])
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_allowed_judges_by_running(forge, arguments, tmp_path):
    code, out, err = forge(*arguments, "--allow-code-execution", "--json", "--quiet")
    assert code == 0, err
    results = json.loads(out)
    assert (results["baseline_accuracy"], results["thought_accuracy"]) == (0.0, 0.0)
    found = (tmp_path / "out").glob("stages/evaluate-round/*/results.jsonl")
    rows = [json.loads(line) for path in found for line in path.read_text().splitlines()]
    assert len(rows) == 6
    assert {row["correct"] for row in rows} == {False}


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_every_stage_is_told_and_no_result_depends_on_it(stage):
    config = QuietSTaRConfig(model_path="m", output_path="o", allow_code_execution=True)
    assert narrowed(config, stage).allow_code_execution
    assert "allow_code_execution" not in stage_values(config, stage)
    assert "allow_code_execution" not in result_values(config)


@pytest.mark.parametrize("stage", ["evaluate-round", "collect-traces", "verify"])
def test_stages_refuse_before_they_load_a_model(tmp_path, stage):
    question = Question(id="add", prompt="Add.", reference=ADD["reference"], kind="code")
    for split in ("bake", "gate", "verify"):
        (tmp_path / f"{split}.jsonl").write_text(rows_text([question]))
    (tmp_path / "splits.json").write_text(SPLITS.model_dump_json())
    context = StageContext(
        config=QuietSTaRConfig(model_path="m", output_path="o"),
        inputs={"questions": (tmp_path,)},
        parameters={"cell": "0-0", "shard": "0"},
        outputs={},
        scratch=tmp_path,
    )
    with pytest.raises(InputError, match="--allow-code-execution"):
        find_stage(stage).run(context)


SPLITS = SplitReport(
    counts={}, per_task={}, guard_tasks=(), digests={}, available={}, dropped=(), duplicates_removed=0, sources={}
)
ADD = {"id": "add", "prompt": "Write add(a, b).", "kind": "code"}
ADD["reference"] = json.dumps({"names": ["add"], "tests": "assert add(1, 2) == 3\n"})
GIVEN = [
    ("```python\ndef add(a, b):\n    return a + b\n```", True, "passed"),
    ("def add(a, b):\n    import os\n    os._exit(0)\n", False, "ended: its process ended itself"),
    ("def add(a, b):\n    return a - b\n", False, "wrong answer: assert add(1, 2) == 3"),
    ("I cannot.", False, "no program"),
]


def test_grade_runs_programs_when_it_may(forge, tmp_path):
    asked = write_lines(tmp_path / "questions.jsonl", [ADD])
    rows = write_lines(tmp_path / "c.jsonl", [{"id": "add", "completion": completion} for completion, _, _ in GIVEN])
    code, out, err = forge("grade", "--allow-code-execution", "--questions", asked, rows)
    graded = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [(row["correct"], row["reason"]) for row in graded] == [(right, reason) for _, right, reason in GIVEN]
    assert graded[0]["extracted"] == "def add(a, b):\n    return a + b"


def test_grade_refuses_to_run_programs_otherwise(forge, tmp_path):
    asked = write_lines(tmp_path / "questions.jsonl", [ADD])
    rows = write_lines(tmp_path / "c.jsonl", [{"id": "add", "completion": "def add(a, b): return a + b"}])
    code, out, err = forge("grade", "--questions", asked, rows)
    assert (code, out, err.count("\n")) == (2, "", 1) and "--allow-code-execution" in err


def test_grade_refuses_a_reference_without_tests(forge, tmp_path):
    asked = write_lines(tmp_path / "questions.jsonl", [ADD | {"reference": "def add(a, b): return a + b"}])
    code, out, err = forge("grade", "--allow-code-execution", "--questions", asked, asked)
    assert (code, out, err.count("\n")) == (2, "", 1) and "tests" in err
