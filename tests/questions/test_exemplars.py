"""Exemplars: where they come from, what they never share with what is judged on, and what is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split import NAMES, orders, published, questions, split, task

from agent_forge.answers import grade
from agent_forge.errors import QuestionError
from agent_forge.questions.exemplars import FewShot, check_stops, choose_exemplars
from agent_forge.questions.overlap import overlap_between
from agent_forge.questions.sources import TaskQuestions, gsm8k
from agent_forge.questions.sources.exemplar_file import read_exemplars
from agent_forge.questions.split import NO_EXEMPLARS, Splits, split_questions
from agent_forge.records import Exemplar, Question, SplitReport, rows_text

TAIL = "and this goes on for more than thirteen words so that the two of them share a passage"
ROW = {
    "question": "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts does it take?",
    "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\nSo the total amount is 2+1=<<2+1=3>>3 bolts\n#### 3",
}


def showing(
    few_shot: FewShot, *targets: TaskQuestions, guards: Sequence[TaskQuestions] = (), bake: int | None = None
) -> Splits:
    return split_questions(targets, guards, 5, 5, bake, few_shot=few_shot)


def own(*prompts: str, name: str = "mine") -> FewShot:
    made = tuple(
        Exemplar(id=f"own{k}", prompt=prompt, reference="1", kind="number", task=name, answer="So it is 1.")
        for k, prompt in enumerate(prompts)
    )
    return FewShot(len(made), "worked", made, "own.jsonl")


def one_line(refused: pytest.ExceptionInfo[QuestionError], *words: str) -> None:
    assert "\n" not in str(refused.value)
    assert [word for word in words if word not in str(refused.value)] == []


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 8), st.booleans())
def test_exemplars_come_from_what_could_be_baked_from_and_are_set_aside(count: int, any_part: bool) -> None:
    data_set = task(any=questions(150)) if any_part else published()
    found, without = showing(FewShot(count), data_set), showing(NO_EXEMPLARS, data_set)
    shown = {exemplar.id for exemplar in found.exemplars}
    assert len(found.exemplars) == len(shown) == count
    before = [question.id for question in without.questions["bake"]]
    assert [question.id for question in found.questions["bake"]] == [name for name in before if name not in shown]
    assert shown <= set(before)
    for name in ("gate", "verify"):
        assert found.questions[name] == without.questions[name]
        assert overlap_between(found.exemplars, found.questions[name]) == []


@settings(deadline=None, max_examples=5)
@given(orders)
def test_the_order_of_the_questions_does_not_matter(order: Random) -> None:
    made = list(questions(60))
    first = showing(FewShot(3), task(any=made))
    order.shuffle(made)
    assert showing(FewShot(3), task(any=made)) == first


def test_fewer_exemplars_are_the_first_of_more_and_the_bake_is_filled_up() -> None:
    few, more = (showing(FewShot(count), published(), bake=20) for count in (2, 5))
    assert few.exemplars == more.exemplars[:2]
    assert len(few.questions["bake"]) == len(more.questions["bake"]) == 20


def test_without_exemplars_nothing_is_written_about_them() -> None:
    found = split(published())
    assert found == showing(NO_EXEMPLARS, published()) and found.exemplars == ()
    assert "few_shot" not in json.loads(found.report.model_dump_json())
    assert found.report.inputs() == {name: found.report.digests[name] for name in NAMES}


def test_every_task_has_its_own_and_the_report_names_them() -> None:
    found = showing(FewShot(2), published("one"), published("two"), guards=[published("three")])
    assert [entry.task for entry in found.report.few_shot] == ["one", "two", "three"]
    for entry in found.report.few_shot:
        shown = [exemplar for exemplar in found.exemplars if exemplar.task == entry.task]
        assert entry.ids == tuple(exemplar.id for exemplar in shown)
        assert found.report.inputs()[f"few_shot {entry.task}"] == entry.sha256
    guarded = {question.id for question in published("three").parts["train"]}
    assert {e.id for e in found.exemplars if e.task == "three"} <= guarded
    assert SplitReport.model_validate_json(found.report.model_dump_json()) == found.report


def test_a_leaking_exemplar_is_dropped_and_the_next_one_takes_its_place() -> None:
    clean = published()
    first, second, third = showing(FewShot(3), clean).exemplars
    judged = Question(id="judged", prompt=f"One begins so {TAIL}", reference="1", kind="number", task="mine")
    leaking = replace(
        clean,
        parts={"train": clean.parts["train"], "test": (*clean.parts["test"], judged)},
        worked={first.id: f"It is a long story {TAIL}. The answer is 1."},
    )
    found = showing(FewShot(2), leaking)
    assert [exemplar.id for exemplar in found.exemplars] == [second.id, third.id]
    (left_out,) = found.report.few_shot[0].left_out
    assert left_out.question_id == first.id and left_out.shared in TAIL
    assert first.id in {question.id for question in found.questions["bake"]}


def test_a_worked_answer_is_shown_unless_its_own_grader_would_not_count_it() -> None:
    first, second = showing(FewShot(2), published()).exemplars
    worked = {first.id: "Half of 2\n\nis 1.\n#### 1", second.id: "It is about 7."}
    data_set = replace(published(), worked=worked)
    assert [e.answer for e in showing(FewShot(2), data_set).exemplars] == ["Half of 2\nis 1.\n#### 1", "1"]
    assert [e.answer for e in showing(FewShot(2, "reference"), data_set).exemplars] == ["1", "1"]


def test_gsm8k_shows_its_solutions_without_the_marks_of_their_calculator() -> None:
    question, worked = gsm8k.read_row(ROW, "row"), gsm8k.worked_answer(ROW)
    assert worked.startswith("It takes 2/2=1 bolt of white fiber") and "<<" not in worked
    assert grade("number", worked, question.reference, question.prompt).correct


def test_own_exemplars_are_shown_in_their_order_and_their_questions_not_baked_from() -> None:
    known = split(published()).questions["bake"][3]
    found = showing(own("What comes before 2?", known.prompt), published())
    assert [exemplar.id for exemplar in found.exemplars] == ["own0", "own1"]
    assert known.id not in {question.id for question in found.questions["bake"]}
    assert found.report.few_shot[0].source == "own.jsonl"


@pytest.mark.parametrize("name", ["gate", "verify"])
def test_an_own_exemplar_that_is_judged_on_is_refused_by_name(name) -> None:
    victim = split(published()).questions[name][0]
    with pytest.raises(QuestionError) as refused:
        showing(own("What comes before 2?", victim.prompt.upper()), published())
    one_line(refused, "own.jsonl", "own1", name)


def test_what_cannot_be_shown_is_refused_in_one_line() -> None:
    coded = published()
    programs = [q.model_copy(update={"kind": "code"}) for q in coded.parts["train"]]
    judged = task("judged", test=questions(60, "judged"))
    for few_shot, targets, guards, words in (
        (FewShot(30), [task(train=questions(20, "few"), test=questions(60))], [], ["few_shot", "30"]),
        (FewShot(2), [published()], [judged], ["task judged", "few_shot_file"]),
        (replace(own("a?"), count=2), [published()], [], ["own.jsonl", "1 exemplars", "2"]),
        (own("a?", name="other"), [published()], [], ["own.jsonl", "other", "mine"]),
    ):
        with pytest.raises(QuestionError) as refused:
            showing(few_shot, *(replace(t, parts=_of(t)) for t in targets), guards=guards)
        one_line(refused, *words)
    with pytest.raises(QuestionError) as refused:
        choose_exemplars(FewShot(2), {"mine": task(train=programs)}, {"mine": programs}, [])
    one_line(refused, "few_shot", "mine", "code")


def _of(data_set: TaskQuestions) -> dict[str, tuple[Question, ...]]:
    """Return its parts with all questions of its own task."""
    return {
        part: tuple(question.model_copy(update={"task": data_set.task}) for question in found)
        for part, found in data_set.parts.items()
    }


GOOD = {"prompt": "What is 2 + 2?", "reference": "4", "kind": "number"}


def test_a_file_of_exemplars_is_read_with_its_answers(tmp_path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [GOOD | {"answer": "2 and 2\n\nmake 4.\n"}, GOOD | {"prompt": "1 + 3?", "task": "other", "id": "x"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, other = read_exemplars(file, "mine")
    assert (one.task, one.answer, other.task, other.answer, other.id) == ("mine", "2 and 2\nmake 4.", "other", "4", "x")
    assert [exemplar.answer for exemplar in read_exemplars(file, "mine", bare=True)] == ["4", "4"]
    file.write_text(rows_text([one, other]))
    assert read_exemplars(file, "mine") == (one, other)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([GOOD, GOOD], ["twice"]),
        ([GOOD, GOOD | {"prompt": "3 + 3?", "answer": "It is 5."}], [":2", "It is 5.", "'4'"]),
        ([{"reference": "4", "kind": "number"}], [":1", "prompt"]),
        ([GOOD | {"answer": 4}], [":1", "answer"]),
        ([GOOD | {"answer": " \n"}], [":1", "answer"]),
        ([GOOD | {"reference": "four or so"}], [":1", "four or so"]),
        ([GOOD | {"worked": "4"}], [":1", "worked"]),
    ],
)
def test_a_bad_exemplar_is_refused_in_one_line(tmp_path, rows, words) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(QuestionError) as refused:
        read_exemplars(file, "mine")
    one_line(refused, str(file), *words)


def test_stop_strings_that_stand_in_a_shown_answer_are_refused() -> None:
    shown = showing(own("What comes before 2?"), published()).exemplars
    check_stops(shown, ["\n", "never"])
    with pytest.raises(QuestionError) as refused:
        check_stops(shown, ["is 1"])
    one_line(refused, "own0", "is 1", "stop_strings")
