"""Choosing the champion: who is compared in the end, who wins, and how much better that is than the base models.

The best of many noisy scores is over-optimistic, so the search's own scores only say who is compared; `select` says who
wins; and what is claimed of the winner is measured on `confirm`, which has chosen nothing.
"""

from collections.abc import Mapping, Sequence

from agent_forge.comparison import Criteria, accepts, compare_tasks, count_flips, decide, pooled_sample, task_samples
from agent_forge.evolution_records import Candidate, Gain, GainAgainst, GainVerdict
from agent_forge.gate import observation_warnings
from agent_forge.observations import Observations, observe
from agent_forge.records import GateVerdict, ResultRow, TaskComparison
from agent_forge.statistics import t_interval

_VERDICTS: Mapping[GateVerdict, GainVerdict] = {
    "bake": "better",
    "no_bake": "not_better",
    "inconclusive": "inconclusive",
}


def choose_elites(candidates: Sequence[Candidate], count: int) -> tuple[Candidate, ...]:
    """Return the merges that did best in the search, best first; of equals, those that came up earlier.

    Args:
        candidates: all that came up, in that order; a recipe that came up again counts once.
        count: how many at most.
    """
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.evolve.score is not None and not candidate.base_model:
            first.setdefault(candidate.recipe_sha256, candidate)
    return tuple(sorted(first.values(), key=lambda candidate: -(candidate.evolve.score or 0.0))[:count])


def choose_winner(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate that did best on `select`.

    Of equals a base model wins, then the one that did better in the search, then the one of the smaller digest.
    """
    compared = [candidate for candidate in candidates if candidate.select is not None]
    return min(compared, key=_place)


def _place(candidate: Candidate) -> tuple[float, bool, float, str]:
    assert candidate.select is not None
    on_select, in_search = candidate.select.score, candidate.evolve.score
    # A merge whose model could be used once can always be used; -1 stands below every accuracy all the same.
    selected = -1.0 if on_select is None else on_select
    searched = -1.0 if in_search is None else in_search
    return (-selected, not candidate.base_model, -searched, candidate.recipe_sha256)


def measure_gain(
    champion: Sequence[ResultRow],
    base_models: Mapping[str, Sequence[ResultRow]],
    against: str,
    criteria: Criteria,
) -> Gain:
    """Compare the champion with every base model by the gate's own rule.

    Args:
        champion: its answers on `confirm`.
        base_models: theirs, by name.
        against: the one that did best on `select`, which the gain is stated against.
        criteria: the gate's.

    Raises:
        ResultsError: when they have not answered the same questions in the same rounds.
    """
    compared = {name: _observed(rows, champion) for name, rows in base_models.items()}
    found = {name: _against(observations, criteria) for name, observations in compared.items()}
    observations = compared[against]
    comparisons = _comparisons(observations, criteria)
    pooled = pooled_sample(observations, "baked", "baseline")
    told = found[against]
    every = all(one.verdict == "better" for one in found.values())
    return Gain(
        verdict=told.verdict,
        reason=_reason(told, against, pooled.thought_accuracy, pooled.summary.questions, criteria, every),
        against=against,
        questions=pooled.summary.questions,
        rounds=observations.rounds,
        effective_rounds=observations.effective_rounds,
        base_model_accuracy=told.base_model_accuracy,
        champion_accuracy=pooled.thought_accuracy,
        difference=told.difference,
        confidence_interval=told.confidence_interval,
        confidence_level=1 - criteria.alpha,
        p_value=told.p_value,
        alpha=criteria.alpha,
        min_improvement=criteria.min_improvement,
        non_inferiority_margin=criteria.non_inferiority_margin,
        flips=count_flips(pooled),
        beats_every_base_model=every,
        others={name: one for name, one in found.items() if name != against},
        per_task=comparisons,
        warnings=observation_warnings(observations),
    )


def _observed(before: Sequence[ResultRow], after: Sequence[ResultRow]) -> Observations:
    """Pair two models' answers; the arms' names are those of verification, which compares two models as well."""
    rows = [row.model_copy(update={"arm": "baseline"}) for row in before]
    rows += [row.model_copy(update={"arm": "baked"}) for row in after]
    return observe(rows, required=("baseline", "baked"))


def _comparisons(observations: Observations, criteria: Criteria) -> tuple[TaskComparison, ...]:
    return compare_tasks(task_samples(observations, "baked", "baseline"), criteria)


def _against(observations: Observations, criteria: Criteria) -> GainAgainst:
    comparisons = _comparisons(observations, criteria)
    pooled = pooled_sample(observations, "baked", "baseline")
    verdict = _VERDICTS[decide(comparisons, criteria)]
    assert (verdict == "better") == accepts(comparisons, criteria)
    return GainAgainst(
        verdict=verdict,
        base_model_accuracy=pooled.baseline_accuracy,
        difference=pooled.summary.mean,
        confidence_interval=t_interval(pooled.summary, criteria.alpha),
        p_value=min(task.adjusted_p_value for task in comparisons if task.adjusted_p_value is not None),
    )


def _reason(told: GainAgainst, against: str, accuracy: float, questions: int, criteria: Criteria, every: bool) -> str:
    low, high = told.confidence_interval
    found = (
        f"On {questions} questions that chose nothing the champion answers {accuracy:.1%} right, {against} "
        f"{told.base_model_accuracy:.1%}: {100 * told.difference:+.1f} points ({100 * (1 - criteria.alpha):g}% "
        f"interval {100 * low:+.1f} to {100 * high:+.1f}, p = {told.p_value:.2g})"
    )
    if told.verdict == "better":
        return f"{found}, a significant and worthwhile gain{', and so against every base model' if every else ''}."
    if told.verdict == "not_better":
        return f"{found}, which leaves no room for a gain of {100 * criteria.min_improvement:g} points, or shows harm."
    return f"{found}, which does not settle whether there is a gain of {100 * criteria.min_improvement:g} points."
