import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.errors import InputError, QuestionError
from agent_forge.questions.normalise import question_id
from agent_forge.questions.sources import NAMES, TaskQuestions, gsm8k, load_task, mathematics, reasoning
from agent_forge.records import Question, rows_text

OWN = {"prompt": "What is 2 + 2?", "reference": "4", "kind": "number"}
GSM8K = {
    "question": "A robe takes 2 bolts of blue and half that of white. How many in all?",
    "answer": "2/2=1\n2+1=3\n#### 3",
}
MATH = {
    "problem": "Simplify $(-k + 4) + (-2 + 3k)$.",
    "solution": "We have $-k + 4 - 2 + 3k = \\boxed{2k+2}$.",
    "answer": "2k+2",
    "subject": "Prealgebra",
    "level": 2,
}
ARC = {
    "id": "Mercury_SC_415702",
    "question": "Which skin surface will produce the most heat?",
    "choices": {"text": ["dry palms", "wet palms", "oily palms"], "label": ["A", "B", "C"]},
    "answerKey": "A",
}
NESTED = {
    "question": {
        "stem": "Which skin surface will produce the most heat?",
        "choices": [{"label": "1", "text": "wet palms"}, {"label": "2", "text": "dry palms"}],
    },
    "answerKey": "2",
}
ROWS = {"gsm8k": GSM8K, "math": MATH, "reasoning": ARC}


def written(path: Path, rows: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def data_directory(root: Path, name: str, train: Sequence[object] = (), test: Sequence[object] = ()) -> str:
    for part, rows in (("train", train), ("test", test)):
        if rows:
            written(root / name / f"{part}.jsonl", rows)
    return str(root)


def only(found: TaskQuestions, part: str = "any") -> Question:
    (question,) = found.parts[part]
    return question


def test_a_file_of_questions_has_one_part_that_every_split_draws_from(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.jsonl", [OWN])
    found = load_task(str(path))
    assert set(found.parts) == {"any"} and found.task == "mine" and found.source == str(path)
    assert only(found) == Question(id=question_id(OWN["prompt"]), task="mine", **OWN)


def test_questions_written_by_this_package_are_read_back(tmp_path: Path) -> None:
    question = Question(id="7", prompt="2 + 2\u2028now?", reference="4", kind="number", task="sums")
    path = tmp_path / "gate.jsonl"
    path.write_text(rows_text([question]), encoding="utf-8")
    found = load_task(str(path))
    assert found.task == "sums" and only(found) == question


def test_blank_lines_a_byte_order_mark_and_a_missing_last_newline_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf\r\n\n"
        + json.dumps(OWN).encode()
        + b"\r\n  \n"
        + b'{"prompt": "1?", "reference": "1", "kind": "text"}'
    )
    assert [question.prompt for question in load_task(str(path)).parts["any"]] == [OWN["prompt"], "1?"]


@pytest.mark.parametrize("folder", ["gsm8k", "."])
def test_gsm8k_comes_from_a_directory(tmp_path: Path, folder: str) -> None:
    root = data_directory(
        tmp_path, folder, [GSM8K], [{**GSM8K, "question": "How much is it?", "answer": "So\n#### 1,250"}]
    )
    found = load_task("gsm8k", root)
    assert (only(found, "train").reference, only(found, "test").reference) == ("3", "1250")
    assert {question.kind for part in found.parts.values() for question in part} == {"number"}
    assert grade("number", GSM8K["answer"], "3", GSM8K["question"]).correct


def test_math_comes_from_a_directory_with_or_without_train_questions(tmp_path: Path) -> None:
    root = data_directory(tmp_path, "math500", test=[MATH])
    assert only(load_task("math", root), "test") == Question(
        id=question_id(MATH["problem"]), prompt=MATH["problem"], reference="2k+2", kind="math", task="math"
    )
    assert set(load_task("math", root).parts) == {"test"}
    data_directory(
        tmp_path, "math500", train=[{"problem": "What is one half?", "solution": r"It is $\boxed{\frac{1}{2}}$."}]
    )
    assert only(load_task("math", root), "train").reference == r"\frac{1}{2}"


@pytest.mark.parametrize(
    ("solution", "answer"), [(r"\boxed{1}, or rather \boxed{2}", "2"), (r"It is $\boxed 3$.", "3")]
)
def test_the_answer_of_an_original_math_row_is_its_last_box(solution: str, answer: str) -> None:
    assert mathematics.read_row({"problem": "How many?", "solution": solution}, "here:1").reference == answer


@pytest.mark.parametrize("row", [ARC, NESTED])
def test_multiple_choice_is_read_in_both_forms(row: dict[str, object], tmp_path: Path) -> None:
    question = only(load_task("reasoning", data_directory(tmp_path, "reasoning", test=[row])), "test")
    assert question.kind == "choice"
    right = "A" if row is ARC else "B"
    assert question.reference == right
    assert f"\n{right}) dry palms" in question.prompt
    for answer in (right, "dry palms", f"The answer is {right}) dry palms."):
        assert grade("choice", answer, question.reference, question.prompt).correct
    assert not grade("choice", "wet palms", question.reference, question.prompt).correct


@pytest.mark.parametrize("file", ["test", "validation", "dev"])
def test_validation_questions_stand_in_for_test_questions_without_answers(tmp_path: Path, file: str) -> None:
    written(tmp_path / "commonsenseqa" / f"{file}.jsonl", [NESTED])
    assert only(load_task("reasoning", str(tmp_path)), "test").reference == "B"


texts = st.text(min_size=1, max_size=30).map(lambda text: f"w{text}")


@given(st.lists(texts, min_size=2, max_size=8), st.data())
def test_every_option_of_any_text_can_be_the_answer(options: list[str], data: st.DataObject) -> None:
    labels = [str(number) for number in range(1, len(options) + 1)]
    key = data.draw(st.sampled_from(labels))
    row = {"question": "Which?", "choices": {"text": options, "label": labels}, "answerKey": key}
    question = reasoning.read_row(row, "here:1")
    right = "ABCDEFGH"[int(key) - 1]
    for letter in "ABCDEFGH"[: len(options)]:
        assert grade("choice", letter, question.reference, question.prompt).correct == (letter == right)


def test_code_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match="sandbox"):
        load_task("code", "/nowhere")


