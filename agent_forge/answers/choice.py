"""Multiple choice: a letter, an option's text, or both if they agree.

    Which one is a metal?
    A) oxygen
    B) iron        reference "B"; right: `B`, `(b)`, `B) iron`, `iron`, `The answer is B because ...`

wrong: `A or B`, `B) oxygen`, `Not B`, and any text in which no option or several are named.
"""

import re
from collections.abc import Mapping
from string import ascii_uppercase

from agent_forge.answers.characters import plain
from agent_forge.answers.denials import CORRECTION, NO, says_wrong
from agent_forge.answers.marks import find_marks, sentence_start
from agent_forge.answers.repeats import without_question
from agent_forge.answers.text import earlier_cues, marked_answers, normalise_text
from agent_forge.records import Grade

_OPTION_LINE = re.compile(r"^[ \t]{0,8}(?:[-*][ \t]{1,4})?\(?([A-Z])(?:\)[.:]?|[.:])[ \t]{1,8}(\S[^\n]*)", re.MULTILINE)
_OPTION_INLINE = re.compile(r"\(([A-Z])\)[ \t]{1,8}([^\n(]{1,500})")
_LOWER_LINE = re.compile(_OPTION_LINE.pattern.replace("A-Z", "a-z"), re.MULTILINE)
_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf|textit|textrm)\s?\{([^{}]*)\}")
# A letter with punctuation, at the end or before its reason: `A man` begins with an article.
_HEAD = re.compile(
    r"(?:(?:the\s)?(?:option|choice|letter)\s{1,3})?[(\[{]?([A-Z])(?:[)\]}.:,;!]|\s*$|\s{1,3}(?:because|since|is|or|and)\b)",
    re.I,
)
_EDGES = " \t\n*_`$\"'{}"
_BULLET = re.compile(r"^[-•>]\s+")
_NAMED = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s{1,3}\(?([A-Z])\b|\(([A-Z])\)|^[ \t*\[]*([A-Z])[ \t*.\]]*$"
    # Closing a line: `It must be B.`, `Therefore, B.`
    r"|\b(?:is|be|with|say|[Ii]t's|[Cc]hoose|[Pp]ick|[Ss]elect|[Pp]refer|[Mm]eant?|(?:[Tt]herefore|[Tt]hus|[Hh]ence|[Ss]o|[Ww]ait"
    r"|[Aa]ctually|[Ss]orry),?|[Nn]o,)\s+([A-Z])[ \t*.]*$"
    r"|\b(?:[Aa]nswer|ANSWER)\s+([A-Za-z])[ \t*.]*$",
    re.M,
)
_BESIDE = re.compile(
    r"(?:[/,&;]|\b(?:or|and|nor|either|option|choice))\s{0,3}"
    r"(?:(?!not\b)[a-z]{1,20}\s{1,3}){0,2}"
    r"\(?(?:([A-Z])\b(?!\s+\w)"
    r"|([B-HJ-Z])\s+(?:too|also|(?:is|are)\s+(?:also|too|right|correct|true)|both)\b)|(?<!not )\(([A-Z])\)"
)
# An option that is one of these stands in many a sentence that does not choose it.
_COMMON = frozenset({"i", "a", "it", "no", "not", "none", "neither", "never", "nothing", "so"})
_BOTH = re.compile(r"\b(?:and|or)\s+(?:no|not|none|neither|never|nothing|so)\b|\?\W{0,3}no\b", re.I)
_FIRST_WORD = re.compile(r"\W*(\w+)\s?[.,;:!–—]")
_DENIED = re.compile(
    r"\W*(?:is|was|are)(?:n't|\s+(?:not|never|wrong|incorrect|false|out|eliminated|ruled|impossible))\b", re.I
)
_NEGATED = re.compile(
    r"\b(?:not|cannot|never|neither|nor|except|wrong|(?<!no )doubt|suppos(?:e|ing)|imagine"
    r"|might|may|could|perhaps|maybe|possibly)\b|n't\b",
    re.I,
)
# Numbers whole: `0.7`, `-7`, `7%` and `7,000` do not hold 7.
_WORD = re.compile(r"-?\.?\d\w*(?:[.,/:^]\w+)*%?|\w+")


def grade_choice(completion: str, reference: str, prompt: str) -> Grade:
    """Compare the option that a completion names with the reference.

    Args:
        completion: what the model wrote.
        reference: the right letter, or the right option's text.
        prompt: the question with its options, one a line or in brackets within a line.
    """
    options = read_options(prompt)
    expected = reference_letter(reference, options)
    if expected is None:
        return Grade(extracted=None, correct=False, reason=f"the reference {reference[:80]!r} is no option")
    said = completion if _is_option(completion, options) else without_question(completion, prompt)
    answers = [_typeset(answer) for answer in marked_answers(said)]
    letters = {_chosen(answer, options) for answer in answers}
    letters |= {_chosen(_typeset(answer), options) for answer in earlier_cues(said)} - {None}
    if len(letters) > 1:
        return Grade(extracted=None, correct=False, reason="contradicts itself: several marked answers")
    letter = letters.pop()
    if any(_asks(answer, prompt) for answer in answers):
        return Grade(extracted=None, correct=False, reason="a question, not an answer")
    if letter is None:
        return Grade(extracted=None, correct=False, reason="names no option, or not exactly one")
    if _takes_back(said, letter, options):
        return Grade(extracted=None, correct=False, reason=f"taken back: {letter}, then another")
    correct = letter == expected
    return Grade(extracted=letter, correct=correct, reason="equal" if correct else f"expected {expected}")


