"""Questions that stay on disk are the same as questions that are held."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split import NAMES, corpus, published

from agent_forge.errors import QuestionError
from agent_forge.questions import on_disk
from agent_forge.questions.exemplars import FewShot
from agent_forge.questions.on_disk import QuestionsById, choose, joined, open_questions, stored
from agent_forge.questions.split import split_questions
from agent_forge.records import Question, rows_text

QUESTIONS = tuple(
    Question(id=f"q{k}", prompt=f"é {k}  ?\n", reference=f"{k}", kind="number", task=f"t{k % 3}") for k in range(9)
)


@pytest.fixture
def on_disk_always(monkeypatch):
    monkeypatch.setattr(on_disk, "FEW", 0)


def same(found, expected):
    """Whether a sequence is another in every way that a sequence can be looked at."""
    places = range(-len(expected), len(expected))
    assert len(found) == len(expected)
    assert list(found) == list(expected)
    assert [found[place] for place in places] == [expected[place] for place in places]
    assert list(found[1::2]) == list(expected[1::2])
    with pytest.raises(IndexError):
        found[len(expected)]


def test_a_file_of_questions_is_read_whenever_it_is_asked(tmp_path):
    path = tmp_path / "gate.jsonl"
    path.write_text("\n" + rows_text(QUESTIONS))
    found = open_questions(path)
    path.rename(tmp_path / "elsewhere")
    same(found, QUESTIONS)


def test_what_is_no_question_shows_when_the_file_is_opened(tmp_path):
    path = tmp_path / "gate.jsonl"
    path.write_text(rows_text(QUESTIONS[:2]) + "\n{}\n")
    with pytest.raises(QuestionError, match=r"gate\.jsonl:4: not a valid Question"):
        open_questions(path)
    with pytest.raises(QuestionError, match="cannot read"):
        open_questions(tmp_path / "none.jsonl")


@settings(max_examples=25)
@given(st.lists(st.integers(0, 8), max_size=12), st.integers(0, 9))
def test_stored_joined_and_chosen_questions_are_those_that_are_held(places, cut):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_disk, "FEW", 0)
        parts = [stored(iter(QUESTIONS[:cut])), stored(QUESTIONS[cut:])]
    assert not any(isinstance(part, tuple) for part in parts)
    same(joined(parts), QUESTIONS)
    same(choose(joined(parts), places), choose(QUESTIONS, places))


def test_few_questions_are_held():
    assert stored(iter(QUESTIONS)) == QUESTIONS
    assert choose(QUESTIONS, [2, 1]) == (QUESTIONS[2], QUESTIONS[1])
    assert joined([QUESTIONS[:4], QUESTIONS[4:]]) == QUESTIONS


def test_questions_are_found_by_their_ids(monkeypatch):
    again = QUESTIONS[3].model_copy(update={"task": "later"})
    found = QuestionsById(stored(QUESTIONS), (again,))
    expected = {question.id: question for question in (*QUESTIONS, again)}
    assert {name: found[name] for name in expected} == expected
    assert found.get("q10") is None
    # Different ids with one hash are told apart.
    monkeypatch.setattr(on_disk, "_hashed", lambda name: on_disk.np.uint64(7))
    assert {name: QuestionsById(QUESTIONS)[name] for name in expected} == {q.id: q for q in QUESTIONS}


def test_the_splits_are_the_same_wherever_the_questions_are(on_disk_always):
    data_sets = [published(name) for name in ("mine", "other", "guard")]
    # The first question stands in a corpus; another leaks into one that is judged on.
    first = data_sets[0].parts["test"][0].prompt
    leak = Question(id="leak", prompt=data_sets[1].parts["test"][1].prompt, reference="1", kind="number", task="mine")
    data_sets[0] = replace(data_sets[0], parts={**data_sets[0].parts, "train": (*data_sets[0].parts["train"], leak)})
    elsewhere = [
        replace(data_set, parts={part: stored(asked) for part, asked in data_set.parts.items()})
        for data_set in data_sets
    ]
    held, found = (
        split_questions(sets[:2], sets[2:], 5, 5, None, [corpus(first)], few_shot=FewShot(2))
        for sets in (data_sets, elsewhere)
    )
    assert isinstance(held.questions["gate"], tuple) and not isinstance(found.questions["gate"], tuple)
    assert len(found.report.dropped) > 1
    assert (found.report, found.exemplars) == (held.report, held.exemplars)
    assert all(list(found.questions[name]) == list(held.questions[name]) for name in NAMES)
