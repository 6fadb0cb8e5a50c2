r"""Where a completion says that its answer stands.

Four marks are known; all but the last are formal, written for a grader:

    #### 18          hash: the rest of the line
    \boxed{18}       box: the braces' content, nested braces included
    <answer>18</answer>   tag: up to the closing tag, or to the end of the text
    the answer is 18      cue: the rest of the sentence; "Answer: 18" is one too

Every scan is linear in the text, whatever is in it: content is cut at `LONGEST` characters and only the last `MOST`
marks are returned.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent_forge.answers.denials import NEAR, is_denied, is_part, says_wrong

Style = Literal["hash", "box", "tag", "cue"]

LONGEST = 1000
MOST = 64

# The answer may stand on the next line; hash marks after it close it.
_HASH = re.compile(r"(?<!#)####(?!#)[ \t]*(?:\n(?=[ \t]*[^\s#])[ \t]*)?([^\n#]*)(?:#+[ \t]*$)?", re.MULTILINE)
_BRACE = re.compile(r"\\(?:f?boxed|fbox)\s{0,3}\{|\\[{}]|[{}]")
# Without braces, as in `\boxed 18`: what follows up to a space.
_BARE_BOX = re.compile(r"\\(?:f?boxed|fbox)[ \t]{1,3}([^\s{$][^\s$]{0,80}?)(?=[\s$]|\\[)\]]|$)")
_TAG = re.compile(r"<(/?)answer\s{0,3}>", re.IGNORECASE)
# `(?=n't)` keeps the negation in the content: "the answer isn't 5" must not read as 5.
# `2 points/answer = 48` and `the next answer was 12` are steps on the way.
_CUE = re.compile(
    r"(?<!/)(?<!\bfirst )(?<!\bsecond )(?<!\bthird )(?<!\bnext )(?<!\bprevious )"
    r"\b(?:answers?(?:\s+to\s+(?:the|this|your)\s+(?:question|problem))?|(?:correct|right|best)\s+(?:option|choice|letter))"
    r"[*_\s\"']{0,4}"
    r"(?:[:=]|\b(?:is|are|was|were|equals|(?:should|would|will|must|has\s+to)\s+be)(?=n't|\b))",
    re.IGNORECASE,
)
_ARTICLE = r"(?:\s+(?:the|your|my|our|its|an?))?(?:\s+(?:final|correct|right|real))?\s+$"
# What leaves open whether the answer follows, or denies it: `if the answer is 5`, `I don't think the answer is 5`.
_SUPPOSED = re.compile(
    r"\b(?:if|whether|suppos(?:e|ing)|assum(?:e|ing)|unless|doubt|false|untrue|wrong|incorrect|impossible|unlikely"
    r"|perhaps|maybe|possibly|thought|twice|half|double|(?:opposite|square|reciprocal)\s+of|(?:some|one|you|people|many|others?)\s+(?:\w+\s+){0,2}(?:think|say|guess|believe)s?)"
    rf"(?:\s+to\s+(?:say|think|claim|assume))?(?:\s+that)?{_ARTICLE}"
    r"|(?:\b(?:not|never|nobody|no\s+one|cannot|hardly)|n't)"
    rf"(?:\s+(?!(?:so|thus|hence|therefore|then|and|but|because)\b)\w+){{0,3}}{_ARTICLE}",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?:[\s:*_`]|\b(?:therefore|thus|then|so|indeed|simply|just|exactly|precisely|equal\s+to|given\s+by)\b,?(?=\s+\S))*",
    re.IGNORECASE,
)
# `The answer would be 12 if she had 3 boxes` tells of another question.
_CONDITIONAL = re.compile(r"\b(?:would\s+be|were)$", re.I)
_CONDITION = re.compile(r"\b(?:if|unless)\b", re.I)
# `{"answer": "12"}`
_QUOTED = re.compile(r"[\"']([^\"'\n]*)[\"']")
# After `!` only a new sentence ends the old one: `5! = 120` goes on.
_SENTENCE_END = re.compile(r"[.?](?=\s|$|[\"'*)])|!(?=\s*(?:$|[A-Z]))|\n")


@dataclass(frozen=True)
class Mark:
    """One place that says what the answer is: `text[start:end]`, with the answer's part of it in `content`."""

    style: Style
    start: int
    end: int
    content: str

    @property
    def formal(self) -> bool:
        """Whether the mark is written for a grader, not in prose."""
        return self.style != "cue"


def find_marks(text: str) -> list[Mark]:
    """Return the last marks of the text in the order of their positions."""
    boxes = find_boxes(text)
    tags = [mark for mark in _tags(text) if not _is_around_a_box(mark)]
    formal = sorted([*_hashes(text), *boxes, *tags], key=lambda mark: mark.start)[-MOST:]
    formal = [_unless_denied(text, mark) for mark in formal]
    marks = sorted([*formal, *_cues(text, formal)], key=lambda mark: mark.start)
    if marks and says_wrong(text, marks[-1].end):
        marks[-1] = replace(marks[-1], content="")
    return marks


