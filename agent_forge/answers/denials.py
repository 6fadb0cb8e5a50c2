"""Words around an answer that deny it, ask for it, or take it back."""

import re

# So far before an answer, words may say that it is none.
NEAR = 80

_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot)|n't|\b(?:rather|other|less|more|greater|fewer)\s+than|\binstead\s+of|\b(?:anything|everything)\s+but"
    r"|\bdoubt|\bfalse\s+that|\b(?:reject|discard|exclude|suppose|assume)|\b(?:might|may|could)\s+(?:also\s+)?(?:be|say|guess|think))"
    r"(?:\s+(?:be|been|equal|to|simply|just|exactly|the|an?|answer|is))*[\s$(*\[\\:]*$",
    re.IGNORECASE,
)
_ENDS = r"[\s$)*\\\]]*"
_FALSE = r"(?:wrong|incorrect|false|mistaken|impossible|invalid|extraneous|rejected|excluded)\b"
_NOT_TRUE = (
    r"(?:ca|can|does|did|could|is|was|wo|would)(?:n't|\s?not)\s+(?:(?:be|seem|look|sound)\s+)?(?:quite\s+|really\s+)?"
    r"(?:right|correct|true)\b"
)
_IS_WRONG = (
    rf"(?:(?:is|was|are)(?:n't|\s+(?:not|too)\b|\s+{_FALSE})"
    rf"|(?:seems?|looks?|sounds?|(?:would|must|may|might|could|should)\s+be)\s+{_FALSE}|cannot\s+be\b|{_NOT_TRUE})"
)
_ASKED = re.compile(rf"{_ENDS}(?:\?|[✗✘❌]|{_IS_WRONG})", re.I)
# What makes a formula or a box a part of another: `x > \boxed{5}`, `\boxed{5}^2`, `twice $5$`.
_PART_BEFORE = re.compile(
    r"(?:(?:[<≠≤≥]|(?<![a-z]{2})(?<!<[a-z])>|\\(?:neq?|leq?|geq?|lt|gt)(?![A-Za-z]))\s*|\\sqrt\s*\{|[-+/\d]"
    r"|\b(?:close\s+to|exceeds|almost|nearly|twice|half(?:\s+of)?|minus|negative"
    r"|(?:square|cube|root|negative|opposite|reciprocal|multiple)\s+of)\s+)[$(]?$",
    re.I,
)
_PART_BEHIND = re.compile(
    r"(?:\^(?!\s?\{?\s?\\circ)|[+*/]\s?[\w\\]|[a-z]\b|[>≤≥]|<(?!/?[a-z])|\s?\\(?:neq?|leq?|geq?|lt|gt)(?![A-Za-z]))"
    r"|[\s$]{1,3}(?:or\s+(?:more|less)|squared|cubed|times|plus|out\s+of)\b",
    re.I,
)
# `which is wrong`, `That can't be right.`, `but it's not.`
_TAKES_BACK = re.compile(
    rf"\b(?:that|this|it|which)(?:(?:'s|\s+(?:is|was|seems|looks|must\s+be|may\s+be|might\s+be|could\s+be))\s+(?:\w+\s+)?"
    rf"(?:{_FALSE}|not\s+(?:it|right|correct|true|valid|possible|allowed)\b)|\s+{_NOT_TRUE}|(?:'s\s+not|\s+is\s+not|\s+isn't)(?=\s*(?:[.!]|$)))"
    r"|\bi(?:'m|\s+am|\s+was)\s+(?:wrong|mistaken)\b"
    r"|[,;–—-]\s*(?:no|nope|not)\b\s*[.!]*\s*$",
    re.I,
)
_SENTENCE = re.compile(r"[\s.!*)$\\\]}]{0,20}[^.!\n]{0,300}[.!]?")
# A whole sentence of denial right behind an answer.
BARE_NO = re.compile(r"\W*\b(?:no|nope|not|false|wrong|incorrect)\b(?:\s+(?:really|quite))?\s*(?:[.!)\]]|$)", re.I)
# Prose takes back what it said with one of these.
CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|scratch that|mistaken?|oops|sorry|re-?check|instead|hold on|i meant?|hmm+|my bad"
    r"|on (?:second thoughts?|reflection))\b",
    re.I,
)
# A denial that another answer follows: `The answer is 5. No, it is 6.`
NO = re.compile(r"\bno\b[,.!:]", re.I)


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the words right before or after `text[start:end]` deny it or ask for it."""
    return bool(_DENIED.search(text[max(0, start - NEAR) : start]) or is_asked(text[end : end + 40]))


def is_part(text: str, start: int, end: int) -> bool:
    """Whether a formula or box at `text[start:end]` is a part of a larger expression, or a bound."""
    return bool(_PART_BEFORE.search(text[max(0, start - NEAR) : start]) or _PART_BEHIND.match(text, end))


def is_asked(rest: str) -> bool:
    """Whether what follows an answer asks for it or calls it wrong."""
    return _ASKED.match(rest) is not None


def says_wrong(text: str, end: int) -> bool:
    """Whether the rest of the sentence in which an answer ends, or the next one, calls it wrong.

    Later ones speak of other things: of the options not chosen, of a case that is ruled out.
    """
    sentence = _SENTENCE.match(text, end)
    return sentence is not None and _TAKES_BACK.search(sentence.group()) is not None


def denied_behind(text: str, end: int) -> bool:
    """Whether what follows an answer is a denial by itself, or calls it wrong."""
    return BARE_NO.match(text, end) is not None or says_wrong(text, end)