def read_options(prompt: str) -> dict[str, str]:
    """Return letter -> normalised text of the options in a prompt; empty when it lists none from A on."""
    for pattern in (_OPTION_LINE, _OPTION_INLINE, _LOWER_LINE):
        options: dict[str, str] = {}
        for letter, text in ((name.upper(), text) for name, text in pattern.findall(prompt)):
            # The list last begun counts: examples before the question may have options too.
            if letter == "A":
                options = {}
            if letter == ascii_uppercase[len(options) % 26]:
                options[letter] = normalise_text(text)
        if len(options) > 1:
            return options
    return {}


def reference_letter(reference: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that a reference means, given as a letter or as an option's text."""
    bare = normalise_text(reference).upper()
    if len(bare) == 1 and bare in ascii_uppercase and (not options or bare in options):
        return bare
    return _by_text(normalise_text(reference), options)


def _typeset(answer: str) -> str:
    return _TEXT.sub(r"\1", plain(answer))


def _is_option(completion: str, options: Mapping[str, str]) -> bool:
    """Whether a completion is one option as the question writes it: not a repetition, however long it is."""
    if len(completion) > 2 * sum(map(len, options.values())) + 100:
        return False
    bare = plain(completion).strip(_EDGES)
    head = _HEAD.match(bare)
    named = _by_text(normalise_text(bare[head.end() :]), options) if head else None
    return _by_text(normalise_text(bare), options) is not None or (head is not None and named == head.group(1).upper())


def _asks(answer: str, prompt: str) -> bool:
    return answer.rstrip(_EDGES).endswith("?") and answer.strip() not in prompt


def _chosen(answer: str, options: Mapping[str, str]) -> str | None:
    """Return the one option that an answer names, by letter, by text, or by both in agreement."""
    bare = _BULLET.sub("", answer.strip(_EDGES))
    if (whole := _by_text(normalise_text(bare), options)) is not None:
        return whole
    head = _HEAD.match(bare)
    if head is None:
        return _named_once(bare, options)
    letter, rest = head.group(1).upper(), bare[head.end(1) :]
    if options and letter not in options:
        return None
    text = normalise_text(bare[head.end() :])
    if (whole := _by_text(text, options)) is not None:
        # In `A or B` the second is no text of the first.
        agrees = letter == whole or (options[letter] == text and not head.group()[-1].isalpha())
        return letter if agrees else None
    if _DENIED.match(rest) or says_wrong(rest, 0):
        return None
    texts = _texts_in(rest, options)
    agrees = not texts or letter in texts
    return letter if agrees and not _letters(_BESIDE, rest, options) - {letter} else None


def _takes_back(text: str, letter: str, options: Mapping[str, str]) -> bool:
    """Whether what follows the last mark is another option's text, or a correction to another letter."""
    marks = find_marks(text)
    rest = text[marks[-1].end :] if marks else ""
    # In `The answer is A. iron.` the mark's sentence ends before the text.
    if _by_text(normalise_text(rest.partition("\n")[0]), options) not in (None, letter):
        return True
    return (CORRECTION.search(rest) or NO.search(rest)) is not None and bool(_letters(_NAMED, rest, options) - {letter})


def _named_once(text: str, options: Mapping[str, str]) -> str | None:
    """Return the only option that running text names, by letter or by its full text, and does not deny."""
    first = _FIRST_WORD.match(text)
    opening = _by_text(normalise_text(first.group(1)), options) if first else None
    common = {letter for letter, option in options.items() if option in _COMMON and letter != opening}
    named = _letters(_NAMED, text, options) | (_texts_in(text, options) - common)
    last_sentence = text.rstrip(" \n.!")
    denied = _NEGATED.search(last_sentence, sentence_start(last_sentence, len(last_sentence)))
    return named.pop() if len(named) == 1 and not denied and not _BOTH.search(text) else None


def _letters(pattern: re.Pattern[str], text: str, options: Mapping[str, str]) -> set[str]:
    found = {letter.upper() for match in pattern.finditer(text) for letter in match.groups() if letter}
    return found & set(options) if options else found


def _by_text(text: str, options: Mapping[str, str]) -> str | None:
    # Where a text is a letter of the list, as in `A) B`, the letter counts.
    if text.upper() in options:
        return text.upper()
    found = [letter for letter, option in options.items() if option and option == text]
    return found[0] if len(found) == 1 else None


def _texts_in(text: str, options: Mapping[str, str]) -> set[str]:
    """Return the options whose whole text stands in a text, longest first so that none counts inside another."""
    words = _spaced_words(text.casefold())
    found = set()
    for letter, option in sorted(options.items(), key=lambda item: -len(item[1])):
        wanted = _spaced_words(option)
        if wanted.strip() and wanted.strip().upper() not in options and wanted in words:
            found.add(letter)
            words = words.replace(wanted, " | ")
    return found


def _spaced_words(text: str) -> str:
    return f" {' '.join(_WORD.findall(text))} "
