"""What an evolution asks is apart from itself, and its bake keeps clear of it."""

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.errors import QuestionError
from agent_forge.questions.evolution_split import SPLITS, EvolutionQuestions, split_for_evolution
from agent_forge.questions.normalise import question_id
from agent_forge.questions.overlap import overlap_between
from agent_forge.questions.sources import TaskQuestions
from agent_forge.questions.split import split_questions
from agent_forge.records import Question, SelectedQuestion


def questions(count: int, what: str = "pears") -> tuple[Question, ...]:
    prompts = (f"How many {what} are {number} and one more?" for number in range(count))
    return tuple(Question(id=question_id(p), prompt=p, reference="1", kind="number", task="mine") for p in prompts)


def passage(name: str, number: int) -> Question:
    """A question that shares a long passage with every other of its number."""
    words = " ".join(f"word{number}x{place}" for place in range(14))
    prompt = f"{name} asks about {words} in question {number}?"
    return Question(id=question_id(prompt), prompt=prompt, reference="1", kind="number", task="mine")


def draw(task: TaskQuestions, samples: int = 8) -> EvolutionQuestions:
    return split_for_evolution([task], [], dict.fromkeys(SPLITS, samples))


def bake_of(task: TaskQuestions, selected: Sequence[SelectedQuestion], samples: int = 5):
    return split_questions([task], [], samples, samples, None, selected_on=selected)


@settings(max_examples=5)
@given(st.integers(200, 400), st.integers(0, 40))
def test_no_set_leaks_into_another_nor_into_any_split_of_the_bake(count: int, shared: int) -> None:
    leaking = [passage(name, number) for number in range(shared) for name in ("Ada", "Bo", "Cy")]
    task = TaskQuestions("mine", {"any": (*questions(count), *leaking)}, "mine.jsonl")
    drawn = draw(task)
    baked = bake_of(task, drawn.selected_on)
    sets = [*drawn.questions.values(), *baked.questions.values()]
    for one, other in combinations(sets, 2):
        assert {question.id for question in one}.isdisjoint(question.id for question in other)
        assert overlap_between(one, other) == []
    assert len(drawn.selected_on) == 24 and baked.report.selected_on == drawn.selected_on


def test_what_chose_a_base_model_is_not_asked_again_but_passed_on() -> None:
    task = TaskQuestions("mine", {"any": questions(300)}, "mine.jsonl")
    first = draw(task)
    second = split_for_evolution([task], [], dict.fromkeys(SPLITS, 8), selected_on=first.selected_on)
    assert set(first.selected_on) < set(second.selected_on) and len(second.selected_on) == 48
    assert {q.id for q in first.selected_on}.isdisjoint(q.id for found in second.questions.values() for q in found)


def test_without_their_names_the_bake_would_ask_them_again() -> None:
    task = TaskQuestions("mine", {"any": questions(300)}, "mine.jsonl")
    used = {question.id for question in draw(task).selected_on}
    asked = bake_of(task, [], samples=40)
    assert used & {question.id for found in asked.questions.values() for question in found}


def test_what_chooses_comes_from_train_and_what_measures_from_test() -> None:
    made = questions(120)
    drawn = draw(TaskQuestions("mine", {"train": made[:60], "test": made[60:]}, "mine"))
    trained = {question.id for question in made[:60]}
    for split, found in drawn.questions.items():
        assert {question.id for question in found} <= trained or split == "confirm"
    assert trained.isdisjoint(question.id for question in drawn.questions["confirm"])


def test_a_question_of_another_set_that_shares_a_passage_is_kept_out_of_every_split() -> None:
    seen = passage("Ada", 1)
    selected = SelectedQuestion(id=seen.id, split="select", text=seen.prompt)
    copies = [passage(name, 1) for name in ("Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida")]
    task = TaskQuestions("mine", {"any": (*questions(100), *copies, seen)}, "other.jsonl")
    report = bake_of(task, [selected]).report
    dropped = {question.question_id: question.leaks_into for question in report.dropped}
    assert dropped == dict.fromkeys([seen.id, *(copy.id for copy in copies)], "select")
    assert len({question.split for question in report.dropped}) > 1


def test_too_few_questions_name_the_field() -> None:
    with pytest.raises(QuestionError, match="confirm_samples"):
        split_for_evolution(
            [TaskQuestions("mine", {"any": questions(60)}, "mine.jsonl")], [], {"evolve": 2, "select": 2, "confirm": 50}
        )
    with pytest.raises(QuestionError, match="only published test questions"):
        draw(TaskQuestions("mine", {"test": questions(60)}, "mine.jsonl"))
