r"""When two mathematical answers are the same.

What an answer is made of decides how it is compared:

    1,-2   {1,-2}   1 \pm 2      in any order
    (1,-2)                       in order
    (3,4]                        in order, brackets included
    (0,9) \cup (9,36)            intervals in any order
    \begin{pmatrix}..            entry by entry
    x = 5   y = 2x+3             by the right-hand side against a bare answer, as equations against an equation
    everything else              by value, at several points where there are variables

Values come from `expression`, exactly or to forty digits. Only sums, integrals and limits go to the symbolic checker
given: asked about anything, it takes `52_8` for 52 and `3 \ 0` for `0 \ 0`.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

from agent_forge.answers.expression import value, variables
from agent_forge.answers.latex import MathAnswer, same_unit
from agent_forge.answers.values import NeedsAlgebra, Unreadable, Value, divide, equal

# Called with the LaTeX of what was found and what was expected, for expressions that cannot be evaluated here.
Symbolic = Callable[[str, str], bool]

# Two expressions that agree at this many points, of both signs, are the same.
POINTS = 5
MOST_ITEMS = 60

_OPENING = ("(", "[", "{", r"\{")
_CLOSING = (")", "]", "}", r"\}")
_PIECE = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{([a-zA-Z]+)\}(.*)\\end\{\1\}", re.DOTALL)
_SAME_BRACKETS = {"pmatrix": "matrix", "bmatrix": "matrix", "matrix": "matrix"}
_RELATIONS = frozenset({"=", "<", ">", r"\le", r"\ge", r"\ne"})
_FLIPPED = {">": "<", r"\ge": r"\le"}
_MEMBER = re.compile(r"^\s*[A-Za-z]\s*\\in(?![A-Za-z])")
_ENTRY = r"\s{0,3}(?:[A-Za-z]|\\[a-z]+)(?:_\w|_\{\w+\})?\s{0,3}"
_NAMED_TUPLE = re.compile(rf"^\s*\({_ENTRY}(?:,{_ENTRY}){{1,5}}\)\s*=\s*(?=\()")
_INTERVAL = re.compile(r"\s*[(\[].*,.*[)\]]\s*$", re.DOTALL)
_LETTER = re.compile(r"[A-Za-z]|\\[a-z]+")
# What an answer may be called: `x`, `x_1`, `f(2)`, `P(A)`, `AB`, `\angle ABC`, `\text{Area}`.
_NAME = re.compile(
    r"\s*(?:\\(?:angle|triangle|overline)\s*)?(?:\\text\s?\{[^{}]*\}|\{?[A-Za-z]{1,20}\}?|\\[a-z]+)(?:_\w|_\{\w+\})?"
    r"(?:\s*\([\w\s,]{0,20}\))?\s*"
)


def same_answer(found: MathAnswer, expected: MathAnswer, symbolic: Symbolic) -> bool:
    """Whether two answers are the same, their units included.

    Args:
        found: what the completion says.
        expected: the reference.
        symbolic: decides about two expressions that cannot be evaluated here.
    """
    if expected.text or found.text:
        return (found.text or found.body.strip("() ").lower()) == expected.text
    if not found.body or not same_unit(found.unit, expected.unit):
        return False
    if _same(found.body, expected.body, symbolic):
        return True
    if found.percent == expected.percent:
        return False
    # 15% is 15 to a question that asks for percent and 0.15 to one that does not.
    percent, bare = (found, expected) if found.percent else (expected, found)
    return _same(rf"\frac{{{percent.body}}}{{100}}", bare.body, symbolic)


def _same(found: str, expected: str, symbolic: Symbolic) -> bool:
    if _squeezed(found) == _squeezed(expected):
        return True
    if _MEMBER.match(found) is None or _MEMBER.match(expected) is None:
        found, expected = _MEMBER.sub("", found), _MEMBER.sub("", expected)
    if _NAMED_TUPLE.match(found) is None or _NAMED_TUPLE.match(expected) is None:
        # `(x,y) = (1,2)`
        found, expected = _NAMED_TUPLE.sub("", found), _NAMED_TUPLE.sub("", expected)
    if (matrix := _same_matrices(found, expected, symbolic)) is not None:
        return matrix
    if _INTERVAL.match(found) or _INTERVAL.match(expected):
        found, expected = _as_intervals(found) or found, _as_intervals(expected) or expected
    for separator in (r"\cup", ","):
        parts = _items(found, separator), _items(expected, separator)
        if max(map(len, parts)) > 1:
            if separator == "," and _distinct_names(parts[0]) != _distinct_names(parts[1]):
                return _same_in_order(*parts, symbolic)
            return _same_in_any_order(*parts, symbolic)
        found, expected = parts[0][0], parts[1][0]
    brackets = _brackets(found), _brackets(expected)
    if brackets[0] or brackets[1]:
        return brackets[0] == brackets[1] and _same_in_order(
            _split(found.strip()[1:-1], ","), _split(expected.strip()[1:-1], ","), symbolic
        )
    return _same_relations(found, expected, symbolic)


def _squeezed(latex: str) -> str:
    """Return LaTeX without blanks and needless braces; a blank between two digits stays."""
    compact = re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", latex)
    return re.sub(r"([_^])\{(\w)\}", r"\1\2", compact)


def _split(latex: str, separator: str) -> list[str]:
    """Split at separators that stand outside all brackets."""
    return _split_at(latex, frozenset({separator}))[0]


def _split_at(latex: str, separators: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the parts and the separators between them; the brackets of intervals need not match each other."""
    parts, found, depth = [""], list[str](), 0
    for piece in _PIECE.findall(latex):
        depth += (piece in _OPENING or piece == r"\begin") - (piece in _CLOSING or piece == r"\end")
        if piece in separators and depth <= 0:
            parts.append("")
            found.append(piece)
        else:
            parts[-1] += piece
    return [part.strip() for part in parts], found