def test_the_bundled_questions_need_no_file() -> None:
    found = load_task("arithmetic")
    assert set(found.parts) == {"any"} and len(found.parts["any"]) == 6000


@pytest.mark.parametrize("name", ["gsm8k", "math", "reasoning"])
def test_rows_from_the_hub_are_read_like_those_of_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load_dataset(repository: str, configuration: str | None, split: str) -> list[object]:
        asked.append((repository, split))
        return [ROWS[name]]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    found = load_task(name)
    local = load_task(name, data_directory(tmp_path, name, [ROWS[name]], [ROWS[name]]))
    assert found.parts["test"] == local.parts["test"]
    assert set(found.parts["train"]) == set(local.parts["train"])
    assert {split for _, split in asked} == {"train", "test"}
    assert all(repository in found.source for repository, _ in asked)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object, **__: object) -> list[object]:
        raise ConnectionError("no route\nto the host")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(QuestionError, match=r"openai/gsm8k \(no route\).*dataset_path") as caught:
        load_task("gsm8k")
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(QuestionError, match=r"agent-forge\[datasets\]"):
        load_task("reasoning")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm9k", "unknown data set gsm9k; did you mean gsm8k"),
        (
            "zzz",
            "unknown data set zzz; expected arithmetic, gsm8k, math, reasoning, code or a .jsonl file",
        ),
        ("", "unknown data set"),
        ("x" * 5000, "unknown data set"),
        ("none.jsonl", "cannot read questions none.jsonl"),
        ("no/such/file", "cannot read questions no/such/file"),
        ("a\0b.jsonl", "cannot read questions"),
        (".", "unknown data set"),
    ],
)
def test_a_name_that_is_no_data_set_is_refused(name: str, message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        load_task(name)


def test_a_file_named_like_a_data_set_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).write_text("")
    assert load_task("arithmetic").source == "generated, seed 0"


