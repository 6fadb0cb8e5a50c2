"""The worker process behind `symbolic`: reads requests, one JSON object a line, and answers `equal` or `different`.

It ends itself when one request takes more processor seconds than its first argument says, or that many times its second
by the clock, when it needs more memory than it may have, and when its parent is gone. Nothing but answers ever reaches
the parent's pipe.
"""

import json
import logging
import os
import resource
import signal
import sys
import warnings

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Rational  # type: ignore[import-untyped]

MEMORY_LIMIT = 4 * 2**30
# The library takes numbers that agree to six digits for equal; two expressions must agree to these many here.
AGREEMENT = 30
DIGITS = 50


def are_equal(found: str, expected: str) -> bool:
    """Whether math-verify takes two LaTeX expressions for equal and an evaluation at two points confirms it."""
    parsed = [_parse(latex) for latex in (expected, found)]
    one, other = parsed
    if not isinstance(one, Basic) or not isinstance(other, Basic) or one.free_symbols != other.free_symbols:
        return False
    # A limit of None: the parent and the timers below keep the time.
    if not verify(one, other, timeout_seconds=None):
        return False
    return all(_agree(one, other, numerator) for numerator in (5, 11))


def _parse(latex: str) -> object:
    found = parse(f"${latex}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if len(found) == 1 else None


def _agree(one: Basic, other: Basic, numerator: int) -> bool:
    names = sorted(one.free_symbols, key=str)
    point = {name: Rational(numerator + 3 * index, 7) for index, name in enumerate(names)}
    difference = (one - other).subs(point).evalf(DIGITS)
    size = 1 + abs(one.subs(point).evalf(DIGITS))
    return bool(difference.is_number and abs(difference) < size * Rational(10) ** -AGREEMENT)


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    logging.disable()
    warnings.simplefilter("ignore")
    limit, patience = map(float, sys.argv[1:])
    # The first question must not pay for what the libraries load only when they are asked.
    are_equal(r"\frac{x}{2}", "x/2")
    print("ready", file=answers)
    for line in sys.stdin:
        _set_timers(limit, limit * patience)
        print("equal" if _answer(json.loads(line)) else "different", file=answers)
        _set_timers(0, 0)


def _set_timers(processor: float, clock: float) -> None:
    """Have this process ended by SIGPROF or SIGALRM after so many seconds; 0 is never."""
    signal.setitimer(signal.ITIMER_PROF, processor)
    signal.setitimer(signal.ITIMER_REAL, clock)


def _answer(request: dict[str, str]) -> bool:
    try:
        return are_equal(request["found"], request["expected"])
    except Exception:  # whatever fails inside the library, it has not shown them equal
        return False


if __name__ == "__main__":
    main()
