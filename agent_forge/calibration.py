"""Does the gate keep its promise, and how many questions should one buy?

    calibrate(np.random.default_rng(0), criteria, experiments=1000, questions=100, rounds=3)     # by simulation
    plan(effect=0.05, power=0.8)                                                                 # by formula

Simulated experiments (`agent_forge.simulation` tells their model) go through the very functions that judge real
results (`agent_forge.comparison`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import special

from agent_forge.comparison import Criteria, TaskSample, compare_tasks, decide
from agent_forge.config import FEWEST_BETWEEN_LOOKS, MOST_LOOKS
from agent_forge.errors import ConfigError
from agent_forge.looks import Look, boundaries, first_crossings, planned_questions
from agent_forge.records import GATE_ARMS, GateVerdict, Record
from agent_forge.simulation import SCENARIOS, BoolArray, Experiments, Scenario, draw_experiments, question_deviation
from agent_forge.statistics import MOST_QUESTIONS, FloatArray, clopper_pearson, questions_needed

# Completions simulated at once: a few tens of megabytes.
CHUNK = 1_000_000


class ScenarioCalibration(Record):
    """How often the gate and the usual shortcut find a gain in one scenario; intervals are 95 % Clopper-Pearson.

    Attributes:
        scenario: how rounds come about.
        false_bake_rate: share of `bake` verdicts between equal arms.
        false_bake_interval: its interval.
        bake_rate: share of `bake` verdicts when the thought arm is better by `effect`: the power.
        bake_interval: its interval.
        no_bake_rate: share of `no_bake` verdicts when the thought arm is better by `effect`: gains given up wrongly.
        round_means_false_rate: how often a one-sided t-test over the round means calls equal arms different.
        saved_when_equal: expected share of the completions that is not needed between equal arms.
        saved_when_better: the same when the thought arm is better by `effect`.
    """

    scenario: Scenario
    false_bake_rate: float
    false_bake_interval: tuple[float, float]
    bake_rate: float
    bake_interval: tuple[float, float]
    no_bake_rate: float
    round_means_false_rate: float
    saved_when_equal: float = 0.0
    saved_when_better: float = 0.0


class CalibrationReport(Record):
    """What `calibrate` measured; `looks` is how often each experiment is looked at, to end at the first finding."""

    schema_version: Literal[1] = 1
    experiments: int
    questions: int
    rounds: int
    looks: int = 1
    effect: float
    alpha: float
    min_improvement: float
    scenarios: tuple[ScenarioCalibration, ...]


class PlanOption(Record):
    """How many questions are needed with so many rounds; completions count all arms of the gate.

    `expected_completions` is what is sampled on average when looks end the evaluation early and the effect is as
    planned; the same as `completions` without looks.
    """

    rounds: int
    questions: int
    completions: int
    expected_completions: int


class PlanReport(Record):
    """What `plan` recommends: `cheapest` has the fewest completions, `options` come by ascending rounds."""

    schema_version: Literal[1] = 1
    effect: float
    power: float
    alpha: float
    min_improvement: float
    looks: int = 1
    options: tuple[PlanOption, ...]
    cheapest: PlanOption


@dataclass(frozen=True)
class Ending:
    """How one simulated experiment ended, and after how many of its questions."""

    verdict: GateVerdict
    questions: int


def simulated_verdicts(experiments: Experiments, criteria: Criteria) -> Iterator[GateVerdict]:
    """Yield the gate's verdict on every experiment, as one target task without guards."""
    for ending in simulated_endings(experiments, criteria, 1):
        yield ending.verdict


def simulated_endings(experiments: Experiments, criteria: Criteria, looks: int) -> Iterator[Ending]:
    """Yield how every experiment ends that is looked at so many times."""
    planned = planned_questions(experiments.baseline_BNR.shape[1], looks)
    every = [replace(criteria, look=Look(number, planned)) for number in range(1, looks + 1)]
    for baseline_NR, thought_NR in zip(experiments.baseline_BNR, experiments.thought_BNR, strict=True):
        yield _ending(baseline_NR, thought_NR, every)


def _ending(baseline_NR: BoolArray, thought_NR: BoolArray, every: Sequence[Criteria]) -> Ending:
    for criteria in every:
        seen = criteria.look.questions[criteria.look.number - 1]
        verdict = _verdict(baseline_NR[:seen], thought_NR[:seen], criteria)
        if verdict != "inconclusive":
            break
    return Ending(verdict, seen)


