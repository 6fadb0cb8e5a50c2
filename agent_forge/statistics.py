"""The statistics of the gate: an exact paired test, intervals over questions, and how many questions to ask.

The question is the unit everywhere. A question's difference is its accuracy in one arm minus its accuracy in another,
a rational number in [-1, 1]. Differences come as integers over a common denominator, the `scale` (+1/3 is 2 over
scale 6), so that every sum is exact and no result depends on the order of the questions:

    differences_N = np.array([2, 0, -1, 2])      # thirds: three rounds per arm
    sign_flip_p(differences_N)                   # 0.1875
    t_interval(summarise(differences_N, 3), alpha=0.05)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from agent_forge.errors import ResultsError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Multiply-adds spent on one exact distribution, a second or so; past it the lattice is coarsened.
CONVOLUTION_BUDGET = 2_000_000_000
# What allocating one more position costs, in multiply-adds: long, sparse lattices are bound by memory.
POSITION_COST = 20
# Terms this far below the largest are left out: they are beyond any p-value worth telling apart.
SMALLEST_TERM = 1e-300
# Differences finer than a millionth are rounded to it: only very uneven rounds have finer ones.
LARGEST_SCALE = 1_000_000
# Planning stops here: a gain that needs more questions is not worth finding.
MOST_QUESTIONS = 1_000_000


@dataclass(frozen=True)
class Summary:
    """Differences as fractions: their number, mean, standard deviation (n - 1) and skewness (0 without spread)."""

    questions: int
    mean: float
    deviation: float
    skewness: float = 0.0


def sign_flip_p(differences_N: IntArray) -> float:
    """Test one-sidedly whether the mean difference is positive, by the exact sign-flip distribution with mid-p.

    Under the null hypothesis every difference is as likely as its negative. The sum of the differences is compared
    with its distribution over all 2^N sign assignments: p = P(sum > observed) + P(sum = observed) / 2. The
    distribution is a convolution of one binomial per distinct magnitude and all its terms are positive, so small
    p-values keep their relative precision, down to about 1e-300.

    Only when that would take more than `CONVOLUTION_BUDGET` multiply-adds (a hundred thousand questions in dozens of
    distinct magnitudes) are the differences first rounded to the finest power-of-two lattice that fits. Rounding to
    even treats d and -d alike, so the rounded differences are as symmetric as the given ones: the test stays exact
    for them and keeps its level.

    Args:
        differences_N: integers over any common denominator, one per question; order and denominator do not matter.

    Returns:
        p in [0, 1]; 0.5 when every difference is zero. Swapping the arms turns p into 1 - p.

    Sources:
        Fisher, The Design of Experiments (1935), section 21; Lancaster, Significance tests in discrete
        distributions, JASA 56 (1961), for mid-p; Pagano and Tritchler, On obtaining permutation distributions in
        polynomial time, JASA 78 (1983), for the convolution.
    """
    differences_N = _affordable(differences_N)
    magnitudes_K, counts_K = _magnitudes(differences_N)
    # A sum of signed magnitudes is 2U - total, U the sum of those that drew a plus: half as many values to hold.
    start, pmf_L = 0, np.ones(1)
    for magnitude, count in zip(magnitudes_K.tolist(), counts_K.tolist(), strict=True):
        first, binomial_B = _binomial(count)
        start += first * magnitude
        pmf_L = _add_multiples(pmf_L, binomial_B, magnitude)
    divisor = _divisor(differences_N)
    observed = int(differences_N[differences_N > 0].sum()) // divisor - start
    if not 0 <= observed < len(pmf_L):
        return float(observed < 0)
    return min(float(pmf_L[observed + 1 :].sum() + pmf_L[observed] / 2), 1.0)


def summarise(differences_N: IntArray, scale: int) -> Summary:
    """Summarise differences given as integers over `scale`.

    Raises:
        ResultsError: with fewer than two questions.
    """
    questions = len(differences_N)
    if questions < 2:
        raise ResultsError(f"{questions} question(s): a spread needs at least 2")
    # Integers up to the roots: the deviation is zero only when all differences are equal, and the scale cancels.
    n, first, second, third = questions, *(_power_sum(differences_N, exponent) for exponent in (1, 2, 3))
    second_moment = n * second - first**2
    third_moment = n**2 * third - 3 * n * first * second + 2 * first**3
    return Summary(
        questions=n,
        mean=first / (n * scale),
        deviation=math.sqrt(second_moment / (n * (n - 1) * scale**2)),
        skewness=math.copysign(math.sqrt(third_moment**2 / second_moment**3), third_moment) if second_moment else 0.0,
    )


def t_interval(summary: Summary, alpha: float) -> tuple[float, float]:
    """Return the two-sided 1 - alpha interval of the mean difference, clustered by question, within [-1, 1].

    Mean +- t * deviation / sqrt(n) with n - 1 degrees of freedom: averaging each question over its rounds first is
    the clustered standard error for equal clusters (Miller, Adding error bars to evals, 2024).

    When all questions have the same difference, n questions without an exception leave room for a share of exceptions
    up to the Clopper-Pearson bound for 0 of n, each as far off as a difference can be: the interval is then
    mean - share * (1 + mean) to mean + share * (1 - mean).
    """
    mirrored = Summary(summary.questions, -summary.mean, summary.deviation)
    return _lower(summary, alpha / 2), -_lower(mirrored, alpha / 2)


def lower_bound(summary: Summary, alpha: float) -> float:
    """Return the one-sided lower bound of the mean difference at level 1 - alpha, within [-1, 1].

    The bound of `t_interval`, moved further down where the differences are skewed to the left. Losses that are rare
    and not offset by gains fool the t bound: with 100 questions in one greedy round, a task that truly loses 5 points
    looks safe by a 5-point margin 13 % of the time instead of 5 %. The first term of the t statistic's Edgeworth
    expansion, skewness * deviation * (1 + 2 t^2) / (6 n), brings that to 4 % (Johnson, Modified t tests and confidence
    intervals for asymmetrical populations, JASA 73, 1978; Hall, JRSS B 54, 1992). It is never used to raise the bound.
    """
    t = _t_quantile(summary.questions - 1, 1 - alpha)
    correction = summary.skewness * summary.deviation * (1 + 2 * t * t) / (6 * summary.questions)
    return max(_lower(summary, alpha) + min(correction, 0.0), -1.0)


def clopper_pearson(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """Return the exact two-sided 1 - alpha interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    failures = trials - successes
    low = float(special.betaincinv(successes, failures + 1, alpha / 2)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - alpha / 2)) if failures else 1.0
    return low, high


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted for their number, in the order given (Holm, Scandinavian J. of Statistics 6, 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def planning_deviation(summary: Summary, alpha: float) -> float:
    """Return the deviation to plan with: the observed one, or a bound on it when no spread was observed.

    With a share of exceptions of at most the bound of `t_interval`, each at most 1 + |mean| away, the deviation is
    at most (1 + |mean|) * sqrt(share).
    """
    if summary.deviation > 0:
        return summary.deviation
    return (1 + abs(summary.mean)) * math.sqrt(_unseen_share(summary.questions, alpha))


def minimum_detectable_effect(
    deviation: float, questions: int, alpha: float, power: float, min_improvement: float = 0.0
) -> float:
    """Return the smallest true mean difference that the test finds with the given power.

    Found means significant and observed as at least `min_improvement`: the larger of t_alpha * se and
    min_improvement, plus t_power * se, where se = deviation / sqrt(questions) and t has questions - 1 degrees of
    freedom. Without min_improvement this is Bloom, Minimum detectable effects, Evaluation Review 19 (1995).

    Args:
        deviation: standard deviation of a question's difference.
        questions: at least 2.
        alpha: one-sided level.
        power: probability of finding it.
        min_improvement: smallest observed difference that counts.
    """
    error = deviation / math.sqrt(questions)
    threshold = max(_t_quantile(questions - 1, 1 - alpha) * error, min_improvement)
    return threshold + _t_quantile(questions - 1, power) * error


def questions_needed(
    effect: float, deviation: float, alpha: float, power: float, min_improvement: float = 0.0
) -> int | None:
    """Return the fewest questions whose `minimum_detectable_effect` is at most `effect`.

    Returns:
        At least 2; None when `MOST_QUESTIONS` would not do, as for an effect that does not exceed min_improvement.
    """

    def enough(questions: int) -> bool:
        return minimum_detectable_effect(deviation, questions, alpha, power, min_improvement) <= effect

    if effect <= max(min_improvement, 0.0) or not enough(MOST_QUESTIONS):
        return None
    too_few, few_enough = 1, MOST_QUESTIONS
    while few_enough - too_few > 1:
        middle = (too_few + few_enough) // 2
        too_few, few_enough = (too_few, middle) if enough(middle) else (middle, few_enough)
    return few_enough


def questions_needed_without_spread(effect: float, mean: float, alpha: float) -> int | None:
    """Return the fewest questions, all with the same difference, whose bound is less than `effect` from the mean.

    The counterpart of `questions_needed` where no spread was observed; the bound is that of `t_interval`, one-sided.

    Returns:
        At least 2; None when `MOST_QUESTIONS` would not do.
    """
    if effect <= 0:
        return None
    share = effect / (1 + abs(mean))
    needed = 2 if share >= 1 else max(math.floor(math.log(alpha) / math.log1p(-share)) + 1, 2)
    return needed if needed <= MOST_QUESTIONS else None


def _power_sum(differences_N: IntArray, exponent: int) -> int:
    values_K, counts_K = np.unique(differences_N, return_counts=True)
    return sum(count * value**exponent for value, count in zip(values_K.tolist(), counts_K.tolist(), strict=True))


def _lower(summary: Summary, level: float) -> float:
    if summary.deviation == 0:
        return summary.mean - _unseen_share(summary.questions, level) * (1 + summary.mean)
    error = summary.deviation / math.sqrt(summary.questions)
    return max(summary.mean - _t_quantile(summary.questions - 1, 1 - level) * error, -1.0)


def _unseen_share(questions: int, level: float) -> float:
    return clopper_pearson(0, questions, 2 * level)[1]


def _t_quantile(degrees: int, probability: float) -> float:
    return float(special.stdtrit(degrees, probability))


def _divisor(differences_N: IntArray) -> int:
    return max(int(np.gcd.reduce(differences_N)), 1)


def _magnitudes(differences_N: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct non-zero magnitudes in lowest terms, ascending, and how often each occurs."""
    magnitudes_N = np.abs(differences_N[differences_N != 0])
    magnitudes_K, counts_K = np.unique(magnitudes_N, return_counts=True)
    return magnitudes_K // _divisor(differences_N), counts_K


def _affordable(differences_N: IntArray) -> IntArray:
    rounded_N, step = differences_N, 1
    while _convolution_cost(rounded_N) > CONVOLUTION_BUDGET:
        step *= 2
        rounded_N = np.rint(differences_N / step).astype(np.int64)
    return rounded_N


def _convolution_cost(differences_N: IntArray) -> int:
    magnitudes_K, counts_K = _magnitudes(differences_N)
    kernels_K = np.array([len(_binomial(count)[1]) for count in counts_K.tolist()], dtype=np.int64)
    lengths_K = 1 + np.cumsum(magnitudes_K * (kernels_K - 1))
    # The first kernel meets a single value; every later one meets what the ones before it have spread out.
    return int(np.dot(lengths_K[:-1], kernels_K[1:] + POSITION_COST))


@lru_cache(maxsize=4096)
def _binomial(trials: int) -> tuple[int, FloatArray]:
    """Return the fair binomial where doubles can hold it: the first success count, then the probabilities.

    Ratios of neighbours are multiplied outwards from the mode and normalised: as precise as the multiplications,
    where log-gamma loses digits in proportion to the number of trials.
    """
    successes_B = np.arange(trials // 2 + 1, trials + 1)
    upper_B = np.cumprod((trials - successes_B + 1) / successes_B)
    upper_B = upper_B[upper_B > SMALLEST_TERM]
    centre = np.ones(1 - trials % 2)
    pmf_B = np.concatenate((upper_B[::-1], centre, upper_B))
    pmf_B /= pmf_B.sum()
    pmf_B.setflags(write=False)
    return (trials + 1 - len(pmf_B)) // 2, pmf_B


def _add_multiples(pmf_L: FloatArray, binomial_B: FloatArray, step: int) -> FloatArray:
    """Return the distribution of X + step * B, X and B independent with the given distributions from zero."""
    length = len(pmf_L) + step * (len(binomial_B) - 1)
    if len(binomial_B) < step:
        sum_L = np.zeros(length)
        for successes, probability in enumerate(binomial_B.tolist()):
            sum_L[successes * step : successes * step + len(pmf_L)] += probability * pmf_L
        return sum_L
    rows = -(-len(pmf_L) // step)
    padded_RS = np.zeros((rows, step))
    padded_RS.ravel()[: len(pmf_L)] = pmf_L
    # Adding a multiple of step keeps the residue: every residue class is a convolution of its own.
    sum_RS = np.stack([np.convolve(padded_RS[:, residue], binomial_B) for residue in range(step)], axis=1)
    return sum_RS.ravel()[:length]