def find_boxes(text: str) -> list[Mark]:
    """Return the outermost boxes in the order of their positions, whatever stands around them."""
    return sorted([*_boxes(text), *_bare_boxes(text)], key=lambda mark: mark.start)


def sentence_start(text: str, before: int) -> int:
    """Return where the sentence or line begins that holds position `before`, looking back `LONGEST` characters."""
    start = max(0, before - LONGEST)
    for end in _SENTENCE_END.finditer(text, start, before):
        start = end.end()
    return start


def _mark(style: Style, start: int, end: int, content: str) -> Mark:
    return Mark(style, start, end, content[:LONGEST].strip())


def _hashes(text: str) -> list[Mark]:
    return [_mark("hash", match.start(), match.end(), match.group(1)) for match in _HASH.finditer(text)]


def _boxes(text: str) -> list[Mark]:
    marks: list[Mark] = []
    # One entry per open brace: where its box and the content start, None for a brace that is no box.
    opened: list[tuple[int, int] | None] = []
    for brace in _BRACE.finditer(text):
        token = brace.group()
        if token == "{":
            opened.append(None)
        elif len(token) > 2:
            opened.append((brace.start(), brace.end()))
        elif token == "}" and opened and (box := opened.pop()) is not None:
            content = text[box[1] : min(brace.start(), box[1] + LONGEST)].strip()
            while marks and marks[-1].start > box[0]:
                inner = marks.pop()
                if content == text[inner.start : inner.end]:
                    content = inner.content
            marks.append(_mark("box", box[0], brace.end(), content))
    return marks


def _bare_boxes(text: str) -> list[Mark]:
    return [_mark("box", box.start(), box.end(), box.group(1).rstrip(".,;:")) for box in _BARE_BOX.finditer(text)]


def _unless_denied(text: str, mark: Mark) -> Mark:
    r"""Return a mark without its content when the words around it deny it or ask, as in `it is not \boxed{5}`."""
    denied = mark.style != "hash" and is_denied(text, mark.start, mark.end)
    part = mark.style == "box" and is_part(text, mark.start, mark.end)
    return replace(mark, content="") if denied or part else mark


def _is_around_a_box(tag: Mark) -> bool:
    """Whether a tag holds nothing but one box, which then is the answer."""
    bare = tag.content.strip(" \n\t$*")
    boxes = _boxes(bare) if bare.startswith(("\\boxed", "\\fbox")) else []
    return len(boxes) == 1 and (boxes[0].start, boxes[0].end) == (0, len(bare))


def _tags(text: str) -> list[Mark]:
    marks: list[Mark] = []
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if not tag.group(1):
            opened = tag
        elif opened is not None:
            marks.append(_mark("tag", opened.start(), tag.end(), text[opened.end() : tag.start()]))
            opened = None
    if opened is not None:
        marks.append(_mark("tag", opened.start(), len(text), text[opened.end() :]))
    return marks


def _cues(text: str, formal: Sequence[Mark]) -> list[Mark]:
    r"""Find cues; each ends where a formal mark begins, and `the answer is \boxed{18}` is none beside its box.

    A cue in a question or a supposition says nothing: its content is empty.
    """
    starts = [mark.start for mark in formal]
    marks: list[Mark] = []
    for cue in reversed(list(_CUE.finditer(text))):
        if len(marks) == MOST:
            break
        around = bisect_left(starts, cue.start()) - 1
        if around >= 0 and formal[around].style == "box" and cue.start() < formal[around].end:
            continue
        filler = _FILLER.match(text, cue.end())
        start = filler.end() if filler else cue.end()
        sentence_end = _SENTENCE_END.search(text, start, start + LONGEST)
        end = sentence_end.start() if sentence_end else min(len(text), start + LONGEST)
        following = bisect_left(starts, cue.start())
        cut = following < len(starts) and starts[following] < end
        content = text[start : starts[following] if cut else end].strip()
        if cue.group().rstrip(" :=")[-1] in "\"'" and (quoted := _QUOTED.match(content)):
            content = quoted.group(1)
        asks = sentence_end is not None and sentence_end.group() == "?"
        conditional = _CONDITIONAL.search(cue.group()) and _CONDITION.search(content)
        supposed = _SUPPOSED.search(text[max(0, cue.start() - NEAR) : cue.start()])
        if asks or conditional or supposed or says_wrong(content, 1):
            content = ""
        if content.strip("$([\\*") or not cut:
            marks.append(Mark("cue", cue.start(), end, content))
    return marks[::-1]
