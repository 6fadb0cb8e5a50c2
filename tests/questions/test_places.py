"""Where a published data set is found in a local directory, in a place of the user's, and under which name."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import published_rows as made
import pytest
from published_rows import document, lines, parquet, rows

from agent_forge.errors import QuestionError
from agent_forge.questions.sources import Part, TaskQuestions, load_task
from agent_forge.questions.sources.gsm8k import GSM8K
from agent_forge.questions.sources.mathematics import _SUBJECTS
from agent_forge.questions.sources.published import load_from_place
from agent_forge.questions.split import split_questions


def prompts(found: TaskQuestions, part: Part) -> list[str]:
    return [question.prompt for question in found.parts[part]]


def both(root: Path, folder: str, family: str) -> str:
    for part, first in (("train", 0), ("test", 50)):
        lines(root / folder / f"{part}.jsonl", rows(family, 3, first))
    return str(root)


CLONES = {
    "gsm8k": ("gsm8k/main", "train", "test"),
    "math500": ("MATH-500/data", None, "test"),
    "arc-challenge": ("ai2_arc/ARC-Challenge", "train", "test"),
    "arc-easy": ("ai2_arc/ARC-Easy", "train", "test"),
    "reasoning": ("ai2_arc/ARC-Challenge", "train", "test"),
    "commonsenseqa": ("commonsense_qa/data", "train", "validation"),
    "bbh/web_of_lies": ("bbh/web_of_lies", None, "test"),
}


@pytest.mark.parametrize("name", CLONES)
def test_a_clone_of_the_hubs_repository_is_read_with_its_shards_in_order(name: str, tmp_path: Path) -> None:
    folder, train, test = CLONES[name]
    family = name.partition("/")[0]
    made_rows = rows(family, 5)
    for shard, some in enumerate((made_rows[:2], made_rows[2:4], made_rows[4:])):
        parquet(tmp_path / folder / f"{test}-{shard:05d}-of-00003.parquet", some)
    if train:
        parquet(tmp_path / folder / f"{train}-00000-of-00001-a1b2c3d4.parquet", rows(family, 3, 20))
    found = load_task(name, str(tmp_path))
    assert {part: len(questions) for part, questions in found.parts.items()} == {"test": 5} | (
        {"train": 3} if train else {}
    )
    fields = ("question", "problem", "input")
    asked = [str(next(row[field] for field in fields if field in row)) for row in made_rows]
    assert [prompt.partition("\n")[0] for prompt in prompts(found, "test")] == asked
    assert found.task == name and {q.task for part in found.parts.values() for q in part} == {name}
    assert found.names["test"] == test


def test_the_clone_itself_may_be_the_directory(tmp_path: Path) -> None:
    parquet(tmp_path / "main" / "test-00000-of-00001.parquet", rows("gsm8k", 2))
    assert len(load_task("gsm8k", str(tmp_path)).parts["test"]) == 2


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_shard_is_refused(lost: int, tmp_path: Path) -> None:
    for shard in {0, 1, 2} - {lost}:
        parquet(tmp_path / "gsm8k" / f"test-{shard:05d}-of-00003.parquet", rows("gsm8k", 2, 2 * shard))
    with pytest.raises(QuestionError, match=rf"shard 0000{lost} of test"):
        load_task("gsm8k", str(tmp_path))


def test_shards_of_two_copies_are_refused(tmp_path: Path) -> None:
    for name in ("test-00000-of-00001", "test-00000-of-00002", "test-00001-of-00002"):
        parquet(tmp_path / "gsm8k" / f"{name}.parquet", rows("gsm8k", 2))
    with pytest.raises(QuestionError, match="1 or 2"):
        load_task("gsm8k", str(tmp_path))


def test_the_subjects_of_math_are_read_one_after_the_other_and_all_are_needed(tmp_path: Path) -> None:
    for number, subject in enumerate(_SUBJECTS):
        parquet(tmp_path / "hendrycks_math" / subject / "train-00000-of-00001.parquet", rows("math", 1, number))
    lines(tmp_path / "math500" / "test.jsonl", rows("math", 2, 90))
    found = load_task("math", str(tmp_path))
    assert prompts(found, "train") == [str(row["problem"]) for row in rows("math", 7)]
    (tmp_path / "hendrycks_math" / "geometry" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(QuestionError, match="6 of 7 parts; geometry is missing"):
        load_task("math", str(tmp_path))


def test_math_as_first_published_is_a_file_per_problem(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        document(tmp_path / "MATH" / "test" / "algebra" / f"{number}.json", made.mathematics(number))
    found = load_task("math", str(tmp_path))
    assert prompts(found, "test") == ["Find $1 + 1$.", "Find $9 + 1$.", "Find $10 + 1$."]


def test_one_data_set_under_two_names_is_told(tmp_path: Path) -> None:
    lines(tmp_path / "math" / "train.jsonl", rows("math", 9))
    lines(tmp_path / "math500" / "test.jsonl", rows("math", 60, 90))
    target, guard = (load_task(name, str(tmp_path)) for name in ("math", "math500"))
    with pytest.raises(
        QuestionError, match=r"task math500 .* has 0 of its 60 questions for gate .* several tasks hold"
    ):
        split_questions([target], [guard], 5, 5, None)


def test_math_is_judged_on_math_500_where_it_is(tmp_path: Path) -> None:
    both(tmp_path, "math", "math")
    assert len(load_task("math", str(tmp_path)).parts["test"]) == 3
    lines(tmp_path / "math500" / "test.jsonl", rows("math", 2, 90))
    found = load_task("math", str(tmp_path))
    assert (len(found.parts["train"]), prompts(found, "test")) == (3, ["Find $90 + 1$.", "Find $91 + 1$."])
    alone = load_task("math500", str(tmp_path))
    assert (alone.task, set(alone.parts), prompts(alone, "test")) == ("math500", {"test"}, prompts(found, "test"))


def test_what_math_500_holds_is_never_baked_from_whatever_the_train_part_holds(tmp_path: Path) -> None:
    def problem(n: int) -> str:
        return f"Given ${n}$, " + " ".join(
            f"{word}{n}" for word in ["how", "many", "of", "the", "sums", "are", "odd", "or", "even,", "and", "why"]
        )

    held = [{"problem": problem(n), "answer": f"{n}", "solution": ""} for n in range(100, 140)]
    spelt = [row | {"problem": f"  {problem(n)}".replace("$", r"\$").upper()} for n, row in enumerate(held[:20], 100)]
    longer = [row | {"problem": f"First of all: {row['problem']}? Say it."} for row in held[20:]]
    lines(tmp_path / "math" / "train.jsonl", [*rows("math", 30), *spelt, *longer])
    lines(tmp_path / "math500" / "test.jsonl", held)
    found = split_questions([load_task("math", str(tmp_path))], [], 5, 5, None)
    assert {q.prompt for q in found.questions["bake"]} == {str(row["problem"]) for row in rows("math", 30)}


@pytest.mark.parametrize(
    ("name", "folder", "files"),
    [
        ("arc-easy", "ARC-Easy", ("ARC-Easy-Train", "ARC-Easy-Test")),
        ("commonsenseqa", "commonsenseqa", ("train_rand_split", "dev_rand_split")),
    ],
)
def test_file_names_as_first_published_are_known(name: str, folder: str, files: tuple[str, str], tmp_path: Path):
    for file, first in zip(files, (0, 50), strict=True):
        lines(tmp_path / folder / f"{file}.jsonl", rows("choice", 2, first))
    found = load_task(name, str(tmp_path))
    assert set(found.parts) == {"train", "test"} and found.names == {"train": files[0], "test": files[1]}


def test_commonsenseqa_is_not_judged_on_test_rows_without_answers(tmp_path: Path) -> None:
    root = both(tmp_path, "commonsenseqa", "choice")
    hidden = [row | {"answerKey": ""} for row in rows("choice", 3, 70)]
    lines(tmp_path / "commonsenseqa" / "test.jsonl", hidden)
    with pytest.raises(QuestionError, match=r"test.jsonl:1: answerKey is ''.*without answers"):
        load_task("commonsenseqa", root)
    lines(tmp_path / "commonsenseqa" / "validation.jsonl", rows("choice", 3, 80))
    for name in ("commonsenseqa", "reasoning"):
        assert prompts(load_task(name, root), "test")[0].startswith("What are 80")


def test_reasoning_takes_all_parts_from_one_data_set(tmp_path: Path) -> None:
    both(tmp_path, "commonsenseqa", "choice")
    lines(tmp_path / "ARC-Challenge" / "test.jsonl", rows("choice", 2, 70))
    found = load_task("reasoning", str(tmp_path))
    assert set(found.parts) == {"test"} and "ARC-Challenge" in found.source


def test_arc_easy_and_challenge_are_not_taken_for_each_other(tmp_path: Path) -> None:
    both(tmp_path, "ai2_arc/ARC-Easy", "choice")
    assert load_task("arc-easy", str(tmp_path)).task == "arc-easy"
    for other in ("arc-challenge", "reasoning"):
        with pytest.raises(QuestionError, match="put the published file there"):
            load_task(other, str(tmp_path))


# Places of the user's own, `FAMILY:PLACE`.


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("train.jsonl", "train"),
        ("gsm8k-train.parquet", "train"),
        ("train/0000.parquet", "train"),
        ("test.json", "test"),
        ("my_validation.jsonl", "test"),
        ("test_from_train.jsonl", "test"),
        ("train/test.jsonl", "test"),
        ("constrained.jsonl", "test"),
        ("more.jsonl", "test"),
    ],
)
def test_the_part_of_a_file_is_what_its_name_says_and_test_when_in_doubt(file: str, part: str, tmp_path: Path):
    path = tmp_path / "here" / file
    write = {".parquet": parquet, ".json": document}.get(path.suffix, lines)
    write(path, rows("gsm8k", 2))
    found = load_task(f"gsm8k:{path}")
    assert set(found.parts) == {part} and found.source == str(path)
    assert found.task == f"gsm8k:{path.stem}" == found.parts[part][0].task


@pytest.mark.parametrize("family", ["math500", "bbh", "bbh/navigate"])
def test_a_family_that_is_only_judged_on_has_no_train_files(family: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "train.jsonl", rows(family.partition("/")[0], 2))
    assert set(load_task(f"{family}:{path}").parts) == {"test"}


def test_rows_that_say_their_part_are_read_as_what_they_say(tmp_path: Path) -> None:
    def belongs(row: Mapping[str, object], part: Part, where: str) -> bool:
        return row["part"] == part

    numbered = replace(GSM8K, belongs=belongs)
    marked = [{**row, "part": part} for row, part in zip(rows("gsm8k", 3), ("train", "test", "none"), strict=True)]
    path = lines(tmp_path / "train.jsonl", marked)
    found = load_from_place(numbered, str(path))
    assert {part: len(questions) for part, questions in found.parts.items()} == {"train": 1, "test": 1}
    assert found.source == str(path)
    lines(path, marked[1:])
    assert set(load_from_place(numbered, str(path)).parts) == {"test"}
    lines(path, marked[:1])
    with pytest.raises(QuestionError, match="holds no test questions of gsm8k"):
        load_from_place(numbered, str(path))


def test_a_directory_of_a_users_is_read_like_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    both(tmp_path, "copy", "gsm8k")
    found = load_task(f"gsm8k:{tmp_path}/copy")
    assert found.task == "gsm8k:copy" and set(found.parts) == {"train", "test"}
    monkeypatch.chdir(tmp_path / "copy")
    assert load_task("gsm8k:.") == replace(found, source="train.jsonl, test.jsonl")


def test_where_a_file_is_kept_does_not_change_its_questions(tmp_path: Path) -> None:
    one, other = (lines(tmp_path / name / "test.jsonl", rows("gsm8k", 2)) for name in ("a", "b"))
    assert load_task(f"gsm8k:{one}").parts == load_task(f"gsm8k:{other}").parts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm8k:none.jsonl", "no file or directory none.jsonl"),
        ("gsm8k:", "owner/name"),
        ("gsm8k:no/such/file", "no file or directory no/such/file"),
        ("gsm8k:./owner", "no file or directory ./owner"),
        ("gsm9k:owner/name", "did you mean gsm8k:owner/name"),
        ("bbh/hyperbatn", "did you mean bbh/hyperbaton"),
        ("arc-eazy", "did you mean arc-easy"),
        ("openai/gsm8k", "cannot read questions openai/gsm8k.*gsm8k:openai/gsm8k"),
    ],
)
def test_a_name_that_is_nearly_right_is_told_what_it_should_be(name: str, message: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QuestionError, match=message) as caught:
        load_task(name)
    assert "\n" not in str(caught.value)


def test_a_directory_or_a_file_in_each_others_place_is_told(tmp_path: Path) -> None:
    path = lines(tmp_path / "test.jsonl", rows("gsm8k", 2))
    with pytest.raises(QuestionError, match=f"is a file.*gsm8k:{path}"):
        load_task("gsm8k", str(path))
    with pytest.raises(QuestionError, match=r"cannot read questions.*directory.*FAMILY:"):
        load_task(str(tmp_path))


def test_a_row_unlike_the_others_is_named_with_file_and_number(tmp_path: Path) -> None:
    lines(tmp_path / "gsm8k" / "test.jsonl", [*rows("gsm8k", 2), made.mathematics(1)])
    with pytest.raises(QuestionError, match=r"test.jsonl:3: no field question; found problem, solution, level"):
        load_task("gsm8k", str(tmp_path))
    parquet(tmp_path / "copy" / "test.parquet", [*rows("gsm8k", 2), {"question": "What?"}])
    with pytest.raises(QuestionError, match=r"test.parquet:3: no field answer; found question"):
        load_task(f"gsm8k:{tmp_path}/copy")
    parquet(tmp_path / "other" / "test.parquet", [{"question": "How many?", "answer": 3}])
    with pytest.raises(QuestionError, match=r"test.parquet:1: answer is 3; a text is expected"):
        load_task(f"gsm8k:{tmp_path}/other")


def test_nothing_local_needs_the_network_or_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    parquet(tmp_path / "gsm8k" / "main" / "test-00000-of-00001.parquet", rows("gsm8k", 2))
    own = lines(tmp_path / "mine.jsonl", [json.loads('{"prompt": "2?", "reference": "2", "kind": "number"}')])
    for name in ("gsm8k", f"gsm8k:{tmp_path}/gsm8k", str(own), "arithmetic"):
        assert load_task(name, str(tmp_path)).parts
