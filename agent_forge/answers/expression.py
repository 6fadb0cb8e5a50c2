r"""LaTeX expressions, evaluated at a point: exactly where they are rational, else to sixty digits.

    value(r"\frac{x+1}{2}", {"x": Fraction(3)})    ->  2
    value(r"52_8", {})                             ->  Unreadable

A recursive-descent parser that evaluates as it reads. What it does not know for certain it refuses: a wrong reading
would make two different answers equal. Sums, integrals and limits are refused as `NeedsAlgebra`. Every operation is
bounded, so no text can keep it busy.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from agent_forge.answers.values import (
    CONSTANTS,
    DEGREE,
    FUNCTIONS,
    NeedsAlgebra,
    Unreadable,
    Value,
    add,
    binomial,
    divide,
    factorial,
    log,
    multiply,
    power,
    root,
)

LONGEST = 1000
DEEPEST = 40

_TOKEN = re.compile(r"\\[A-Za-z]+|\\[{}|]|\d+(?:\.\d+)?|\.\d+|[A-Za-z](?![A-Za-z]{2})|[A-Za-z]{3,}|\S")
_VARIABLE = re.compile(r"[A-Za-z]|\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|omega)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_TIMES = ("*", r"\cdot", r"\times")
_ALGEBRA = (r"\sum", r"\prod", r"\int", r"\lim")
_CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}


def value(latex: str, point: Mapping[str, Value]) -> Value:
    """Evaluate an expression.

    Args:
        latex: one expression, tidy; no relation, list or unit.
        point: value of every variable.

    Raises:
        Unreadable: for anything that is not certainly understood, or too large.
    """
    return _Reader(latex, lambda name: point[name]).read()


def variables(latex: str) -> frozenset[str]:
    """Return the names of an expression's variables; raises Unreadable like `value`."""
    found: set[str] = set()

    def note(name: str) -> Value:
        found.add(name)
        return Fraction(len(name) + len(found), 7)

    _Reader(latex, note).read()
    return frozenset(found)


