r"""The words that leaks are made of: a question's words in a form that typography cannot change.

    leak_words("**Tom’s** 10-year-old — he’s 2 × 3 …")  ->  tom s 10 year old he s 2 * 3

Coarser than `normalise.normalise_words`, which ids are made of: case is folded, markup, accents, hyphens, dashes and
percent signs go, and an operator counts only where it stands as one. Where that makes two texts the same, they leak.
Chinese and Japanese are written without spaces: each of their characters is a word.
"""

import html
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from agent_forge.answers.characters import plain

_WORDS = re.compile(r"\w+|[+\-*/=<>^±√]|%(?=\s*\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LETTER = r"[^\W\d_]"
_ONE_LETTER = rf"(?<![^\W_]){_LETTER}(?![^\W\d_])"
_UNSPACED = re.compile("[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Accents, but for the stroke that negates a sign; what stretches a word, chooses a glyph or turns the direction.
_MARKS = re.compile("[\u0300-\u0337\u0339-\u036f\u0640\u202a-\u202e\u2066-\u2069\ufe00-\ufe0f]")
_TAG = re.compile(r"</?(?:[abiup]|br|em|strong|span|div|su[bp]|code|pre|[ou]l|li|h[1-6])\s*/?>")
_SAME = str.maketrans({"÷": "/", "·": "×", "–": "-", "—": "-", "‒": "-", "―": "-", "ʼ": "'", "_": " "})
# A product or a power stands between operands; other asterisks are bullets and emphasis.
_BEFORE = rf"(?:[\d)\]}}]|{_ONE_LETTER})"
_AFTER = rf"(?:[-.]?\d|[(\[{{\\$]|{_LETTER}(?!{_LETTER}))"
_PRODUCT = re.compile(rf"({_BEFORE}\s*)[*×](?=\s*{_AFTER})")
_POWER = re.compile(rf"({_BEFORE})(?:\*\*(?={_AFTER})|\s+\*\*(?=\s+{_AFTER}))")
# A minus has a number, a single letter or a bracket after it and no word joined to it; the rest are dashes.
_DASH = re.compile(
    rf"-(?!\s*(?:-?\s*\.?\d|(?!a\s+{_LETTER}{{2}}){_LETTER}(?!{_LETTER})|[(\[{{\\$√]))|(?<={_LETTER}{{2}})-|-{{3,}}"
)
_SLASH = re.compile(rf"(?<={_LETTER}{{2}})/(?={_LETTER}{{2}})")
_QUOTED = re.compile(r"^[ \t]*>[> ]*|[=<>+]{3,}", re.MULTILINE)

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:(?:st|nd|rd|th)\b)?")
_DIGIT_RUN = "0"
# fmt: off
_NUMBER_WORDS = frozenset((
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty", "forty",
    "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand", "million", "billion",
))
# fmt: on

# Words, and the gaps around them: one more than there are words.
SpacedWords = tuple[list[str], list[str]]

_BREAK = re.compile(r"[.?!:;,\"()|\n]")
_OPERATORS = frozenset("+-*/^±") | {"plus", "minus", "times", "mod", "divided"}
_POSTFIX = frozenset({"%", "^", "squared", "cubed"})


def prepared(text: str) -> str:
    """Return a text in which every word of `leak_words` stands as it is, with the punctuation between them."""
    if "&" in text:
        text = html.unescape(text)
    # Folding can take a character apart, so the plain form is made again.
    text = plain(plain(text).casefold().translate(_SAME))
    if not text.isascii():
        text = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text)))
    if "<" in text:
        text = _TAG.sub(" ", text)
    if ">" in text or "=" in text or "+" in text:
        text = _QUOTED.sub(" ", text)
    text = _THOUSANDS.sub("", text)
    if "*" in text or "×" in text:
        text = _PRODUCT.sub(r"\1±±", _POWER.sub(r"\1^", text))
        text = text.replace("*", " ").replace("×", " ").replace("±±", "*")
    if "-" in text:
        text = _DASH.sub(" ", text)
    if "/" in text:
        text = _SLASH.sub(" ", text)
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def leak_words(text: str) -> list[str]:
    """Return a text's words as leaks are looked for."""
    return _WORDS.findall(prepared(text))


@lru_cache(maxsize=8)
def spaced_words(text: str) -> SpacedWords:
    """Return a text's words and the gap after each; kept for the texts last asked for, since one is often asked again.

    The first gap stands before the first word; a line break stands for the ends of the text.
    """
    form = prepared(text)
    found = list(_WORDS.finditer(form))
    gaps = [form[one.end() : other.start()] for one, other in pairwise(found)]
    return [match.group() for match in found], ["\n", *gaps, "\n"]


def template(text: str) -> str:
    """Return a text's words with one mark for every number, in digits or in English words; no numbers, no template."""
    words = _WORDS.findall(_NUMBER.sub(_DIGIT_RUN, prepared(text)))
    marked: list[str] = []
    in_words = False
    for word in words:
        is_number = word in _NUMBER_WORDS
        if not (is_number and in_words):
            marked.append(_DIGIT_RUN if is_number else word)
        in_words = is_number
    return " ".join(marked) if any(_DIGIT_RUN in word for word in marked) else ""


def runs(words: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where a run of words stands in others."""
    length = len(wanted)
    return [at for at in range(len(words) - length + 1) if words[at : at + length] == wanted]


def stands_alone(text: str, at: int, length: int, set_off: bool) -> bool:
    """Whether words stand in a text as an item of their own.

    `2 + 2` is no part of `2 + 2 * 5`, nor `2 + 1` of `2 + 1.5`: another calculation.

    Args:
        text: the text around.
        at: the first of the words, counted in `leak_words`.
        length: how many words.
        set_off: whether punctuation, a line break or an end must stand on both sides.
    """
    words, gaps = spaced_words(text)
    before, after = gaps[at], gaps[at + length]
    if set_off and not (_BREAK.search(before) and _BREAK.search(after)):
        return False
    return not (_goes_on_before(words, at, before) or _goes_on_after(words, at + length, after))


def _goes_on_before(words: Sequence[str], at: int, gap: str) -> bool:
    if not at or not _is_operand(words[at]):
        return False
    if gap == "." and words[at - 1].isdigit():
        return True
    if words[at - 1] not in _OPERATORS or _BREAK.search(gap):
        return False
    return (at > 1 and _is_operand(words[at - 2])) or (not gap and words[at - 1] in "-±")


def _goes_on_after(words: Sequence[str], end: int, gap: str) -> bool:
    if end >= len(words) or not _is_operand(words[end - 1]):
        return False
    if (gap == "." and words[end].isdigit()) or gap.startswith("%"):
        return True
    if _BREAK.search(gap):
        return False
    if words[end] in _POSTFIX:
        return True
    return words[end] in _OPERATORS and end + 1 < len(words) and _is_operand(words[end + 1])


def _is_operand(word: str) -> bool:
    return word[0].isdigit() or (len(word) == 1 and word.isalpha() and not _UNSPACED.match(word))
