"""Every form of a file gives the same rows, and what is no such file is named in one line."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.errors import QuestionError
from agent_forge.questions.sources import load_task
from agent_forge.questions.sources.rows import bare_name, file_rows

Rows = list[dict[str, object]]

values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tables = st.lists(st.fixed_dictionaries({"question": values, "answer": values}), min_size=1, max_size=6)


def lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    return path


FORMS: dict[str, Callable[[Rows], bytes]] = {
    "a.jsonl": lines,
    "b.jsonl.gz": lambda rows: gzip.compress(lines(rows)),
    "c.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "d.json.gz": lambda rows: gzip.compress(json.dumps(rows).encode()),
    "e.json": lambda rows: json.dumps({"canary": "do not train on this", "examples": rows}).encode(),
    "f.ndjson": lines,
    "g.jsonl": lambda rows: b"\xef\xbb\xbf" + lines(rows).replace(b"\n", b"\r\n"),
    # Gzip is told by its first bytes, whatever the file is called.
    "h.jsonl": lambda rows: gzip.compress(lines(rows)),
}


@settings(deadline=None)
@given(tables)
def test_every_form_gives_the_same_rows(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    folder = tmp_path_factory.mktemp("forms")
    for name, written in FORMS.items():
        (folder / name).write_bytes(written(rows))
        assert [row for _, row in file_rows(folder / name)] == rows, name
    assert [row for _, row in file_rows(parquet(folder / "i.parquet", rows))] == rows
    # Parquet is told by its first bytes too.
    assert [row for _, row in file_rows((folder / "i.parquet").rename(folder / "j.data"))] == rows


def test_json_lines_under_the_name_of_a_document_are_read(tmp_path: Path) -> None:
    rows: Rows = [{"question": "a"}, {"question": "b"}]
    (tmp_path / "a.json").write_bytes(lines(rows))
    assert list(file_rows(tmp_path / "a.json")) == [(f"{tmp_path}/a.json:{n}", row) for n, row in enumerate(rows, 1)]


def test_rows_of_parquet_are_numbered_across_batches_and_lack_what_is_empty(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [{"a": "1"}, {"a": "2", "b": None}, {"a": None, "b": "3"}])
    assert list(file_rows(path)) == [(f"{path}:1", {"a": "1"}), (f"{path}:2", {"a": "2"}), (f"{path}:3", {})]


@pytest.mark.parametrize(
    ("name", "bare"),
    [("a.jsonl.gz", ("a", ".jsonl.gz")), ("a.b.parquet", ("a.b", ".parquet")), ("a.txt", ("a", ".txt"))],
)
def test_a_name_is_told_from_its_suffix(name: str, bare: tuple[str, str]) -> None:
    assert bare_name(Path(name)) == bare


SPOILT = {
    "a.csv": {b"prompt,reference\n": "a .csv file; JSON lines or parquet is expected"},
    "a.json": {
        b"": "holds no questions",
        b"[]": "holds no questions",
        b'{"examples": []}': "holds no questions",
        b'[{"a": 1},\n{"a": ': "not JSON: .*line 2",
        b'[{"a": 1}, 7]': ":2: a int",
        b"7": ":1: a int",
        b'{"a": 1}\n{"a": ': ":2: not JSON",
        b"[" * 100_000: "not JSON",
        b"\xff\xfe": "cannot read questions",
    },
    "a.jsonl.gz": {
        gzip.compress(b""): "holds no questions",
        gzip.compress(lines([{"a": "long enough to be cut"}] * 50))[:-12]: "cannot read questions",
        b"\x1f\x8b no gzip": "cannot read questions",
        gzip.compress(b'{"a": 1}\n\n{"a"'): ":3: not JSON",
        gzip.compress(b"\xff"): "cannot read questions",
    },
    "a.parquet": {b"": "a whole parquet file", b"PAR1": "a whole parquet file", b"[]": "a whole parquet file"},
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, cases in SPOILT.items() for n in range(len(cases))])
def test_a_spoilt_file_is_one_line_that_names_it(name: str, number: int, tmp_path: Path) -> None:
    content, message = list(SPOILT[name].items())[number]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(QuestionError, match=message) as caught:
        list(file_rows(tmp_path / name))
    assert f"{tmp_path / name}" in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@settings(deadline=None)
@given(st.integers(1, 400), st.binary(min_size=1, max_size=4))
def test_parquet_that_was_cut_or_changed_never_ends_in_anything_but_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, at: int, change: bytes
) -> None:
    path = parquet(tmp_path_factory.mktemp("parquet") / "a.parquet", [{"question": f"{n}?"} for n in range(5)])
    whole = path.read_bytes()
    for content in (whole[: -min(at, len(whole))], whole[:at] + change + whole[at + len(change) :]):
        path.write_bytes(content)
        try:
            list(file_rows(path))
        except QuestionError as refused:
            assert "\n" not in str(refused)


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string())}), path)
    with pytest.raises(QuestionError, match="holds no questions"):
        list(file_rows(path))


def test_a_missing_package_for_parquet_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", [{"a": "1"}])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(QuestionError, match=r"pyarrow.*agent-forge\[datasets\]"):
        list(file_rows(path))


OWN: Rows = [
    {"prompt": "What is 2 + 2?", "reference": "4", "kind": "number"},
    {"prompt": "Who?", "reference": "Ada", "kind": "text"},
]


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.jsonl.gz", "mine.json", "mine.parquet"])
def test_own_questions_come_in_every_form_under_the_same_name(name: str, tmp_path: Path) -> None:
    written = {"mine.jsonl.gz": gzip.compress(lines(OWN)), "mine.json": json.dumps(OWN).encode()}
    if name.endswith("parquet"):
        parquet(tmp_path / name, OWN)
    else:
        (tmp_path / name).write_bytes(written.get(name, lines(OWN)))
    found = load_task(str(tmp_path / name))
    assert found.task == "mine" and set(found.parts) == {"any"}
    assert [(q.prompt, q.reference, q.kind, q.task) for q in found.parts["any"]] == [
        (*row.values(), "mine") for row in OWN
    ]


def test_optional_fields_that_only_some_rows_of_parquet_have_are_made(tmp_path: Path) -> None:
    path = parquet(tmp_path / "mine.parquet", [OWN[0] | {"id": "given"}, OWN[1]])
    first, second = load_task(str(path)).parts["any"]
    assert first.id == "given" and second.id not in ("given", "none")


@pytest.mark.parametrize(
    ("row", "family"),
    [
        ({"question": "2?", "answer": "#### 2"}, "gsm8k"),
        ({"problem": "2?", "solution": "2"}, "math"),
        ({"question": "2?", "choices": {}, "answerKey": "A"}, "reasoning"),
        ({"input": "2?", "target": "2"}, "bbh"),
    ],
)
def test_published_rows_given_as_own_questions_are_told_how_to_be_read(row, family: str, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_bytes(lines([row]))
    with pytest.raises(QuestionError, match=rf"{path}:1: .*prompt.*name it {family}:{path}"):
        load_task(str(path))


@pytest.mark.parametrize(
    ("name", "task", "part"),
    [
        ("test.jsonl", "gsm8k", "test"),
        ("verify.jsonl", "bbh/snarks", "test"),
        ("gate.json", "code", "test"),
        ("bake.jsonl", "gsm8k", "any"),
        ("test.jsonl", "mine", "any"),
        ("mine.jsonl", "gsm8k", "any"),
    ],
)
def test_judged_questions_of_a_published_set_are_not_baked_from_again(
    name: str, task: str, part: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(lines([OWN[0] | {"task": task}]))
    assert set(load_task(str(tmp_path / name)).parts) == {part}
