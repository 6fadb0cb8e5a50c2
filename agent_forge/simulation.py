"""A model of a language model answering questions, to try the gate on.

- Difficulty. The probability of a correct completion is Beta(0.356, 0.356) over questions: mostly near 0 or near 1,
  0.5 on average. A single completion then has variance 0.104 around its question's probability.
- Heterogeneity. Thinking helps on some questions and hurts on others even when it changes nothing on average. The two
  arms' probabilities are exchangeable, each with the distribution above: the thought arm's is a draw given as many
  successes as the baseline's would have in `AGREEMENT` = 11 trials (the beta-binomial pair), which makes their
  difference symmetric with standard deviation 0.133.
- Effect. A gain multiplies the thought arm's odds on every question by one factor, as a gain in ability does in the
  Rasch model (1960). It moves most where the model wavers, and nothing where it is always right or always wrong. The
  factor is solved for so that the mean gain in accuracy is the one asked for.
- Rounds are independent draws (`sampled`), or each a copy of the first, as under greedy decoding (`duplicated`).

With R sampled rounds the difference of one question has variance 0.0178 + 0.208 / R between equal arms: more rounds pay
until the second part is small against the first, more questions always do.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from agent_forge.errors import ConfigError
from agent_forge.statistics import FloatArray

DIFFICULTY = 0.356
AGREEMENT = 11
# Beyond this no experiment is needed to see the gain.
LARGEST_EFFECT = 0.3

BoolArray = NDArray[np.bool_]
Scenario = Literal["sampled", "duplicated"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)


@dataclass(frozen=True)
class Experiments:
    """Simulated grades, shape (experiments, questions, rounds) per arm."""

    baseline_BNR: BoolArray
    thought_BNR: BoolArray


def draw_experiments(
    generator: np.random.Generator,
    experiments: int,
    questions: int,
    rounds: int,
    effect: float = 0.0,
    scenario: Scenario = "sampled",
) -> Experiments:
    """Draw experiments in which the thought arm is better by `effect` (a fraction) on average.

    Raises:
        ConfigError: when the effect exceeds `LARGEST_EFFECT` either way.
    """
    size = (experiments, questions)
    baseline_BN = generator.beta(DIFFICULTY, DIFFICULTY, size)
    successes_BN = generator.binomial(AGREEMENT, baseline_BN)
    thought_BN = generator.beta(DIFFICULTY + successes_BN, DIFFICULTY + AGREEMENT - successes_BN)
    shifted_BN = _shift(thought_BN, _odds_factor(effect))
    drawn = rounds if scenario == "sampled" else 1
    copies = rounds // drawn

    def grades(probabilities_BN: FloatArray) -> BoolArray:
        grades_BNR = generator.random((*size, drawn)) < probabilities_BN[:, :, None]
        return np.tile(grades_BNR, (1, 1, copies))

    return Experiments(grades(baseline_BN), grades(shifted_BN))


def question_deviation(effect: float, rounds: int) -> float:
    """Return the model's standard deviation of one question's difference, averaged over sampled rounds.

    Raises:
        ConfigError: when the effect exceeds `LARGEST_EFFECT` either way.
    """
    p_K, weights_K = _difficulties()
    shifted_K = _shift(p_K, _odds_factor(effect))
    within = float(weights_K @ (p_K * (1 - p_K) + shifted_K * (1 - shifted_K)))
    # Given one probability of the pair, the other has mean (a + 11 p) / (2 a + 11): no double integral is needed.
    partner_K = (DIFFICULTY + AGREEMENT * p_K) / (2 * DIFFICULTY + AGREEMENT)
    second_moment = float(weights_K @ (shifted_K**2 + p_K**2 - 2 * shifted_K * partner_K))
    return math.sqrt(second_moment - effect**2 + within / rounds)


def _shift(p: FloatArray, factor: float) -> FloatArray:
    """Multiply odds by a factor; probabilities 0 and 1 stay."""
    shifted: FloatArray = factor * p / (1 - p + factor * p)
    return shifted


@cache
def _odds_factor(effect: float) -> float:
    """Return the factor on the odds that moves the mean probability from 0.5 to 0.5 + effect."""
    if abs(effect) > LARGEST_EFFECT:
        raise ConfigError(f"effect {effect:g}: expected at most {LARGEST_EFFECT:g} (accuracy as a fraction) either way")
    p_K, weights_K = _difficulties()

    def excess(log_factor: float) -> float:
        return float(weights_K @ _shift(p_K, math.exp(log_factor))) - 0.5 - effect

    return math.exp(float(optimize.brentq(excess, -20.0, 20.0, xtol=1e-14)))


@cache
def _difficulties() -> tuple[FloatArray, FloatArray]:
    """Return Gauss-Jacobi nodes and weights: `weights_K @ f(p_K)` is the mean of f over the difficulty's Beta."""
    nodes_K, weights_K = special.roots_jacobi(256, DIFFICULTY - 1, DIFFICULTY - 1)
    return (nodes_K + 1) / 2, weights_K / weights_K.sum()
