"""BIG-Bench Hard: what kind a target is of, and that its questions stay apart although they open alike."""

import json
from pathlib import Path

import pytest
from published_rows import document, lines, parquet

from agent_forge.answers import grade
from agent_forge.errors import QuestionError
from agent_forge.questions.overlap import overlap_between
from agent_forge.questions.sources import TaskQuestions, load_task
from agent_forge.questions.sources.bbh import TASKS, read_row
from agent_forge.questions.split import split_questions
from agent_forge.questions.wording import own_texts
from agent_forge.records import AnswerKind

OPTIONS = "Today is Christmas Eve of 1937. What is the date tomorrow?\nOptions:\n(A) 12/11/1937\n(B) 12/25/1937"
DYCK = "Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: "
# prompt, target, kind, right answers, wrong answers
TARGETS: list[tuple[str, str, AnswerKind, list[str], list[str]]] = [
    (OPTIONS, "(B)", "choice", ["B", "(B)", "The answer is (B).", "12/25/1937"], ["A", "(A)", "A or B"]),
    ("not ( True ) and ( True ) is", "False", "text", ["False", "The answer is **False**."], ["True", "not False"]),
    ("Is it plausible?\nOptions:\n- Yes\n- No", "No", "text", ["No", "no."], ["Yes", "No or yes"]),
    ("Is it sound?\nOptions:\n- valid \n- invalid", "valid", "text", ["valid", "Valid."], ["invalid", "not valid"]),
    ("Sort the following words alphabetically: List: oven costume", "costume oven", "text", ["costume oven"], ["oven"]),
    (DYCK + "< [ (", ") ] >", "text", [") ] >", ")]>", "The answer is ) ] >."], ["] ) >", ">", ") ] > >", ") ]"]),
    ("((-1 + 2 + 9 * 5) - (-2 + -4)) =", "-24", "number", ["-24", "The answer is -24."], ["24", "-240"]),
    ("Which movie?\nOptions:\n(A) Monsters\n(B) Inc", "Monsters, Inc", "text", ["Monsters, Inc"], ["A", "Monsters"]),
]


@pytest.mark.parametrize(("prompt", "target", "kind", "right", "wrong"), TARGETS, ids=lambda value: str(value)[:12])
def test_a_target_is_graded_as_what_it_is(prompt, target, kind, right, wrong) -> None:
    question = read_row({"input": prompt, "target": target}, "here:1")
    assert (question.kind, question.prompt) == (kind, prompt)
    assert [a for a in right if not grade(kind, a, question.reference, prompt).correct] == []
    assert [a for a in wrong if grade(kind, a, question.reference, prompt).correct] == []


@pytest.mark.parametrize("row", [{"input": "2?"}, {"target": "2"}, {"input": "2?", "target": " "}, {"input": 2}])
def test_a_row_that_is_not_as_published_is_named(row: dict[str, object]) -> None:
    with pytest.raises(QuestionError, match=r"^bbh/navigate.json:7: "):
        read_row(row, "bbh/navigate.json:7")


def test_questions_that_only_brackets_tell_apart_are_two() -> None:
    first, second = (read_row({"input": DYCK + text, "target": "]"}, "here:1") for text in ("( [", "{ [ ( )"))
    assert first.id != second.id


def dyck(count: int) -> list[dict[str, object]]:
    pairs = [f"{number:b}".replace("1", "( ").replace("0", "[ ").strip() for number in range(2, count + 2)]
    closing = str.maketrans("([", ")]")
    return [{"input": DYCK + text, "target": " ".join(text.translate(closing).split()[::-1])} for text in pairs]


def boxes(count: int) -> list[dict[str, object]]:
    opening = "The following paragraphs each describe a set of three objects arranged in a fixed order. "
    return [
        {"input": f"{opening}There are {n} red boxes.\nOptions:\n(A) red\n(B) blue", "target": "(A)"}
        for n in range(count)
    ]


