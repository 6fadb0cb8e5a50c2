import json
import subprocess
import sys

import pytest
from warm_forge import run_warm


def forge(*arguments):
    return run_warm(tuple(map(str, arguments)))


def write_rows(path, accurate):
    rows = [
        {"question_id": str(q), "round": 0, "arm": arm, "correct": arm == accurate, "completion": f"{arm}{q}"}
        for q in range(60)
        for arm in ("baseline", "thought")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("accurate", "code"), [("thought", 0), ("baseline", 10)])
def test_gate_exit_code_follows_the_verdict(tmp_path, accurate, code):
    done = forge("gate", write_rows(tmp_path / "r.jsonl", accurate), "--out", tmp_path, "--exit-code")
    assert done.returncode == code, done.stderr
    assert json.loads((tmp_path / "gate.json").read_text())["questions"] == 60


def test_the_gate_takes_one_of_the_planned_looks(tmp_path):
    rows = write_rows(tmp_path / "r.jsonl", "thought")
    done = forge("gate", rows, "--out", tmp_path, "--looks", "30,60,90")
    assert done.returncode == 0 and done.stdout.startswith("bake: At look 2 of 3: "), done.stderr
    assert json.loads((tmp_path / "gate.json").read_text())["looks"]["taken"] == 2


def test_help_does_not_import_torch():
    code = (
        "import sys; from agent_forge import cli; from typer.testing import CliRunner;"
        "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["bake-quietstar", "--model", "./none", "--out", "{tmp}/run", "--eval-dataset", "arithmetic"],
        ["bake-quietstar", "--out", "{tmp}/run"],
        ["bake-quietstar", "--model", "x", "--out", "{tmp}/run", "--set", "alfa=0.1"],
        ["bake-quietstar", "--model", "x", "--out", "{tmp}/run", "--nonsense"],
        ["gate", "{tmp}/none.jsonl", "--out", "{tmp}"],
        ["gate", "{tmp}/none.jsonl", "--out", "{tmp}", "--looks", "200,100"],
        ["stage", "no-such-stage", "--executor-input", "{{}}"],
        ["config"],
        ["verify-artifact", "{tmp}"],
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments):
    done = forge(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("forge: ")
    assert list(tmp_path.iterdir()) == []
