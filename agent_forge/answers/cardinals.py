"""English number words, as in `twelve` or `three thousand two hundred and five`; read only after a cue."""

import re
from fractions import Fraction

# fmt: off
_ONES = {word: value for value, word in enumerate((
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
))}
_TENS = {word: value * 10 for value, word in enumerate((
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
), start=2)}
# fmt: on
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_WORD = re.compile(r"[a-z]+")
_BETWEEN = re.compile(r"[\s-]{1,3}")
_BETWEEN_SCALES = re.compile(r",?[\s-]{1,3}")


def leading_cardinal(text: str) -> tuple[Fraction, int] | None:
    """Return the number that the text begins with in words, and where it ends; None when it begins with none."""
    words, end = _leading_words(text.lower())
    negative = bool(words) and words[0] in ("minus", "negative")
    value = _value(words[negative:])
    return None if value is None else (Fraction(-value if negative else value), end)


def _leading_words(text: str) -> tuple[list[str], int]:
    words: list[str] = []
    end = position = 0
    while (word := _WORD.match(text, position)) is not None:
        name = word.group()
        is_sign = not words and name in ("minus", "negative")
        if name in _ONES or name in _TENS or name in _SCALES or name == "hundred" or is_sign:
            words.append(name)
            end = word.end()
        elif name != "and" or not words:
            break
        gap = (_BETWEEN_SCALES if name in _SCALES else _BETWEEN).match(text, word.end())
        if gap is None:
            break
        position = gap.end()
    return words, end


def _value(words: list[str]) -> int | None:
    """Add up words in falling scales; None for an order that is no number, as in `one two`."""
    if words == ["zero"]:
        return 0
    total, group, last_scale = 0, 0, 10**12
    for word in words:
        if word in _SCALES:
            if not group or _SCALES[word] >= last_scale:
                return None
            last_scale = _SCALES[word]
            total, group = total + group * last_scale, 0
        elif word == "hundred":
            if not 1 <= group <= 99:
                return None
            group *= 100
        else:
            added = _ONES.get(word, _TENS.get(word, 0))
            if not 0 < added < _room(group):
                return None
            group += added
    return total + group if words else None


def _room(group: int) -> int:
    """Return what the next word must be smaller than: 100 after `two hundred`, 10 after `twenty`, 1 after `five`."""
    if group % 100 == 0:
        return 100
    return 10 if group % 10 == 0 and group % 100 >= 20 else 1