LINES = {
    "not json": "not JSON",
    '{"prompt": ': "not JSON",
    "[" * 100_000: "not JSON",
    "[1]": "a list; one JSON object",
    "7": "a int; one JSON object",
    '{"reference": "4", "kind": "number"}': "prompt: Field required; found reference, kind",
    '{"prompt": "", "reference": "4", "kind": "number"}': "prompt is ''; a text is expected",
    '{"prompt": " \\n ", "reference": "4", "kind": "number"}': "prompt is .*; a text is expected",
    '{"prompt": "2 + 2?", "kind": "number"}': "reference: Field required",
    '{"prompt": "2 + 2?", "reference": 4, "kind": "number"}': "reference: Input should be a valid string",
    '{"prompt": "2 + 2?", "reference": "4", "kind": "sum"}': "kind: Input should be",
    '{"prompt": "2 + 2?", "reference": "4", "kind": "number", "level": 1}': "level: Extra inputs",
    '{"prompt": "2 + 2?", "reference": "four or so", "kind": "number"}': "is not exactly one number",
    '{"prompt": "2?\\nA) 1\\nB) 2", "reference": "C", "kind": "choice"}': "neither a letter nor the text",
    '{"prompt": "2?", "reference": " ", "kind": "text"}': "is empty",
    '{"prompt": "\\ud800", "reference": "4", "kind": "number"}': "prompt: Input should be a valid string",
    json.dumps(OWN): "occurs twice, first in .*mine.jsonl:1; ids must be unique",
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:30])
def test_a_bad_line_is_named_with_its_file_and_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps(OWN)}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(QuestionError, match=LINES[line]) as caught:
        load_task(str(path))
    assert str(caught.value).startswith(f"{path}:3: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(QuestionError, match=r"mine.jsonl holds no questions"):
        load_task(str(path))
    written(tmp_path / "gsm8k" / "train.jsonl", [GSM8K])
    (tmp_path / "gsm8k" / "test.jsonl").write_bytes(content)
    with pytest.raises(QuestionError, match=r"test.jsonl holds no questions"):
        load_task("gsm8k", str(tmp_path))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(QuestionError, match=r"cannot read questions .*mine.jsonl"):
        load_task(str(path))
    with pytest.raises(QuestionError, match="cannot read questions"):
        load_task(f"{tmp_path}/")


BAD_ROWS = (
    *(
        (gsm8k, {**GSM8K, **change})
        for change in ({"question": None}, {"question": " "}, {"answer": "3"}, {"answer": "#### some"})
    ),
    (gsm8k, {"answer": "#### 3"}),
    (mathematics, {"problem": "How many?"}),
    (mathematics, {"problem": "How many?", "solution": "Three."}),
    (mathematics, {**MATH, "answer": ""}),
    (mathematics, {"solution": r"\boxed{1}"}),
    (reasoning, {**ARC, "answerKey": ""}),
    (reasoning, {**ARC, "answerKey": "D"}),
    (reasoning, {**ARC, "choices": {"text": ["a", "b"], "label": ["A"]}}),
    (reasoning, {**ARC, "choices": {"text": ["a", " "], "label": ["A", "B"]}}),
    (reasoning, {**ARC, "choices": {"text": ["a", "b"], "label": ["A", "A"]}}),
    (reasoning, {**ARC, "choices": [{"label": "A", "text": "a"}]}),
    (reasoning, {**ARC, "choices": None}),
    (reasoning, {**ARC, "question": {"choices": []}}),
    (reasoning, {"choices": ARC["choices"], "answerKey": "A"}),
)


@pytest.mark.parametrize(("family", "row"), BAD_ROWS)
def test_a_row_that_is_not_as_published_is_named(family, row: dict[str, object]) -> None:
    with pytest.raises(QuestionError, match=r"^data/test.jsonl:7: ") as caught:
        family.read_row(row, "data/test.jsonl:7")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gsm8k", "math", "reasoning"])
def test_a_directory_without_the_data_set_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match=rf"{tmp_path} has no {name}/test.jsonl; put the published file there"):
        load_task(name, str(tmp_path))
