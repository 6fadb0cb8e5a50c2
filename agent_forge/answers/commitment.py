"""Which number one short text commits to, if any: the content of a mark, or the sentence after a cue."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent_forge.answers.cardinals import leading_cardinal
from agent_forge.answers.quantity import Quantity, quantities

# Words such as a unit that may stand between a number and an operator.
_UNIT = r"(?:\s?[a-z]{1,20}\.?){0,2}?"
_OPERATOR_AFTER = re.compile(
    rf"\s?[\^≤≥≠√\\π‰_\u0300-\u036f]|h\d|\(\s?\d|(?:[abeijnrxyz]|[MB])\b|\s?[·*]\s?[a-z]\b|{_UNIT}\s?"
    r"(?:[+×÷]|=(?!\s?[a-z]\s*[.$]*$)|[·*/]\s?[\d(]|-\s?[\d(.]|[xX]\s?[\d(]|\b(?:times|plus|minus|divided\s+by|multiplied\s+by|mod)\s{1,3}[\d(]|"
    r"\b(?:more|less|fewer|greater|larger|smaller)\s{1,3}than\s{1,3}[\d(]|/\s*$)"
    r"|\s(?:squared|cubed|factorial|times\s+as|digits?)\b"
    r"|%?\s(?:out\s+of|of|by)\s\d"
)
_OPERATOR_BEFORE = re.compile(
    rf"[\d)]{_UNIT}\s?(?:[-+×÷·*/^√]|\b(?:x|times|plus|minus|over|mod)\b)\s?[($]?\s?$"
    r"|\b[a-z](?:\s?[-+*×÷·]\s?|\()$|(?:^|\s)/\s?$|\b(?:log|ln|sin|cos|tan|sqrt|exp)\s?\(?$"
    r"|\b(?:half|thirds?|quarters?|twice|double|triple|square|root|multiple)\s{1,3}(?:of\s{1,3})?(?:the\s{1,3})?$"
    r"|(?:[≤≥≠≮≯]|\\(?:[gl]eq?|neq?|ne)(?![a-z])|\\not\s?=|!=|=/=|<>|(?:^|\w\s)[<>]=?)\s?$"
    r"|\b(?:almost|nearly|over|under|above|below|other\s+than|(?:close|near|next)\s+to|maybe|perhaps|possibly|probably|presumably"
    r"|(?:most|very)\s+likely)\s$",
    re.I,
)
_NEGATED = re.compile(
    r"\b(?:not|never|neither|unknown|cannot|no\s+longer|nothing\s+like|(?:anything|everything|all)\s+(?:but|except)|far\s+from"
    r"|doubt|nobody\s+(?:would|says?|thinks?)|(?:might|may|could)\s+(?:also\s+)?(?:be|think|say|guess))\b|n't\b|\b(?:more|less|greater|fewer|other)\s+than\b",
    re.I,
)
_DENIED = re.compile(r"\b(?:(?:rather|other)\s+than|instead\s+of|not)\s+(?:\w{1,20}\s+){0,2}$", re.I)
_OPEN_END = re.compile(
    r"(?:\s+[a-z]{1,20}){0,2}(?:\s+or\s+(?:more|less|fewer|greater|higher|lower|so|thereabouts)|,?\s+give\s+or\s+take)\b",
    re.I,
)
_CONNECTED = re.compile(
    r"(?:or|and|to|through|versus|vs|maybe|perhaps|possibly|probably|no|nope|wait|rather|actually|sorry|i\s+mean|[\s,;/&–—|~±-])*",
    re.I,
)
_OR = re.compile(
    r"\b(?:or|alternatively|maybe|perhaps|possibly|otherwise|unless|depending|(?:might|may|could)\s+(?:also\s+)?be)\b",
    re.I,
)
_OTHERWISE = re.compile(r"\b(?:otherwise|unless|depending|depends|else)\b", re.I)
_ASKS = re.compile(r"^\W*(?:is|was|are|could|would|can|should)\s+(?:the|it|that|this|there|he|she|they|we)\b", re.I)
# Two amounts that make up one answer: 5 hours and 30 minutes, 6 feet 2 inches.
_COMPOUND = re.compile(
    r"\s?(?!(?:in|for|per|on|at|of|after|as|from|when|with|by|is|because|since|if|every|each)\b)[a-z]{1,20}\s?(?:,|and|,\s?and)?\s?",
    re.I,
)
_PART_WORDS = re.compile(
    r"[\s-]+(?:and\s+(?:a|one|two|three)[\s-]+)?(?:of|times|plus|minus|over|to|through|point|squared|cubed|factorial|half|halves|quarters?"
    r"|(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|\w{2,8}(?:teenth|tieth)|hundredth|thousandth)s?)\b"
    r"|[\s-]+(?:dozen|hundred|thousand|million|billion)",
    re.I,
)
_OR_NONE = re.compile(r"\bor\s+(?:none\b|nothing\b|neither\b|not\W*$)", re.I)
_OR_ELSE = re.compile(r"[.!]\s+or\s+", re.I)
_RATHER = re.compile(r"[,;–—-]\s?(?:no|nope|wait|sorry|rather|actually|i\s+mean)\b[,:]?\s?", re.I)
# What a text says of others' answers: `Some say 12, but it is 13`.
_BUT = re.compile(r"\b(?:but|however|now|though)\b[^.\n]{0,20}\b(?:it|that|this|answer)\b", re.I)
# A word in brackets says the number again, or another one: `12 (thirteen)`.
_BRACKETED = re.compile(r"\s?\(\s?(?=[a-z])", re.I)
_CLOSED = re.compile(r"\s?\)")
# Behind a cue a bound is no answer; in prose `She needs at least 12.` is one.
_BOUND = re.compile(
    r"\b(?:at\s+(?:least|most)|up\s+to|no\s+(?:more|less|fewer)\s+than"
    r"|(?:cube|reciprocal|negative|opposite|factor)\s+of|before|after|divisible\s+by|different\s+from|exceeds|ends\s+in"
    r"|starts\s+with|has|with)\s+$",
    re.I,
)
# Further apart than this, two numbers are not alternatives of each other.
_NEAR = 60


@dataclass(frozen=True)
class Problem:
    """Why a text commits to no number."""

    reason: str


SEVERAL = Problem("several numbers")
EXPRESSION = Problem("an expression, not a number")
AMBIGUOUS = Problem("a number that can be read in several ways")
NEGATED = Problem("the answer is negated or bounded")


def read_answer(text: str) -> Quantity | Problem | None:
    """Return the one number of a cleaned text that should hold an answer; None when there is no number in it."""
    text = text.lstrip("\"'")
    found = quantities(text)
    start = found[0].start if found else len(text)
    if _NEGATED.search(text, 0, start) or _BOUND.search(text[:start][-_NEAR:]):
        return NEGATED
    worded = leading_cardinal(text)
    if worded is not None and worded[1] <= start:
        return _in_words(text, Quantity(0, worded[1], worded[0]), found)
    return _in_digits(text, found) if found else None


def stands_alone(text: str, before: str, found: Sequence[Quantity]) -> Quantity | Problem:
    """Return the last of a text's numbers if it stands there as a result.

    Args:
        text: cleaned.
        before: the part of the last number's sentence that precedes it.
        found: the text's numbers in order, at least one.
    """
    last = found[-1]
    if last.value is None:
        return AMBIGUOUS
    if _OPERATOR_AFTER.match(text, last.end) or _OPERATOR_BEFORE.search(before[-100:]) or _between_bars(text, last):
        return EXPRESSION
    if _says_otherwise(text[last.end : last.end + _NEAR], last):
        return SEVERAL
    near = before[-_NEAR:]
    if _ASKS.search(before):
        return Problem("ends with a question")
    if _DENIED.search(near) or _OPEN_END.match(text, last.end) or (_NEGATED.search(near) and not quantities(near)):
        return NEGATED
    if len(found) > 1 and not found[-2].equals(last):
        between = text[found[-2].end : last.start]
        same_sentence = found[-2].start >= last.start - len(before)
        # Two numbers with one odd sign between them, as in `1|2`, may be one.
        is_split = len(between) == 1 and between not in "=:>→⇒\n"
        if (
            not between.strip(" .!…\n")
            or _OR_ELSE.fullmatch(between)
            or is_split
            or (same_sentence and alternatives(between))
        ):
            return SEVERAL
    return last


def alternatives(between: str) -> bool:
    """Whether what stands between two numbers leaves open which of them is meant."""
    if len(between) > _NEAR:
        return False
    return bool(_CONNECTED.fullmatch(between) or _COMPOUND.fullmatch(between) or _OR.search(between))


def is_open_ended(rest: str) -> bool:
    """Whether what follows a number makes it a bound, as in `12 or more`."""
    return _OPEN_END.match(rest) is not None


def _in_words(text: str, worded: Quantity, found: Sequence[Quantity]) -> Quantity | Problem:
    """Accept a number in words if nothing beside it makes it another one."""
    rest = text[worded.end :]
    if _PART_WORDS.match(rest):
        return EXPRESSION
    if _OPEN_END.match(rest):
        return NEGATED
    if any(not number.equals(worded) for number in found) or _OR.search(rest[:_NEAR]) or _RATHER.match(rest):
        return SEVERAL
    return worded


def _in_digits(text: str, found: Sequence[Quantity]) -> Quantity | Problem:
    """Return the number that a text begins with, or what its equation comes to."""
    if _OPERATOR_AFTER.match(text, found[0].end):
        result = text.rfind("=") + 1
        found = [number for number in found if number.start >= result > 0]
        if not found or text[result : found[0].start].strip() or _OPERATOR_AFTER.match(text, found[0].end):
            return EXPRESSION
    first = found[0]
    if first.value is None:
        return AMBIGUOUS
    if _OPERATOR_BEFORE.search(text[: first.start][-100:]) or _between_bars(text, first):
        return EXPRESSION
    if _OPEN_END.match(text, first.end):
        return NEGATED
    other = next((number for number in found[1:] if not number.equals(first)), None)
    if (other is not None and _OTHERWISE.search(text, first.end)) or _BUT.search(text, first.end):
        return SEVERAL
    if other is not None and alternatives(text[first.end : other.start]):
        return SEVERAL
    if other is None and _says_otherwise(text[first.end : first.end + _NEAR], first):
        return SEVERAL
    return first


def _says_otherwise(rest: str, number: Quantity) -> bool:
    """Whether another number in words follows, or none: `12 or thirteen`, `12, no, thirteen`, `12 (thirteen)`."""
    if _OR_NONE.search(rest):
        return True
    for place in filter(None, (_OR.search(rest), _RATHER.search(rest), _BRACKETED.match(rest))):
        said = rest[place.end() :].lstrip()
        worded = leading_cardinal(said)
        if worded is None or worded[0] == number.value:
            continue
        if place.re is not _BRACKETED or _CLOSED.match(said, worded[1]):
            return True
    return False


def _between_bars(text: str, number: Quantity) -> bool:
    """Whether bars around a negative number make it positive, as in `|-12|`."""
    around = text[max(0, number.start - 1) : number.start] + text[number.end : number.end + 1]
    return around == "||" and number.value is not None and number.value < 0
