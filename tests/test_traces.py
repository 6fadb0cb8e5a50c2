from collections import Counter
from types import SimpleNamespace

import pytest

from agent_forge.records import Trace
from agent_forge.traces import Candidate, choose_traces, false_equation, in_order, is_repetitive, normalised_steps


def candidate(thought="1+1=2", correct=True, truncated=False, well_formed=True, question="q", sample=0):
    trace = Trace(
        question_id=question,
        sample=sample,
        seed=1,
        thought=thought,
        completion="2",
        text=thought,
        thought_tokens=5,
        tokens=6,
    )
    return Candidate(trace=trace, correct=correct, truncated=truncated, well_formed=well_formed)


def select_traces(samples, solved_directly, traces_per_question):
    """Choose for one question after another, as collect-traces does."""
    kept, rejected = [], Counter()
    for question in dict.fromkeys(sample.trace.question_id for sample in samples):
        own = [sample for sample in samples if sample.trace.question_id == question]
        kept += choose_traces(own, solved_directly.get(question, False), traces_per_question, rejected)
    return SimpleNamespace(kept=kept, rejected=in_order(rejected))


@pytest.mark.parametrize("thought", ["3+4=7;5+9=14;3-8=-5", "10/3=3.33", "1,000+5=1005", "$5*2=$10", "2+3+4=9", ""])
def test_true_or_unjudged_arithmetic_passes(thought):
    assert false_equation(thought) is None


@pytest.mark.parametrize(
    "thought", ["3+4=8", "so 3 - 8 = 5.", "10/3=3.34", "7 / 0 = 0", "6 x 7 = 41", "It is 5. 3+4=8", "so, 3+4=8"]
)
def test_false_arithmetic_is_found(thought):
    assert false_equation(thought) is not None


@pytest.mark.parametrize("thought", ["16 - 3 - 4 = 9", "2 * 3 + 4 = 10", "(2 + 3) * 4 = 20"])
def test_longer_true_expressions_are_not_misread(thought):
    assert false_equation(thought) is None


def test_every_rejected_sample_is_counted_once_under_its_reason():
    samples = [
        candidate("1+1=2", sample=0),
        candidate("1+1 = 2", sample=1),
        candidate("2+2=5", sample=2),
        candidate("a", correct=False, sample=3),
        candidate("b", truncated=True, sample=4),
        candidate("", sample=5),
        candidate("one and one", sample=6),
        candidate("the third way", sample=7),
    ]
    chosen = select_traces(samples, {}, traces_per_question=2)
    assert [trace.sample for trace in chosen.kept] == [0, 6]
    assert chosen.rejected == {
        "duplicate": 1,
        "false_arithmetic": 1,
        "incorrect": 1,
        "truncated": 1,
        "malformed": 1,
        "surplus": 1,
    }
    assert len(chosen.kept) + sum(chosen.rejected.values()) == len(samples)


def test_questions_always_or_never_solved_are_left_out():
    samples = [candidate(question="easy"), candidate(question="hard", correct=False), candidate(question="useful")]
    chosen = select_traces(samples, {"easy": True, "useful": False}, traces_per_question=2)
    assert [trace.question_id for trace in chosen.kept] == ["useful"]
    assert chosen.rejected == {"always_solved": 1, "never_solved": 1}


def test_repetition():
    assert is_repetitive("wait, no. " * 20)
    assert not is_repetitive("3+4=7;7-2=5;5+9=14;4-1=3;3+5=8")


def test_spacing_and_case_do_not_make_a_new_thought():
    assert normalised_steps("3 + 4 = 7;\nThen  8") == normalised_steps("3+4=7\nthen 8")
