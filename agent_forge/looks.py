"""Planned looks: judging a growing experiment several times at the overall level of one judgement.

    look = Look(2, (100, 200, 300))        # the second of three: after 200 of 300 questions of every task
    look.level(0.05)                       # 0.0161: nominal one-sided level of this look; all looks together use 0.05
    look.repeated_p(0.0123, 0.05)          # 0.041: at most 0.05 just when the look's own p is at most its level

Looking k times at level alpha finds a gain between equal arms far more often than alpha. Each look therefore spends a
part of alpha: by the time a fraction t of the questions is in, 2 - 2 Phi(z(1 - alpha / 2) / sqrt(t)) of it, which is
next to nothing early on and leaves the last look almost the whole (Lan and DeMets, Discrete sequential boundaries for
clinical trials, Biometrika 70, 1983; their function in the manner of O'Brien and Fleming, Biometrics 35, 1979).

Sums over the first n_k questions have independent increments, since questions are independent and each enters at one
look with all its rounds. Standardised, they are Brownian motion seen at the fractions n_k / N, and the boundaries
follow one by one from integrating its density over the paths that have not crossed before (Armitage, McPherson and
Rowe, JRSS A 132, 1969; Jennison and Turnbull, Group Sequential Methods, 2000, chapter 19). The gate's exact p-value is
then held against the normal boundary's tail probability, the significance level approach of the same book.

Nothing here assumes that a look which finds no room for a gain stops the experiment: such stops only make false bakes
rarer (non-binding futility).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import optimize, special

from agent_forge.config import MOST_LOOKS
from agent_forge.errors import ConfigError
from agent_forge.statistics import FloatArray

# Nodes of one integral; with twice as many no boundary moves by 1e-9.
NODES = 160
# Paths further below their mean than this many standard deviations are left out: 1e-19 of them.
REACH = 9.0
# A boundary for a share of paths that is too small to be told from none, as of an early look at a tiny level.
UNREACHABLE, SMALLEST_SHARE = 37.5, 1e-300
# Repeated p-values are interpolated between these overall levels; smaller ones are given as the first, larger as 1.
SMALLEST_LEVEL, LARGEST_LEVEL, KNOTS = 1e-12, 0.98, 64


@dataclass(frozen=True)
class Look:
    """One of the planned looks.

    Attributes:
        number: counted from 1.
        questions: how many questions of each task are in at every planned look, ascending; all tasks grow alike.
    """

    number: int
    questions: tuple[int, ...]

    @property
    def last(self) -> bool:
        """Whether all planned questions are in."""
        return self.number == len(self.questions)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Share of the questions that is in at every look."""
        return tuple(count / self.questions[-1] for count in self.questions)

    def level(self, alpha: float) -> float:
        """Return the nominal one-sided level at which this look is judged, so that all of them together use alpha."""
        return levels(self.fractions, alpha)[self.number - 1]

    def repeated_p(self, p_value: float, alpha: float, tests: int = 1) -> float:
        """Return the smallest overall level at which this look's p-value would be within its nominal level.

        Repeated p-values can be adjusted by Holm's method like others: for one hypothesis the chance that any look's
        is at most a level is that level (Maurer and Bretz, Multiple testing in group sequential trials using graphical
        approaches, Statistics in Biopharmaceutical Research 5, 2013). Between the levels that can decide, which are
        met exactly, they are interpolated.

        Args:
            p_value: one-sided, of the questions that are in.
            alpha: overall level.
            tests: number of hypotheses that share it; alpha / 1 to alpha / tests can decide.
        """
        if len(self.questions) == 1:
            return p_value
        overall_K = _knots(alpha, tests)
        nominal_K = np.array([levels(self.fractions, level)[self.number - 1] for level in overall_K])
        if p_value > nominal_K[-1]:
            return 1.0
        log_p = math.log(max(p_value, 1e-300))
        return float(np.exp(np.interp(log_p, np.log(nominal_K), np.log(overall_K))))


ONLY_LOOK = Look(1, (1,))


