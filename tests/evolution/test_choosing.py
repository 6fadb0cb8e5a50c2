"""Who is compared in the end, who wins, and what is claimed of the winner."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.comparison import Criteria
from agent_forge.evolution.choosing import choose_elites, choose_winner, measure_gain
from agent_forge.evolution.scoring import aggregate
from agent_forge.evolution_records import Candidate, Score
from agent_forge.gate import judge
from agent_forge.records import ResultRow

CRITERIA = Criteria(alpha=0.05, min_improvement=0.02, non_inferiority_margin=0.05, power=0.8)
scores = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])


def score(value, split="evolve"):
    return Score(key="k", recipe_sha256="r", split=split, score=value)


def candidate(name, evolve, select=None, base_model=False):
    return Candidate(
        name=str(name),
        generation=0 if base_model else 1,
        base_model=base_model,
        recipe={},
        recipe_sha256=f"sha {name}",
        evolve=score(evolve),
        select=None if select is None else score(select, "select"),
    )


@given(st.lists(scores, max_size=12), st.integers(1, 5))
def test_elites_are_the_best_merges_each_once(found, count):
    came_up = [candidate(number, value) for number, value in enumerate(found)]
    elites = choose_elites([candidate("base", 1.0, base_model=True), *came_up, *came_up], count)
    able = sorted((value for value in found if value is not None), reverse=True)
    assert [elite.evolve.score for elite in elites] == able[:count]
    assert len({elite.name for elite in elites}) == len(elites)
    assert not any(elite.base_model for elite in elites)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2]), st.sampled_from([0.1, 0.2]), st.booleans()), min_size=1))
def test_the_winner_is_best_on_select_and_a_base_model_where_that_is_no_worse(found):
    compared = [candidate(number, *values) for number, values in enumerate(found)]
    winner = choose_winner(compared)
    assert winner.select.score == max(select for _, select, _ in found)
    assert winner.base_model == any(base for _, select, base in found if select == winner.select.score)
    assert choose_winner(compared[::-1]) == winner


def rows(accuracy, seed, questions=200, rounds=2, task="mine"):
    source = np.random.default_rng(seed)
    return [
        ResultRow(
            question_id=f"{task} {n}",
            round=r,
            arm="thought",
            correct=bool(source.random() < accuracy),
            completion=f"{source.random()}",
            task=task,
        )
        for n in range(questions)
        for r in range(rounds)
    ]


@settings(max_examples=10)
@given(st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.integers(0, 10**6))
def test_the_gain_is_what_the_gate_finds(champion, base, seed):
    after, before = rows(champion, [seed, 0]), rows(base, [seed, 1])
    gain = measure_gain(after, {"a": before}, "a", CRITERIA)
    arms = [row.model_copy(update={"arm": "baseline"}) for row in before]
    report = judge([*arms, *after], 0.05, 0.02, 0.05, 0.8)
    assert gain.verdict == {"bake": "better", "no_bake": "not_better", "inconclusive": "inconclusive"}[report.verdict]
    assert (gain.difference, gain.p_value, gain.confidence_interval) == (
        report.difference,
        report.p_value,
        report.confidence_interval,
    )


def test_a_better_base_model_that_select_passed_over_shows():
    champion, worse, better = rows(0.7, 1), rows(0.3, 2), rows(0.9, 3)
    gain = measure_gain(champion, {"worse": worse, "better": better}, "worse", CRITERIA)
    assert gain.verdict == "better" and not gain.beats_every_base_model
    assert gain.others["better"].difference < 0 and "every base model" not in gain.reason
    alone = measure_gain(champion, {"worse": worse}, "worse", CRITERIA)
    assert alone.beats_every_base_model and "every base model" in alone.reason


def test_tasks_count_the_same_or_the_worst_counts():
    assert aggregate({"a": 0.2, "b": 0.6}, "mean") == 0.4
    assert aggregate({"a": 0.2, "b": 0.6}, "worst") == 0.2
