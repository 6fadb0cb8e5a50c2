from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.errors import ResultsError
from agent_forge.observations import observe
from agent_forge.records import ResultRow
from agent_forge.statistics import LARGEST_SCALE

ARMS = ("baseline", "thought")


def row(question, number, arm="baseline", correct=True, text=None, **fields):
    text = f"{question} {number} {arm}" if text is None else text
    return ResultRow(question_id=question, round=number, arm=arm, correct=correct, completion=text, **fields)


def paired(questions, rounds, text=None, correct=lambda question, number, arm: True):
    """Rows of both arms; `text(question, round)` makes completions repeat."""
    return [
        row(q, r, arm, correct=correct(q, r, arm), text=None if text is None else text(q, r))
        for q in questions
        for r in range(rounds)
        for arm in ARMS
    ]


def observed(rows):
    return observe(rows, required=ARMS, optional=("pause",))


def test_a_question_is_averaged_over_its_rounds():
    observations = observed(paired("ab", 3, correct=lambda q, r, arm: (q, arm) != ("a", "thought") or r == 0))
    assert observations.arms["thought"].accuracies == {"a": Fraction(1, 3), "b": 1}
    differences, scale = observations.differences("thought", "baseline", ["a", "b"])
    assert (differences.tolist(), scale) == ([-2, 0], 3)
    assert observations.accuracy("thought", ["a", "b"]) == Fraction(2, 3)
    assert observations.rounds == observations.effective_rounds == 3


def test_identical_rounds_are_one_observation():
    observations = observed(paired("abcd", 8, text=lambda q, r: q))
    assert (observations.rounds, observations.effective_rounds) == (8, 1)


def test_repeats_are_averaged_away_before_the_distinct_rounds():
    rows = paired("ab", 3, text=lambda q, r: f"{q}{min(r, 1)}", correct=lambda q, r, arm: r == 0)
    assert observed(rows).arms["baseline"].accuracies == {"a": Fraction(1, 2), "b": Fraction(1, 2)}


def test_rounds_that_agree_on_some_questions_only_are_kept():
    rows = paired("abcdefghij", 3, text=lambda q, r: q if q != "j" else f"{q}{r}", correct=lambda q, r, arm: r == 0)
    observations = observed(rows)
    assert observations.effective_rounds == 3
    assert set(observations.arms["thought"].accuracies.values()) == {Fraction(1, 3)}


def test_each_arm_has_its_own_repeats():
    rows = [row(q, r, "baseline", text=q) for q in "ab" for r in range(3)]
    rows += [row(q, r, "thought", correct=r == 0) for q in "ab" for r in range(3)]
    observations = observed(rows)
    assert observations.arms["baseline"].distinct_rounds == 1
    assert observations.arms["thought"].distinct_rounds == 3
    assert observations.effective_rounds == 1


def test_a_repeat_that_lacks_a_question_is_still_a_repeat():
    rows = [r for r in paired("abcd", 4, text=lambda q, r: q) if (r.question_id, r.round) != ("d", 3)]
    assert observed(rows).effective_rounds == 1


def test_a_round_with_few_questions_is_never_taken_for_a_repeat():
    rows = paired("abcdef", 1, text=lambda q, r: q)
    rows += [row("a", 1, arm, correct=False, text="a") for arm in ARMS]
    observations = observed(rows)
    assert observations.small_rounds == 1
    assert observations.arms["baseline"].accuracies["a"] == Fraction(1, 2)


def test_two_judgements_of_one_repeated_text_are_averaged():
    rows = paired("ab", 2, text=lambda q, r: q, correct=lambda q, r, arm: r == 0)
    observations = observed(rows)
    assert observations.effective_rounds == 1
    assert observations.arms["baseline"].accuracies == {"a": Fraction(1, 2), "b": Fraction(1, 2)}


def test_questions_may_have_different_numbers_of_rounds():
    rounds = {"a": 2, "b": 3, "c": 3}
    rows = [
        row(q, r, arm, correct=arm == "thought" and r == 0) for q, n in rounds.items() for r in range(n) for arm in ARMS
    ]
    differences, scale = observed(rows).differences("thought", "baseline", ["a", "b", "c"])
    assert (differences.tolist(), scale) == ([3, 2, 2], 6)


def test_very_uneven_rounds_are_rounded_symmetrically():
    rows = [
        row(f"q{n}", r, arm, correct=arm == "thought" and r == 0)
        for n in range(1, 24)
        for r in range(n)
        for arm in ARMS
    ]
    observations = observed(rows)
    questions = sorted(observations.target_questions)
    forwards, scale = observations.differences("thought", "baseline", questions)
    backwards, _ = observations.differences("baseline", "thought", questions)
    assert scale == LARGEST_SCALE
    assert (forwards == -backwards).all()
    assert forwards[questions.index("q7")] == round(LARGEST_SCALE / 7)