def _items(latex: str, separator: str) -> list[str]:
    r"""Return the members of a list or set, `a \pm b` as two of them."""
    text = latex.strip()
    if separator == "," and text.startswith(r"\{") and text.endswith(r"\}"):
        text = text[2:-2]
    items = _split(text, separator)
    if len(items) > MOST_ITEMS:
        raise Unreadable("too many items")
    if separator != ",":
        return items
    return [variant for item in items for variant in _both_signs(item)]


def _both_signs(item: str) -> list[str]:
    if r"\pm" not in item and r"\mp" not in item:
        return [item]
    plus = re.sub(r"\\pm(?![A-Za-z])", "+", item), re.sub(r"\\pm(?![A-Za-z])", "-", item)
    return [re.sub(r"\\mp(?![A-Za-z])", sign, text) for sign, text in zip("-+", plus, strict=True)]


def _same_in_any_order(found: Sequence[str], expected: Sequence[str], symbolic: Symbolic) -> bool:
    left = list(expected)
    if len(found) != len(left):
        return False
    for item in found:
        match = next((other for other in left if _same(item, other, symbolic)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_in_order(found: Sequence[str], expected: Sequence[str], symbolic: Symbolic) -> bool:
    return len(found) == len(expected) and all(
        _same(one, other, symbolic) for one, other in zip(found, expected, strict=True)
    )


def _distinct_names(items: Sequence[str]) -> bool:
    """Whether items say of which names they are the values, as in `x = 1, y = 2`: then their order counts."""
    return len({item.partition("=")[0].strip() for item in items if "=" in item}) > 1


def _as_intervals(latex: str) -> str | None:
    r"""Return inequalities of one name as intervals: `x < 2, 3 \le x` as `(-\infty,2) \cup [3,\infty)`."""
    intervals = [_as_interval(*_split_at(item, _RELATIONS)) for item in _split(latex, ",")]
    return r" \cup ".join(filter(None, intervals)) if all(intervals) else None


def _as_interval(sides: list[str], signs: list[str]) -> str | None:
    signs, sides = _ascending(signs, sides)
    if not set(signs) <= {"<", r"\le"} or not 2 <= len(sides) <= 3:
        return None
    if len(sides) == 2 and _LETTER.fullmatch(sides[0]):
        sides, signs = [r"-\infty", *sides], ["<", *signs]
    elif len(sides) == 2:
        sides, signs = [*sides, r"\infty"], [*signs, "<"]
    if not _LETTER.fullmatch(sides[1]):
        return None
    return f"{'(' if signs[0] == '<' else '['}{sides[0]},{sides[2]}{')' if signs[1] == '<' else ']'}"


def _brackets(latex: str) -> str:
    """Return the brackets of a tuple or interval, empty for anything else."""
    text = latex.strip()
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and len(_split(text[1:-1], ",")) > 1:
        return text[0] + text[-1]
    return ""


def _same_matrices(found: str, expected: str, symbolic: Symbolic) -> bool | None:
    """Compare two matrices entry by entry; None when neither is one."""
    matrices = _MATRIX.fullmatch(found.strip()), _MATRIX.fullmatch(expected.strip())
    if matrices == (None, None):
        return None
    one, other = matrices
    if one is None or other is None:
        return False
    kinds = [_SAME_BRACKETS.get(matrix.group(1), matrix.group(1)) for matrix in (one, other)]
    rows = [_split(matrix.group(2).strip().removesuffix(r"\\"), r"\\") for matrix in (one, other)]
    return (
        kinds[0] == kinds[1]
        and len(rows[0]) == len(rows[1])
        and all(_same_in_order(_split(a, "&"), _split(b, "&"), symbolic) for a, b in zip(*rows, strict=True))
    )


def _same_relations(found: str, expected: str, symbolic: Symbolic) -> bool:
    sides, signs = zip(_split_at(found, _RELATIONS), _split_at(expected, _RELATIONS), strict=True)
    if not signs[0] and not signs[1]:
        return _same_value(found, expected, symbolic)
    if not signs[0] or not signs[1]:
        bare, named = (0, 1) if not signs[0] else (1, 0)
        if signs[named] == ["="] and _LETTER.fullmatch(sides[named][1]) and not _NAME.fullmatch(sides[named][0]):
            sides[named].reverse()
        names_answer = set(signs[named]) == {"="} and _names_answer(sides[named], symbolic)
        return names_answer and _same_value(sides[0][-1], sides[1][-1], symbolic) and len(sides[bare]) == 1
    if signs[0] == signs[1] == ["="]:
        return _same_equation(sides[0], sides[1], symbolic)
    ordered = [_ascending(sign, side) for sign, side in zip(signs, sides, strict=True)]
    return ordered[0][0] == ordered[1][0] and _same_in_order(ordered[0][1], ordered[1][1], symbolic)


def _names_answer(sides: Sequence[str], symbolic: Symbolic) -> bool:
    """Whether `x = 5` or `2 + 3 = 5` gives a value; `x^2 = 9` and `2x = 10` do not."""
    if _NAME.fullmatch(sides[0]):
        return True
    return not variables(sides[0]) and _same_value(sides[0], sides[-1], symbolic)


def _ascending(signs: list[str], sides: list[str]) -> tuple[list[str], list[str]]:
    """Turn `5 > x` into `x < 5`."""
    if signs and all(sign in _FLIPPED for sign in signs):
        return [_FLIPPED[sign] for sign in reversed(signs)], sides[::-1]
    return signs, sides


def _same_equation(found: Sequence[str], expected: Sequence[str], symbolic: Symbolic) -> bool:
    """Two equations are the same when left minus right of one is a constant multiple of the other's."""
    if _same_value(found[0], expected[0], symbolic) and _same_value(found[1], expected[1], symbolic):
        return True
    one, other = f"({found[0]})-({found[1]})", f"({expected[0]})-({expected[1]})"
    names = variables(one) | variables(other)
    ratios = [divide(value(one, point), value(other, point)) for point in _points(names)]
    return ratios[0] != 0 and all(equal(a, b) for a, b in pairwise(ratios))


def _same_value(found: str, expected: str, symbolic: Symbolic) -> bool:
    if r"\infty" in found + expected:
        return _squeezed(found).removeprefix("+") == _squeezed(expected).removeprefix("+")
    try:
        names = variables(found)
        if names != variables(expected):
            return False
        return all(equal(value(found, point), value(expected, point)) for point in _points(names))
    except NeedsAlgebra:
        return symbolic(found, expected)


def _points(names: frozenset[str]) -> list[dict[str, Value]]:
    """Return fixed points: rationals between 0.1 and 3, positive at the first two, of either sign at the others."""
    return [{name: _coordinate(name, index) for name in names} for index in range(POINTS if names else 1)]


def _coordinate(name: str, index: int) -> Fraction:
    number = int.from_bytes(hashlib.blake2b(f"{name}/{index}".encode(), digest_size=8).digest(), "big")
    size = Fraction(number % 2903 + 97, 1009)
    return -size if index > 1 and (number >> 32) % 2 else size
