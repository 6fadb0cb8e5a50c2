"""The audit of graders from the command line."""

import json
import sys

import pytest

from agent_forge import cli
from agent_forge.audit import check
from agent_forge.records import Grade


@pytest.fixture
def forge(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["forge", *map(str, arguments)])
        code = cli._run()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def questions(tmp_path):
    rows = [{"id": str(n), "prompt": f"Question {n}?", "reference": str(n), "kind": "number"} for n in (12, 345)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_sound_grades_exit_0(forge, questions):
    code, out, err = forge("audit-grader", questions, "--json")
    found = json.loads(out)
    assert (code, err, found["questions"], found["false_positives"]) == (0, "", 2, 0)


def test_limit_takes_the_first_questions(forge, questions):
    assert json.loads(forge("audit-grader", questions, "--json", "--limit", 1)[1])["questions"] == 1


def test_a_wrong_answer_accepted_exits_1_and_is_shown(forge, questions, monkeypatch):
    monkeypatch.setattr(check, "grade", lambda *_: Grade(extracted=None, correct=True, reason=""))
    code, out, err = forge("audit-grader", questions)
    assert code == 1 and len(err.splitlines()) == 1 and "wrong ones accepted" in err
    assert "reject       0/2      'empty completion'" in out


def test_an_unknown_data_set_is_one_line_and_exit_2(forge):
    code, out, err = forge("audit-grader", "gsm8")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