class _Reader:
    """Tokens of one expression and the place reached in them."""

    def __init__(self, latex: str, lookup: Callable[[str], Value]) -> None:
        if len(latex) > LONGEST:
            raise Unreadable("too long")
        self.tokens = _TOKEN.findall(latex)
        self.place = 0
        self.depth = 0
        self.lookup = lookup

    def read(self) -> Value:
        result = self.sum()
        if self.place < len(self.tokens):
            raise Unreadable(self.next)
        return result

    @property
    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        """Take the next token if it is one of those expected, or whatever it is if none are named."""
        token = self.next
        if not token or (expected and token not in expected):
            return ""
        self.place += 1
        return token

    def demand(self, token: str) -> None:
        if not self.take(token):
            raise Unreadable(f"{self.next!r} instead of {token!r}")

    def sum(self) -> Value:
        sign = self.take("+", "-")
        total = -self.product() if sign == "-" else self.product()
        while operator := self.take("+", "-"):
            term = self.product()
            total = add(total, term if operator == "+" else -term)
        return total

    def product(self) -> Value:
        result = self.signed_power()
        while True:
            if self.take(*_TIMES):
                result = multiply(result, self.signed_power())
            elif self.take("/", r"\div"):
                result = divide(result, self.signed_power())
            elif self.starts_factor():
                result = multiply(result, self.power())
            else:
                return result

    def signed_power(self) -> Value:
        return -self.power() if self.take("-") else self.power()

    def starts_factor(self) -> bool:
        """Whether the next token can be multiplied by standing there; two numbers side by side cannot."""
        token = self.next
        if _NUMBER.fullmatch(token):
            last = self.tokens[self.place - 1]
            if _NUMBER.fullmatch(last) or last == "}" or _is_name(last):
                # `x2` may be a power or an index.
                raise Unreadable("a number behind a number or a name")
            return True
        is_opening = token in ("(", "[", "{", r"\lfloor", r"\lceil")
        return is_opening or _is_name(token) or token in (r"\frac", r"\sqrt", r"\binom", r"\log")

    def power(self) -> Value:
        base = self.postfixed(self.atom())
        if self.take("^"):
            base = self.postfixed(power(base, self.group()))
            if self.next == "^":
                raise Unreadable("a power of a power without braces")
        return base

    def postfixed(self, result: Value) -> Value:
        while postfix := self.take("!", r"\degree"):
            result = factorial(result) if postfix == "!" else multiply(result, DEGREE)
        return result

    def group(self, single_digit: bool = False) -> Value:
        """Read what a command or a power applies to: braces, or one token."""
        if self.next == "{":
            return self.bracketed("{")
        token = self.next
        if single_digit and token.isdigit() and len(token) > 1:
            # `\frac12` is 1/2: LaTeX takes one digit.
            self.tokens[self.place] = token[1:]
            return Fraction(token[0])
        if self.take("-"):
            return -self.atom()
        return self.atom()

    def bracketed(self, opening: str) -> Value:
        self.demand(opening)
        result = self.sum()
        self.demand(_CLOSING[opening])
        return result

    def atom(self) -> Value:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("nested too deep")
        result = self.bare_atom()
        self.depth -= 1
        return result

    def bare_atom(self) -> Value:
        token = self.next
        if _NUMBER.fullmatch(token):
            return self.number()
        if token in ("(", "[", "{"):
            return self.bracketed(token)
        if token in (r"\lfloor", r"\lceil"):
            return FUNCTIONS[token](self.bracketed(token))
        if token == "|":
            return self.absolute()
        self.take()
        if token in FUNCTIONS:
            return self.function(token)
        if token in CONSTANTS:
            return CONSTANTS[token]
        if _VARIABLE.fullmatch(token):
            return self.lookup(token + self.subscript())
        return self.command(token)

    def number(self) -> Value:
        token = self.take()
        if len(token) > 1 and not token.strip("0"):
            raise Unreadable("a part of a number with separators")
        if self.next == "_":
            raise Unreadable("a number in another base")
        whole = Fraction(token)
        if self.next == r"\frac" and token.isdigit():
            fraction = re.fullmatch(r"\\frac\{(\d+)\}\{(\d+)\}", "".join(self.tokens[self.place : self.place + 7]))
            compact = re.fullmatch(r"\\frac(\d)(\d)", "".join(self.tokens[self.place : self.place + 2]))
            if fraction or compact:
                return add(whole, self._proper_fraction())
        return whole

    def _proper_fraction(self) -> Value:
        fraction = self.atom()
        if not 0 < fraction < 1:
            raise Unreadable("a number before an improper fraction")
        return fraction

    def absolute(self) -> Value:
        self.demand("|")
        result = self.sum()
        self.demand("|")
        return FUNCTIONS["|"](result)

    def subscript(self) -> str:
        if not self.take("_"):
            return ""
        if not self.take("{"):
            return "_" + self.take()
        name = ""
        while self.next not in ("}", ""):
            name += self.take()
        self.demand("}")
        return "_" + name

    def function(self, name: str) -> Value:
        exponent = self.group() if self.take("^") else None
        argument = self.bracketed(self.next) if self.next in ("(", "{", "[") else self.argument()
        result = FUNCTIONS[name](argument)
        if exponent == -1:
            raise Unreadable("an inverse function written as a power")
        return result if exponent is None else power(result, exponent)

    def argument(self) -> Value:
        r"""Read what follows a function without brackets: `\sin 2x` takes factors up to an operator."""
        result = self.power()
        while _is_name(self.next) and self.next not in FUNCTIONS:
            result = multiply(result, self.power())
        return result

    def command(self, token: str) -> Value:
        if token == r"\frac":
            above = self.group(single_digit=True)
            return divide(above, self.group(single_digit=True))
        if token == r"\binom":
            return binomial(self.group(single_digit=True), self.group(single_digit=True))
        if token == r"\sqrt":
            degree = self.bracketed("[") if self.next == "[" else Fraction(2)
            return root(self.group() if self.next != "(" else self.bracketed("("), degree)
        if token == r"\log":
            base = self.group() if self.take("_") else Fraction(10)
            return log(self.bracketed(self.next) if self.next in ("(", "{") else self.argument(), base)
        if token in _ALGEBRA:
            raise NeedsAlgebra(token)
        raise Unreadable(repr(token))


def _is_name(token: str) -> bool:
    return bool(_VARIABLE.fullmatch(token)) or token in CONSTANTS or (token in FUNCTIONS and token != "|")