def planned_questions(questions: int, looks: int) -> tuple[int, ...]:
    """Return how many of a task's questions are in at each of equally spaced looks."""
    return tuple(questions * number // looks for number in range(1, looks + 1))


def parse_planned(text: str) -> tuple[int, ...]:
    """Read planned looks as given on the command line: numbers of questions by commas; none for an empty text.

    Raises:
        ConfigError: when they are not two or more ascending numbers.
    """
    if not text:
        return ()
    parts = [part.strip() for part in text.split(",")]
    planned = tuple(int(part) for part in parts if part.isdecimal())
    if len(planned) != len(parts) or not 2 <= len(planned) <= MOST_LOOKS or planned[0] < 2:
        raise ConfigError(f"looks {text}: expected 2 to {MOST_LOOKS} numbers of questions by commas, as 100,200,300")
    if any(later <= earlier for earlier, later in pairwise(planned)):
        raise ConfigError(
            f"looks {text}: expected ascending numbers, each look with more questions than the one before"
        )
    return planned


@lru_cache(maxsize=4096)
def levels(fractions: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """Return the nominal one-sided level of each look.

    Args:
        fractions: ascending in (0, 1], the last is 1.
        alpha: overall one-sided level.
    """
    if len(fractions) == 1:
        return (alpha,)
    return tuple(float(special.ndtr(-bound)) for bound in boundaries(fractions, alpha))


@lru_cache(maxsize=4096)
def boundaries(fractions: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """Return what each look's standardised sum must reach; the arguments are those of `levels`."""
    paths, before, bounds = _Paths.start(), 0.0, []
    for fraction in fractions:
        spending = spent(alpha, fraction)
        bounds.append(paths.bound_for(spending - before, fraction))
        paths, before = paths.below(bounds[-1], fraction), spending
    return tuple(bounds)


def first_crossings(bounds: Sequence[float], fractions: Sequence[float], drift: float = 0.0) -> tuple[float, ...]:
    """Return the probability that each look is the first whose standardised sum reaches its bound.

    Args:
        bounds: one for each look.
        fractions: as in `levels`.
        drift: expected standardised sum at the last look, effect * sqrt(questions) / deviation.
    """
    paths, crossings = _Paths.start(drift), []
    for bound, fraction in zip(bounds, fractions, strict=True):
        crossings.append(paths.beyond(bound, fraction))
        paths = paths.below(bound, fraction)
    return tuple(crossings)


def spent(alpha: float, fraction: float) -> float:
    """Return the part of alpha that is spent when a fraction of the questions is in."""
    return float(2 * special.ndtr(special.ndtri(alpha / 2) / math.sqrt(fraction)))


def _knots(alpha: float, tests: int) -> list[float]:
    grid = np.geomspace(SMALLEST_LEVEL, LARGEST_LEVEL, KNOTS).tolist()
    return sorted({*grid, *(alpha / count for count in range(1, tests + 1))})


@dataclass(frozen=True)
class _Paths:
    """Brownian paths that have crossed no boundary yet, as quadrature nodes: where they are, and how many are there."""

    fraction: float
    drift: float
    positions_N: FloatArray
    masses_N: FloatArray

    @classmethod
    def start(cls, drift: float = 0.0) -> "_Paths":
        return cls(0.0, drift, np.zeros(1), np.ones(1))

    def beyond(self, bound: float, fraction: float) -> float:
        """Return the share of all paths that are here and lie at or above the boundary at the next look."""
        step = fraction - self.fraction
        ahead_N = (bound * math.sqrt(fraction) - self.positions_N - self.drift * step) / math.sqrt(step)
        return float(self.masses_N @ special.ndtr(-ahead_N))

    def bound_for(self, share: float, fraction: float) -> float:
        """Return the boundary that this share of all paths crosses at the next look."""
        if share < SMALLEST_SHARE:
            return UNREACHABLE
        if self.fraction == 0:
            return float(-special.ndtri(share))
        return float(optimize.brentq(lambda bound: self.beyond(bound, fraction) / share - 1, -5.0, 40.0, xtol=1e-12))

    def below(self, bound: float, fraction: float) -> "_Paths":
        """Return the paths that are still below at the next look."""
        step, reach = fraction - self.fraction, REACH * math.sqrt(fraction)
        top = min(bound * math.sqrt(fraction), self.drift * fraction + reach)
        bottom = min(self.drift * fraction, top) - reach
        nodes_N, weights_N = _gauss_legendre()
        positions_N = bottom + (top - bottom) * (nodes_N + 1) / 2
        moves_NB = (positions_N[:, None] - self.positions_N - self.drift * step) / math.sqrt(step)
        density_N = (np.exp(-(moves_NB**2) / 2) @ self.masses_N) / math.sqrt(2 * math.pi * step)
        return _Paths(fraction, self.drift, positions_N, density_N * weights_N * (top - bottom) / 2)


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[FloatArray, FloatArray]:
    nodes_N, weights_N = np.polynomial.legendre.leggauss(NODES)
    return nodes_N, weights_N
