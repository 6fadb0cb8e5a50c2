from pathlib import Path

import pytest

from agent_forge.errors import ChampionError, InputError, OutputError
from agent_forge.records import Flips, ReplayRow, ResultRow
from agent_forge.storage import row_files
from agent_forge.storage.batchlog import BatchLog
from agent_forge.storage.files import files_digest, list_files, move_into_place, path_digest, write_atomic
from agent_forge.storage.references import find
from agent_forge.storage.references.hub import HubReference
from agent_forge.storage.references.local import LocalReference
from agent_forge.storage.row_files import sorted_rows


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_digest_follows_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    before = path_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = path_digest(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({before, renamed, path_digest(tmp_path)}) == 3


def test_hidden_files_are_no_part_of_a_model(tmp_path):
    (tmp_path / "a").write_text("1")
    before = files_digest(list_files(tmp_path))
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x").write_text("2")
    assert files_digest(list_files(tmp_path)) == before


def test_nothing_to_digest(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        path_digest(tmp_path / "none")


def test_write_leaves_no_temporary_file(tmp_path):
    write_atomic(tmp_path / "x.json", "new")
    assert names(tmp_path) == ["x.json"]


def test_write_below_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another directory"):
        write_atomic(tmp_path / "file" / "x", "new")


def test_move_into_place_replaces_the_whole_directory(tmp_path):
    for name, content in (("old", "1"), ("new", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).write_text(content)
    move_into_place(tmp_path / "new", tmp_path / "old")
    assert names(tmp_path) == ["old"] and names(tmp_path / "old") == ["2"]


def test_batch_log_survives_a_torn_line(tmp_path):
    path = tmp_path / "log.jsonl"
    log = BatchLog(path, ReplayRow)
    log.append([ReplayRow(question_id="a", completion="1")])
    whole = path.read_bytes()
    log.append([ReplayRow(question_id="b", completion="2")])
    both = path.read_bytes()
    for length in range(len(whole), len(both)):
        path.write_bytes(both[:length])
        again = BatchLog(path, ReplayRow)
        assert [row.question_id for row in again.rows(range(len(again)))] == ["a"]
        assert path.read_bytes() == whole


def test_batch_log_stops_at_rows_of_another_kind(tmp_path):
    path = tmp_path / "log.jsonl"
    BatchLog(path, ReplayRow).append([ReplayRow(question_id="a", completion="1")])
    assert len(BatchLog(path, Flips)) == 0 and path.read_bytes() == b""


def test_batch_log_goes_on_after_its_last_whole_batch_and_gives_rows_in_any_order(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [ReplayRow(question_id=f"q{k}", completion="é\n\u2028" * k) for k in range(6)]
    BatchLog(path, ReplayRow).append(rows[:3])
    BatchLog(path, ReplayRow).append(rows[3:5])
    log = BatchLog(path, ReplayRow)
    log.append(rows[5:])
    assert list(log.rows([5, 0, 3, 3])) == [rows[5], rows[0], rows[3], rows[3]]
    assert list(log.lines(range(6))) == [row.model_dump_json() + "\n" for row in rows]


@pytest.mark.parametrize("stretch", [1, 700, 1 << 20])
def test_rows_of_several_files_are_written_as_one_set_by_round_arm_and_question(tmp_path, monkeypatch, stretch):
    monkeypatch.setattr(row_files, "_MOST_OPEN", 3)
    rows = [
        ResultRow(question_id=question, round=number, arm=arm, correct=True, completion=f"é {question}")
        for number in (10, 2)
        for arm in ("thought", "baseline")
        for question in ("q2", "q10", "q1", "q 1", "\U0001f600", "\uffee")
    ]
    paths = [tmp_path / name for name in ("a", "b")]
    for path, held in zip(paths, (rows[5:], rows[:5]), strict=True):
        path.write_text("\n".join([*map(ResultRow.model_dump_json, held), ""]))
    with sorted_rows(paths, tmp_path, stretch) as files:
        assert list(files.read()) == [*rows[5:], *rows[:5]]
        expected = sorted(rows, key=lambda row: (row.round, row.arm, row.question_id))
        assert list(files.sorted_lines()) == [row.model_dump_json() + "\n" for row in expected]
    assert sorted(tmp_path.iterdir()) == paths
    paths[1].write_text(rows[0].model_dump_json() + "\n\n{}\n")
    with pytest.raises(InputError, match="b:3: not a valid ResultRow"), sorted_rows(paths, tmp_path) as files:
        list(files.read())


@pytest.mark.parametrize("reference", ["gs://bucket/key", "wandb://a/b:c", "ftp://host/x", "hf://a b/c", "hf://a/.."])
def test_schemes_that_cannot_be_read_say_so(reference):
    with pytest.raises(ChampionError, match="give"):
        find(reference)


def test_hub_names_are_told_from_paths(tmp_path):
    assert isinstance(find("org/model"), HubReference)
    assert isinstance(find("hf://org/model@main"), HubReference)
    assert isinstance(find("./champion"), LocalReference)
    assert find(f"file://{tmp_path}").path() == tmp_path


def test_what_cannot_be_read_is_named():
    # Readable by permission, yet reading its first byte fails, for root too.
    with pytest.raises(InputError, match="cannot read /proc/self/mem"):
        path_digest(Path("/proc/self/mem"))


def test_the_bundled_champion_has_a_reference_of_its_own():
    assert (find("bundled://champion").path() / "model.safetensors").is_file()
    for wrong in ("bundled://nonesuch", "bundled://../demo/champion", "bundled://"):
        with pytest.raises(ChampionError, match="bundled://champion"):
            find(wrong)