def _verdict(baseline_NR: BoolArray, thought_NR: BoolArray, criteria: Criteria) -> GateVerdict:
    differences_N = thought_NR.sum(axis=1) - baseline_NR.sum(axis=1)
    accuracies = float(baseline_NR.mean()), float(thought_NR.mean())
    sample = TaskSample("simulated", "target", differences_N, baseline_NR.shape[1], *accuracies)
    return decide(compare_tasks([sample], criteria), criteria)


def round_means_p(experiments: Experiments) -> FloatArray:
    """Return what the usual shortcut would report: a paired one-sided t-test over the means of the rounds.

    It takes rounds for the unit although they share their questions, and needs none of the rounds to differ: identical
    rounds have no spread, so that any gain, however small, counts as certain.

    Returns:
        `p_B`, one p per experiment; 0.5 where the means are equal without spread, and with a single round.
    """
    gains_BR = experiments.thought_BNR.mean(axis=1) - experiments.baseline_BNR.mean(axis=1)
    rounds = gains_BR.shape[1]
    if rounds == 1:
        return np.full(len(gains_BR), 0.5)
    mean_B, error_B = gains_BR.mean(axis=1), gains_BR.std(axis=1, ddof=1) / math.sqrt(rounds)
    certain_B = np.where(mean_B > 0, 0.0, np.where(mean_B < 0, 1.0, 0.5))
    # Rounding leaves about 1e-17 between identical rounds; a real difference is at least one answer.
    spread_B = error_B > 1e-12
    statistic_B = np.divide(mean_B, error_B, out=np.zeros_like(mean_B), where=spread_B)
    p_B: FloatArray = np.where(spread_B, special.stdtr(rounds - 1, -statistic_B), certain_B)
    return p_B


def calibrate(
    generator: np.random.Generator,
    criteria: Criteria,
    experiments: int = 1000,
    questions: int = 100,
    rounds: int = 3,
    effect: float = 0.05,
    looks: int = 1,
) -> CalibrationReport:
    """Measure the gate's false-bake rate between equal arms and its power for a gain, in every scenario.

    Args:
        generator: source of randomness; the report is a function of its state and the other arguments.
        criteria: what the gate asks for.
        experiments: experiments per scenario, without and with the gain.
        questions: questions per experiment, at least 2.
        rounds: rounds per experiment.
        effect: the gain in accuracy whose power is measured.
        looks: planned looks at the questions; an experiment ends at the first that decides.

    Raises:
        ConfigError: for sizes too small to simulate, looks too many for them, or an effect beyond `LARGEST_EFFECT`
            either way.
    """
    if experiments < 1 or questions < 2 or rounds < 1:
        raise ConfigError(
            f"{experiments} experiments of {questions} questions and {rounds} rounds: expected at least 1, 2 and 1"
        )
    _check_looks(questions, looks)
    return CalibrationReport(
        experiments=experiments,
        questions=questions,
        rounds=rounds,
        looks=looks,
        effect=effect,
        alpha=criteria.alpha,
        min_improvement=criteria.min_improvement,
        scenarios=tuple(
            _calibrate_scenario(generator, criteria, (experiments, questions, rounds), effect, scenario, looks)
            for scenario in SCENARIOS
        ),
    )


def plan(
    effect: float,
    power: float,
    alpha: float = 0.05,
    min_improvement: float = 0.02,
    rounds: Sequence[int] = (1, 2, 3, 5, 8),
    looks: int = 1,
) -> PlanReport:
    """Say how many questions find a gain of `effect`, for each number of sampled rounds, and which costs least.

    Uses `questions_needed` with the model's deviation. With greedy decoding the line for one round holds, whatever
    the number of rounds. On equal cost fewer rounds win: more questions also say more about other questions.

    With looks the last one is judged at a little less than alpha, and the plan takes its level for the whole, leaving
    aside what earlier looks find: it asks for a few questions too many rather than too few.

    Args:
        effect: true gain in accuracy, as a fraction.
        power: probability of `bake` given that gain.
        alpha: the gate's rate of false bakes.
        min_improvement: the gate's smallest gain worth baking for.
        rounds: numbers of rounds to compare.
        looks: planned looks at the questions.

    Raises:
        ConfigError: for a power, level or number of rounds that is none, or an effect that is not above
            min_improvement, above `LARGEST_EFFECT`, or needs more than `MOST_QUESTIONS` questions.
    """
    if not 0 < power < 1:
        raise ConfigError(f"power {power:g}: expected a probability between 0 and 1")
    if not 0 < alpha < 0.5:
        raise ConfigError(f"alpha {alpha:g}: expected a level between 0 and 0.5")
    if not rounds or min(rounds) < 1:
        raise ConfigError(f"rounds {list(rounds)}: expected one or more numbers, each at least 1")
    if effect <= min_improvement:
        raise ConfigError(f"effect {effect:g} is not above min_improvement {min_improvement:g}: it would not be baked")
    if not 1 <= looks <= MOST_LOOKS:
        raise ConfigError(f"looks {looks}: expected 1 to {MOST_LOOKS}")
    last_level = Look(looks, planned_questions(MOST_QUESTIONS, looks)).level(alpha)
    options = [
        _option(effect, r, needed, alpha, min_improvement, looks)
        for r in sorted(set(rounds))
        if (needed := questions_needed(effect, question_deviation(effect, r), last_level, power, min_improvement))
    ]
    if not options:
        raise ConfigError(f"effect {effect:g} needs more than {MOST_QUESTIONS:,} questions; plan for a larger one")
    return PlanReport(
        effect=effect,
        power=power,
        alpha=alpha,
        min_improvement=min_improvement,
        looks=looks,
        options=tuple(options),
        cheapest=min(options, key=lambda option: (option.expected_completions, option.rounds)),
    )


