"""The commands that answer one question, run in this process through the command line's own entry."""

import json
import sys

import pytest

from agent_forge import cli


@pytest.fixture
def forge(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["forge", *map(str, arguments)])
        code = cli._run()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def questions(tmp_path):
    rows = [
        {"id": "a", "prompt": "Tom has 3 apples and buys 4. How many?", "reference": "7", "kind": "number"},
        {"id": "b", "prompt": "Which is red? A) sky B) blood", "reference": "B", "kind": "choice"},
    ]
    return write_lines(tmp_path / "questions.jsonl", rows)


def test_grade_prints_one_row_per_completion_in_order(forge, tmp_path, questions):
    rows = [{"id": "b", "completion": "The answer is B."}, {"id": "a", "completion": "#### 8", "arm": "baseline"}]
    code, out, err = forge("grade", "--questions", questions, write_lines(tmp_path / "c.jsonl", rows))
    graded = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [(row["id"], row["extracted"], row["correct"]) for row in graded] == [("b", "B", True), ("a", "8", False)]
    assert set(graded[0]) == {"id", "extracted", "correct", "reason"}


def test_grade_refuses_an_id_that_is_no_question(forge, tmp_path, questions):
    completions = write_lines(tmp_path / "c.jsonl", [{"id": "z", "completion": "7"}])
    code, out, err = forge("grade", "--questions", questions, completions)
    assert (code, out) == (2, "") and "z" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["grade", "{tmp}/c.jsonl"],
        ["grade", "--questions", "{tmp}/questions.jsonl", "--dataset", "arithmetic", "{tmp}/questions.jsonl"],
        ["grade", "--questions", "{tmp}/questions.jsonl", "{tmp}/none.jsonl"],
        ["grade", "--questions", "{tmp}/questions.jsonl", "{tmp}/empty.jsonl"],
        ["grade", "--dataset", "gsm8", "{tmp}/empty.jsonl"],
        ["overlap", "{tmp}/questions.jsonl", "{tmp}/none.jsonl"],
        ["report", "{tmp}"],
        ["plan", "--effect", "0.01"],
        ["plan", "--power", "1.5"],
        ["calibrate", "--questions", "1"],
        ["calibrate", "--effect", "0.9"],
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(forge, tmp_path, questions, arguments):
    (tmp_path / "empty.jsonl").write_text("")
    code, out, err = forge(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (code, out, len(err.splitlines())) == (2, "", 1) and err.startswith("forge: ")


def test_overlap_finds_a_planted_leak_and_says_so_by_exit_code(forge, tmp_path, questions):
    words = " ".join(f"word{n}" for n in range(20))
    leak = [{"prompt": f"Before that {words}", "reference": "1", "kind": "number"}]
    other = [{"prompt": f"{words} and afterwards", "reference": "1", "kind": "number"}]
    first, second = write_lines(tmp_path / "x.jsonl", leak), write_lines(tmp_path / "y.jsonl", other)
    code, out, err = forge("overlap", first, second)
    assert code == 1 and json.loads(out)["shared"].startswith("word0 word1") and "1 of 1" in err
    assert forge("overlap", first, questions) == (0, "", "")


def test_overlap_shows_twins_as_a_second_class_that_is_no_failure(forge, tmp_path):
    def row(name, prompt):
        return {"id": name, "prompt": prompt, "reference": "1", "kind": "number"}

    text = "Tom has {} apples and buys {} more in the market that is beside the church. How many has he?"
    first = write_lines(tmp_path / "x.jsonl", [row("a", "Which?"), row("b", text.format(3, 4)), row("c", "Is 3 odd?")])
    second = write_lines(tmp_path / "y.jsonl", [row("d", text.format(3, "twelve")), row("e", "Is 5 odd?")])
    write_lines(tmp_path / "z.jsonl", [row("f", "Is 5 odd?")])
    code, out, err = forge("overlap", first, second)
    assert [(r["first"], r["second"], r["class"]) for r in map(json.loads, out.splitlines())] == [
        ("b", "d", "leak"),
        ("c", "e", "twin"),
    ]
    assert code == 1 and "1 of 3" in err
    code, out, err = forge("overlap", first, tmp_path / "z.jsonl")
    assert (code, err) == (0, "") and json.loads(out)["shared"] == "is 0 odd" and json.loads(out)["class"] == "twin"


def test_overlap_names_the_first_leak_of_every_item_in_order(forge, tmp_path):
    words = [f"word{n}" for n in range(60)]
    rows = [{"id": f"q{n}", "prompt": " ".join(words[n:]), "reference": "1", "kind": "number"} for n in range(40)]
    first, second = write_lines(tmp_path / "x.jsonl", rows[::-1]), write_lines(tmp_path / "y.jsonl", rows)
    _, out, _ = forge("overlap", first, second)
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["first"] for row in found] == [f"q{n}" for n in reversed(range(40))]
    assert all(row["second"] == "q0" for row in found)
    assert [row["shared"].split()[0] for row in found] == [f"word{n}" for n in reversed(range(40))]


def test_plan_asks_for_fewer_questions_with_more_rounds(forge):
    code, out, _ = forge("plan", "--effect", "0.05", "--power", "0.8", "--json")
    needed = [option["questions"] for option in json.loads(out)["options"]]
    assert code == 0 and needed == sorted(needed, reverse=True) and len(set(needed)) == len(needed)


def test_plan_and_calibrate_print_tables(forge):
    assert "562" in forge("plan")[1]
    code, out, _ = forge("calibrate", "--experiments", "20", "--questions", "30")
    assert code == 0 and "sampled" in out and "duplicated" in out


def test_calibrate_is_a_function_of_its_seed(forge):
    arguments = ("calibrate", "--experiments", "20", "--questions", "30", "--json", "--seed")
    assert forge(*arguments, "3") == forge(*arguments, "3") != forge(*arguments, "4")


def test_explain_adds_a_field_and_changes_no_grade(forge, tmp_path, questions):
    completions = write_lines(tmp_path / "c.jsonl", [{"id": "a", "completion": "3 + 4\n#### 7"}])
    plain = json.loads(forge("grade", "--questions", questions, completions)[1])
    explained = json.loads(forge("grade", "--explain", "--questions", questions, completions)[1])
    explanation = explained.pop("explanation")
    assert explained == plain
    assert (explanation["place"], explanation["excerpt"], explanation["reference"]) == ("hash", "#### 7", "7")
