"""Values: fractions as long as they stay exact, else numbers of sixty digits; every operation bounded.

Sixty digits are computed and forty compared: expressions of answers' length that agree so far are equal, and two that
differ do not come that close.
"""

import operator
from collections.abc import Callable
from fractions import Fraction
from math import ceil, comb, floor
from math import factorial as integer_factorial
from typing import Any, TypeAlias

import mpmath  # type: ignore[import-untyped]

# A Fraction, or a real or complex number of `_MP`, whose types are made at run time.
Value: TypeAlias = Any

DIGITS = 60
COMPARED = 40
LARGEST_BITS = 4000
LARGEST_FACTORIAL = 300

_MP = mpmath.mp.clone()
_MP.dps = DIGITS
# What is left of a zero that was computed: sin pi is not exactly 0.
_SMALLEST = _MP.mpf(10) ** (10 - DIGITS)


class Unreadable(Exception):  # noqa: N818  # not an error of the package: it never leaves the graders
    """The text is not certainly understood, or its value is out of bounds."""


class NeedsAlgebra(Unreadable):
    """The text holds a sum, an integral or the like, which only computer algebra evaluates."""


def equal(first: Value, second: Value) -> bool:
    """Whether two values are the same number, exactly or to forty digits."""
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first == second
    one, other = approximate(first), approximate(second)
    larger = max(abs(one), abs(other))
    return bool(larger < _SMALLEST or abs(one - other) <= larger * _MP.mpf(10) ** -COMPARED)


def approximate(value: Value) -> Value:
    """Return a value as a number of sixty digits."""
    if isinstance(value, Fraction):
        return _MP.mpf(value.numerator) / value.denominator
    return _MP.convert(value)


def add(first: Value, second: Value) -> Value:
    """Return the sum."""
    return within(operator.add(*_alike(first, second)))


def multiply(first: Value, second: Value) -> Value:
    """Return the product."""
    return within(operator.mul(*_alike(first, second)))


def divide(above: Value, below: Value) -> Value:
    """Return the quotient."""
    if below == 0:
        raise Unreadable("division by zero")
    return within(operator.truediv(*_alike(above, below)))


def within(value: Value) -> Value:
    """Return the value if it is finite and its size is within bounds."""
    if isinstance(value, Fraction):
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
    elif not _MP.isfinite(value):
        raise Unreadable("not finite")
    else:
        bits = abs(_MP.mag(value)) if value else 0
    if bits > LARGEST_BITS:
        raise Unreadable("too large")
    return value


def power(base: Value, exponent: Value) -> Value:
    """Return base to the exponent, exactly for integer exponents of fractions."""
    if base == 0 and not _is_positive(exponent):
        raise Unreadable("a power of zero")
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = base.numerator.bit_length() + base.denominator.bit_length() if isinstance(base, Fraction) else 1
        if abs(exponent.numerator) * size > 2 * LARGEST_BITS:
            raise Unreadable("too large a power")
        return within(base**exponent.numerator)
    if abs(approximate(exponent)) > LARGEST_BITS:
        raise Unreadable("too large a power")
    return within(_MP.power(approximate(base), approximate(exponent)))


def root(base: Value, degree: Value) -> Value:
    """Return the principal root; the real one for odd degrees of negative numbers."""
    if not isinstance(degree, Fraction) or degree.denominator != 1 or not 2 <= degree <= 100:
        raise Unreadable("a root of such degree")
    number = approximate(base)
    if degree % 2 and not isinstance(number, _MP.mpc) and number < 0:
        return -_MP.root(-number, int(degree))
    return _MP.root(number, int(degree))


def log(argument: Value, base: Value) -> Value:
    """Return the logarithm of an argument to a base."""
    below = _MP.log(_nonzero(base))
    return within(_MP.log(_nonzero(argument)) / _nonzero(below))


def factorial(value: Value) -> Value:
    """Return the factorial of a small natural number."""
    return Fraction(integer_factorial(_natural(value)))


def binomial(above: Value, below: Value) -> Value:
    """Return the binomial coefficient of small natural numbers."""
    return Fraction(comb(_natural(above), _natural(below)))


def _alike(first: Value, second: Value) -> tuple[Value, Value]:
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first, second
    return approximate(first), approximate(second)


def _natural(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= LARGEST_FACTORIAL:
        raise Unreadable("no small natural number")
    return int(value)


def _is_positive(value: Value) -> bool:
    return not isinstance(value, _MP.mpc) and bool(value > 0)


def _nonzero(value: Value) -> Value:
    number = approximate(value)
    if number == 0:
        raise Unreadable("zero where none may be")
    return number


def _function(compute: Callable[[Value], Value]) -> Callable[[Value], Value]:
    def bounded(argument: Value) -> Value:
        try:
            return within(compute(within(approximate(argument))))
        except (ValueError, ZeroDivisionError, OverflowError, NotImplementedError) as cause:
            raise Unreadable(str(cause)) from cause

    return bounded


def _absolute(value: Value) -> Value:
    return abs(value)


def _rounded(exact: Callable[[Fraction], int], rounding: str) -> Callable[[Value], Value]:
    def compute(value: Value) -> Value:
        if isinstance(value, Fraction):
            return Fraction(exact(value))
        if isinstance(value, _MP.mpc):
            raise Unreadable("a complex number rounded")
        nearest = _MP.nint(value)
        # The logarithm of 8 to the base 2 is 3, though sixty digits may fall short of it.
        near = equal(Fraction(int(nearest)), value)
        return Fraction(int(nearest if near else getattr(_MP, rounding)(value)))

    return compute


CONSTANTS: dict[str, Value] = {
    r"\pi": +_MP.pi,
    "e": +_MP.e,
    "i": _MP.mpc(0, 1),
}
DEGREE = +_MP.pi / 180
FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "|": _absolute,
    r"\lfloor": _rounded(floor, "floor"),
    r"\lceil": _rounded(ceil, "ceil"),
    **{
        rf"\{name}": _function(getattr(_MP, name))
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "ln", "exp")
    },
    **{rf"\arc{name}": _function(getattr(_MP, f"a{name}")) for name in ("sin", "cos", "tan")},
}