def _option(effect: float, rounds: int, needed: int, alpha: float, min_improvement: float, looks: int) -> PlanOption:
    completions = needed * rounds * len(GATE_ARMS)
    planned = planned_questions(needed, looks)
    if looks == 1 or planned[0] < FEWEST_BETWEEN_LOOKS:
        return PlanOption(rounds=rounds, questions=needed, completions=completions, expected_completions=completions)
    expected = _expected_questions(effect, question_deviation(effect, rounds), planned, alpha, min_improvement)
    return PlanOption(
        rounds=rounds,
        questions=needed,
        completions=completions,
        expected_completions=math.ceil(expected * rounds * len(GATE_ARMS)),
    )


def _expected_questions(
    effect: float, deviation: float, planned: tuple[int, ...], alpha: float, min_improvement: float
) -> float:
    """Return how many questions are asked on average until a look finds the gain; others are not counted on."""
    fractions = Look(1, planned).fractions
    bounds = [
        max(bound, min_improvement * math.sqrt(count) / deviation)
        for bound, count in zip(boundaries(fractions, alpha), planned, strict=True)
    ]
    found = first_crossings(bounds, fractions, effect * math.sqrt(planned[-1]) / deviation)
    early = list(zip(found, planned, strict=True))[:-1]
    return planned[-1] - sum(share * (planned[-1] - count) for share, count in early)


def _check_looks(questions: int, looks: int) -> None:
    if looks != 1 and not 1 < looks <= min(MOST_LOOKS, questions // FEWEST_BETWEEN_LOOKS):
        raise ConfigError(
            f"{looks} looks at {questions} questions: expected 1, or up to {MOST_LOOKS} with at least "
            f"{FEWEST_BETWEEN_LOOKS} questions between looks"
        )


def _calibrate_scenario(
    generator: np.random.Generator,
    criteria: Criteria,
    size: tuple[int, int, int],
    effect: float,
    scenario: Scenario,
    looks: int,
) -> ScenarioCalibration:
    equal: list[Ending] = []
    better: list[Ending] = []
    shortcut = 0
    for chunk in _chunks(size):
        drawn = draw_experiments(generator, *chunk, 0.0, scenario)
        equal += simulated_endings(drawn, criteria, looks)
        shortcut += int((round_means_p(drawn) <= criteria.alpha).sum())
        better += simulated_endings(draw_experiments(generator, *chunk, effect, scenario), criteria, looks)
    experiments, questions, _ = size
    false, true = _count(equal, "bake"), _count(better, "bake")
    return ScenarioCalibration(
        scenario=scenario,
        false_bake_rate=false / experiments,
        false_bake_interval=clopper_pearson(false, experiments, 0.05),
        bake_rate=true / experiments,
        bake_interval=clopper_pearson(true, experiments, 0.05),
        no_bake_rate=_count(better, "no_bake") / experiments,
        round_means_false_rate=shortcut / experiments,
        saved_when_equal=_saved(equal, questions),
        saved_when_better=_saved(better, questions),
    )


def _count(endings: Sequence[Ending], verdict: GateVerdict) -> int:
    return sum(ending.verdict == verdict for ending in endings)


def _saved(endings: Sequence[Ending], questions: int) -> float:
    """Return the share of the questions that were not asked; every question takes as many completions."""
    return 1 - sum(ending.questions for ending in endings) / (questions * len(endings))


def _chunks(size: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    experiments, questions, rounds = size
    most = max(1, CHUNK // (questions * rounds))
    for first in range(0, experiments, most):
        yield min(most, experiments - first), questions, rounds