@pytest.fixture
def data(tmp_path: Path) -> str:
    document(tmp_path / "bbh" / "dyck_languages.json", {"canary": "no training", "examples": dyck(60)})
    lines(tmp_path / "bbh" / "logical_deduction_three_objects.jsonl", boxes(60))
    parquet(tmp_path / "bbh" / "snarks" / "test-00000-of-00001.parquet", boxes(3))
    lines(tmp_path / "gsm8k" / "train.jsonl", [{"question": f"{n} pens and 1?", "answer": "#### 2"} for n in range(40)])
    lines(tmp_path / "gsm8k" / "test.jsonl", [{"question": f"{n} ink?", "answer": "#### 2"} for n in range(60)])
    return str(tmp_path)


def test_tasks_of_one_family_keep_their_names_and_their_questions(data: str) -> None:
    names = ("bbh/dyck_languages", "bbh/logical_deduction_three_objects")
    found = split_questions([load_task("gsm8k", data)], [load_task(name, data) for name in names], 15, 15, None)
    assert found.report.per_task == {"gsm8k": {"bake": 40, "gate": 15, "verify": 15}} | {
        name: {"bake": 0, "gate": 15, "verify": 15} for name in names
    }
    assert found.report.duplicates_removed == 0
    assert {q.task for q in found.questions["bake"]} == {"gsm8k"}


def test_shared_wording_is_no_leak_but_what_is_baked_from_is_compared_as_a_whole(data: str) -> None:
    guard = load_task("bbh/dyck_languages", data)
    assert overlap_between(guard.parts["test"][:1], guard.parts["test"][1:2])
    assert not [text for text in own_texts([guard]).values() if "sequence" in text]
    leak = guard.parts["test"][0].model_copy(update={"id": "leak", "task": "mine"})
    pens = [q.model_copy(update={"task": "mine"}) for q in load_task("gsm8k", data).parts["train"]]
    judged = [q.model_copy(update={"task": "mine"}) for q in load_task("gsm8k", data).parts["test"]]
    mine = TaskQuestions("mine", {"train": (*pens, leak), "test": tuple(judged)}, "mine.jsonl")
    found = split_questions([mine], [guard], 10, 10, None)
    assert [dropped.question_id for dropped in found.report.dropped if dropped.split == "bake"] == ["leak"]


def test_the_same_passage_in_few_questions_is_still_a_leak(data: str) -> None:
    tail = "and this goes on for more than thirteen words so that the two of them share a passage"
    guard = load_task("bbh/logical_deduction_three_objects", data)
    twins = [
        guard.parts["test"][n].model_copy(update={"prompt": guard.parts["test"][n].prompt + f" {n} {tail}"})
        for n in range(3)
    ]
    changed = TaskQuestions(guard.task, {"test": (*twins, *guard.parts["test"][3:])}, "here", {}, True)
    own = own_texts([changed])
    assert all(tail in own[question.id] and "paragraphs" not in own[question.id] for question in twins)


def test_alone_as_a_target_it_is_refused_in_one_line(data: str) -> None:
    with pytest.raises(QuestionError, match=r"task bbh/dyck_languages .* has only published test questions") as caught:
        split_questions([load_task("bbh/dyck_languages", data)], [], 5, 5, None)
    assert "\n" not in str(caught.value)


def test_beside_another_target_it_is_judged_on(data: str) -> None:
    targets = [load_task("gsm8k", data), load_task("bbh/dyck_languages", data)]
    found = split_questions(targets, [], 10, 10, None)
    assert found.report.per_task["bbh/dyck_languages"] == {"bake": 0, "gate": 10, "verify": 10}


def test_all_tasks_that_are_there_make_one(data: str, tmp_path: Path) -> None:
    found = load_task("bbh", data)
    assert found.task == "bbh" and len(found.parts["test"]) == 123 and found.shares_wording
    assert load_task(f"bbh:{data}/bbh").parts["test"][0].prompt == found.parts["test"][0].prompt
    with pytest.raises(QuestionError, match=r"has no bbh/boolean_expressions.json nor any other"):
        load_task("bbh", str(tmp_path / "gsm8k"))


def test_a_task_of_a_users_own_is_read_in_its_form(tmp_path: Path) -> None:
    path = document(tmp_path / "riddles.json", json.loads(json.dumps({"examples": dyck(3)})))
    found = load_task(f"bbh:{path}")
    assert found.task == "bbh:riddles" and set(found.parts) == {"test"} and len(found.parts["test"]) == 3


def test_there_are_27_tasks() -> None:
    assert len(set(TASKS)) == 27
