import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from agent_forge.errors import QuestionError
from agent_forge.questions import corpora
from agent_forge.questions.corpora import corpus_texts, open_corpora
from agent_forge.questions.overlap import NGRAM, find_shared

QUESTION = "What is 2 + 2?"
CHAT = {"messages": [{"role": "user", "content": f"Hello! {QUESTION}"}], "n": 3}


def holds(path: Path, question: str = QUESTION) -> bool:
    (corpus,) = open_corpora([str(path)])
    return bool(list(find_shared([question], corpus.texts, container=True)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.jsonl", json.dumps({"prompt": QUESTION, "reference": "4", "kind": "number"}) + "\n"),
        ("c.jsonl", json.dumps({"text": "nothing"}) + "\n\n" + json.dumps(CHAT) + "\n"),
        ("c.ndjson", json.dumps({"text": f"one\nline\u2028{QUESTION}"}, ensure_ascii=False)),
        ("c.jsonl", json.dumps(f"Only a text: {QUESTION}")),
        ("c.json", json.dumps([{"question": "Which?"}, CHAT], indent=1)),
        ("c.json", json.dumps({"rows": [CHAT]}, indent=1)),
        ("corpus", json.dumps({"text": f"line\nwhat is 2 + 2?\nline {QUESTION}"}) + "\n"),
        ("c.txt", "A page.\nWhat\nis 2\n+ 2?\nMore of it.\n"),
        ("c.md", "\ufeffWHAT IS 2+2"),
        ("c.txt", "{ no JSON\n" + QUESTION),
    ],
)
def test_a_question_is_found_in_every_kind_of_file(tmp_path: Path, name: str, text: str, packed: bool) -> None:
    content = text.encode()
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert holds(path) and not holds(path, "What is 2 + 3?")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", b'{"text": "a"}\n{"text": \n', "c.jsonl:2: not JSON"),
        ("c.json", b"[1, 2", "c.json:1: not JSON"),
        ("c.txt", b"good words\n\xff\xfe\x00", "cannot read corpus .*c.txt"),
        ("c.txt", b"", "holds no text"),
        ("c.txt", b" ... \n", "holds no text"),
        ("c.jsonl", b'{"n": 3}\n', "holds no text"),
        ("c.gz", gzip.compress(b"some words " * 99, mtime=0)[:-9], "cannot read corpus .*c.gz"),
        ("c.gz", b"\x1f\x8bnonsense", "cannot read corpus .*c.gz"),
        ("c.parquet", b"PAR1nonsense", "cannot read .*c.parquet"),
    ],
    ids=["line", "document", "bytes", "empty", "wordless", "textless", "cut off", "not gzip", "not parquet"],
)
def test_what_is_no_corpus_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(QuestionError, match=message) as caught:
        holds(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "message"), [("none.txt", "cannot read corpus"), (".", "directory without files")])
def test_what_is_not_there_is_refused_when_it_is_opened(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / ".hidden").write_text(QUESTION)
    with pytest.raises(QuestionError, match=message):
        open_corpora([str(tmp_path / name)])


def test_a_directory_is_the_files_in_it_parquet_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet.write_table(
        pa.table({"n": [1, 2], "messages": [[], CHAT["messages"]]}), tmp_path / "data" / "train.parquet"
    )
    (tmp_path / "README.md").write_text("About it.")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index").write_bytes(b"\xff\xfe\x00")
    found = open_corpora([str(tmp_path)])
    assert [corpus.name for corpus in found] == [f"{tmp_path}/README.md", f"{tmp_path}/data/train.parquet"]
    shared = [bool(list(find_shared([QUESTION], corpus.texts, container=True))) for corpus in found]
    assert shared == [False, True]


def test_what_has_no_spaces_is_read_in_pieces_too(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("x" * 5000 + f" {QUESTION}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "PIECE", 64)
        patch.setattr(corpora, "LONGEST_WORD", 256)
        assert max(map(len, corpus_texts(path))) < 1000 and holds(path)


def test_a_corpus_given_twice_is_one(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("words")
    assert len(open_corpora([str(path)] * 2)) == 1


words = st.lists(st.sampled_from(["one", "two", "three", "+", "4", "\n", "."]), min_size=1, max_size=80)


@given(words, st.integers(0, 70), st.integers(1, NGRAM + 9), st.integers(1, 40))
def test_no_cut_between_pieces_hides_a_run(tmp_path_factory, text: list[str], at: int, length: int, piece: int) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    page = " ".join(["start", *text])
    path.write_text(page)
    wanted = " ".join(text[at : at + length])
    whole = bool(list(find_shared([wanted], [page].__iter__, container=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "PIECE", piece)
        assert bool(list(find_shared([wanted], lambda: corpus_texts(path), container=True))) >= whole