def test_truncation_is_a_share_of_all_completions():
    rows = [row(q, r, arm, truncated=arm == "thought" and q == "a") for q in "ab" for r in range(2) for arm in ARMS]
    observations = observed(rows)
    assert {arm: held.truncated for arm, held in observations.arms.items()} == {"baseline": 0.0, "thought": 0.5}


def test_what_was_cut_off_is_wrong_in_anybodys_rows():
    rows = [row(q, 0, arm, correct=True, truncated=arm == "thought" and q == "a") for q in "ab" for arm in ARMS]
    differences, scale = observed(rows).differences("thought", "baseline", ["a", "b"])
    assert (differences / scale).tolist() == [-1.0, 0.0]


@given(st.permutations(paired("abc", 2)), st.permutations(range(5)))
def test_order_of_rows_and_names_of_rounds_do_not_show(rows, names):
    renamed = [r.model_copy(update={"round": names[r.round]}) for r in rows]
    assert observed(renamed) == observed(paired("abc", 2))


@st.composite
def experiments(draw):
    """Rows of few questions, rounds and texts, so that rounds repeat each other whole, in part or not at all."""
    asked = draw(st.sets(st.tuples(st.sampled_from("abcd"), st.integers(0, 4)), min_size=3))
    one, other = draw(st.permutations("abcd"))[:2]
    places = sorted({*asked, (one, 0), (other, 0)})
    said = st.tuples(st.sampled_from("xy"), st.booleans())
    return [row(q, n, arm, *draw(said)[::-1]) for q, n in places for arm in ARMS]


def defined(rows, arm):
    """Every question's accuracy by the module's words: over rounds that no other contains, each with its repeats."""
    own = [r for r in rows if r.arm == arm]
    said = {r.round: {(o.question_id, o.completion_sha256) for o in own if o.round == r.round} for r in own}
    large = {n for n, pairs in said.items() if 2 * len(pairs) >= len({r.question_id for r in own})}
    whole = {frozenset(said[n]) for n in large if not any(said[n] < said[m] for m in large)}
    groups = [{n for n in large if said[n] <= pairs} for pairs in whole] + [{n} for n in said if n not in large]
    found: dict[str, list[Fraction]] = {}
    for group in groups:
        for question in {r.question_id for r in own if r.round in group}:
            grades = [r.correct for r in own if r.round in group and r.question_id == question]
            found.setdefault(question, []).append(Fraction(sum(grades), len(grades)))
    return {question: sum(grades) / len(grades) for question, grades in found.items()}


@settings(max_examples=60, deadline=None)
@given(experiments())
def test_accuracies_are_those_of_the_definition(rows):
    observations = observed(rows)
    for arm in ARMS:
        assert observations.arms[arm].accuracies == defined(rows, arm)
    questions = observations.target_questions
    baseline, thought = (defined(rows, arm) for arm in ARMS)
    found, scale = observations.differences("thought", "baseline", questions)
    assert [Fraction(int(n), scale) for n in found] == [thought[q] - baseline[q] for q in questions]
    assert observations.accuracy("thought", questions) == sum(thought[q] for q in questions) / len(questions)


def without(rows, question, number, arm):
    return [r for r in rows if (r.question_id, r.round, r.arm) != (question, number, arm)]


COMPLETE = paired("ab", 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no result rows"),
        ([*COMPLETE, row("a", 1)], "question a, round 1, arm baseline: more than one row"),
        ([*COMPLETE, row("a", 1, "baked")], "question a, round 1, arm baked: unexpected arm"),
        (without(COMPLETE, "b", 1, "thought"), "question b, round 1: no thought row"),
        (without(COMPLETE, "b", 0, "baseline"), "question b, round 0: no baseline row"),
        ([*COMPLETE, row("a", 0, "pause")], "question a, round 1: no pause row"),
        ([row("a", 0, "thought"), row("b", 0, "thought")], "question a, round 0: no baseline row"),
        ([*COMPLETE, *(row("a", 2, arm, task="other") for arm in ARMS)], "question a, round 2, arm baseline: task"),
        ([*COMPLETE, *(row("c", 0, arm, role="guard") for arm in ARMS)], "questions is both target and guard"),
        ([r.model_copy(update={"role": "guard"}) for r in COMPLETE], "no target task among questions"),
        (paired("a", 3), "task questions: question a is its only one"),
        ([*COMPLETE, *(row("c", 0, arm, task="alone") for arm in ARMS)], "task alone: question c is its only one"),
    ],
)
def test_rows_that_are_no_paired_experiment_are_refused_in_one_line(rows, message):
    with pytest.raises(ResultsError) as refusal:
        observed(rows)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
