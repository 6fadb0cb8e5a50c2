"""Thoughts: where they stand, when they end, and what is left when they are taken out.

While decoding, every row of a batch owns one `RowState`. At each step the sampler proposes a token and the row says
what is really fed to the model: the proposal, a token that the row's script forces, or nothing because it is done.

    script      forced at the start            then
    direct      cue                            answer; no thought can open
    elicited    <start> thought_prompt         thought, <end> cue forced, answer
    pause       <start> filler ... <end> cue   answer; no thought can open
    free        nothing                        whatever the model does; only the caps hold
    swapped     <start> given thought <end>    answer; no thought can open

Forced text is never part of the thought nor of the completion. A thought ends by the end token, by a stop text or by
the end-of-sequence token (elicited only: a model that was never taught the end token has no other way to say so), or
is closed at `max_thought_length`; only the first three are well-formed.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np

from agent_forge.errors import ConfigError

Placement = Literal["start", "sentence"]

_SENTENCE_END = re.compile(r"""[.!?;:]["')\]]*$""")
_CONNECTIVES = frozenset({"so", "therefore", "thus", "hence", "then", "because", "but", "however", "now", "since"})


@dataclass(frozen=True)
class ThoughtRules:
    """What holds for every row of a run.

    Attributes:
        start_id, end_id: ids of the thought tokens.
        eos_ids: ids that end a sequence.
        max_thought_length: sampled tokens after which a thought is closed.
        max_answer_tokens: sampled tokens after which an answer is cut off.
        max_thoughts: thoughts per answer at most.
        placement, probability: where elicited thoughts stand, see `is_break`.
        answer_stops, thought_stops: texts that end an answer or an elicited thought, and are dropped from it.
    """

    start_id: int
    end_id: int
    eos_ids: frozenset[int]
    max_thought_length: int
    max_answer_tokens: int
    max_thoughts: int = 1
    placement: Placement = "start"
    probability: float = 0.5
    answer_stops: tuple[str, ...] = ()
    thought_stops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "" in self.answer_stops + self.thought_stops:
            raise ConfigError("stop_strings or thought_stop has an empty text, which would end everything; remove it")


@dataclass(frozen=True)
class Script:
    """What one row is made to do; build it with the functions below.

    Attributes:
        prefix_ids: forced before the first sampled token; known in advance, so part of the prefill.
        thinking: the prefix leaves a thought open.
        elicit_ids: forced after each start token that the script itself places.
        close_ids: forced after the first end token that the script itself places (the cue).
        free: the model opens and closes thoughts itself.
        prefix_thought_tokens: tokens of the prefix that stand inside a thought.
        extra_answer_tokens: allowance on top of the answer cap, for a cue that the model writes itself.
    """

    prefix_ids: tuple[int, ...] = ()
    thinking: bool = False
    elicit_ids: tuple[int, ...] = ()
    close_ids: tuple[int, ...] = ()
    free: bool = False
    prefix_thought_tokens: int = 0
    extra_answer_tokens: int = 0


def direct_script(cue_ids: Sequence[int]) -> Script:
    """Answer at once."""
    return Script(prefix_ids=tuple(cue_ids))


def elicited_script(rules: ThoughtRules, elicit_ids: Sequence[int], cue_ids: Sequence[int]) -> Script:
    """Think first, prompted to, then answer."""
    elicit = tuple(elicit_ids)
    return Script(
        prefix_ids=(rules.start_id, *elicit),
        thinking=True,
        elicit_ids=elicit,
        close_ids=tuple(cue_ids),
        prefix_thought_tokens=len(elicit),
    )


def pause_script(rules: ThoughtRules, filler_id: int, count: int, cue_ids: Sequence[int]) -> Script:
    """Stand still for `count` filler tokens where a thought would be, then answer."""
    return Script(
        prefix_ids=(rules.start_id, *(filler_id,) * count, rules.end_id, *cue_ids), prefix_thought_tokens=count
    )


def free_script(cue_ids: Sequence[int]) -> Script:
    """Do whatever the model does by itself; the cue's length is allowed on top of the answer cap."""
    return Script(free=True, extra_answer_tokens=len(cue_ids))


def swapped_script(rules: ThoughtRules, thought_ids: Sequence[int], cue_ids: Sequence[int]) -> Script:
    """Answer after a given thought, as a baked model does: it writes the cue itself."""
    return Script(
        prefix_ids=(rules.start_id, *thought_ids, rules.end_id),
        prefix_thought_tokens=len(thought_ids),
        extra_answer_tokens=len(cue_ids),
    )


def is_break(before: str, piece: str) -> bool:
    """Say whether a new sentence or a logical step begins with `piece` after the text `before`.

    A full stop counts only when white space follows, so that `3.14` is not a sentence end.
    """
    if not before.strip():
        return False
    if before.endswith("\n") and not piece.startswith("\n"):
        return True
    if not piece[:1].isspace():
        return False
    return bool(_SENTENCE_END.search(before)) or piece.strip().lower() in _CONNECTIVES


@lru_cache(maxsize=1 << 14)
def may_complete(stops: tuple[str, ...], piece: str) -> bool:
    """Say whether one of the stops may end in a token, given the text that the token adds."""
    # A character beyond ASCII may be several tokens, none of which shows it by itself.
    return any(stop[-1] in piece or not stop[-1].isascii() for stop in stops)


@dataclass
class RowState:
    """One row while it is decoded; see the module's table.

    Attributes:
        decode: ids -> text, without special tokens.
        piece: the text that one token adds to what stands before it.
        uniforms: source of the coin flips at breaks; None where thoughts stand at the start only.
    """

    rules: ThoughtRules
    script: Script
    decode: Callable[[Sequence[int]], str]
    piece: Callable[[int], str]
    uniforms: np.random.Generator | None
    answer_ids: list[int] = field(default_factory=list)
    thoughts: list[list[int]] = field(default_factory=list)
    sampled_tokens: int = 0
    thought_tokens: int = 0
    thinking: bool = False
    done: bool = False
    truncated: bool = False
    malformed: bool = False
    _forced: deque[int] = field(default_factory=deque)
    _opened_at: list[int] = field(default_factory=list)
    _cut_thoughts: dict[int, str] = field(default_factory=dict)
    _answer_cut: int | None = None
    _decided_at: int = 0
    _cue_given: bool = False
    _texts: dict[tuple[int, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.thought_tokens = self.script.prefix_thought_tokens
        if self.script.thinking:
            self._open()

    @property
    def bans_start(self) -> bool:
        """Whether the start token may not be sampled now."""
        return not self.script.free or (not self.thinking and len(self.thoughts) >= self.rules.max_thoughts)

    @property
    def bans_end(self) -> bool:
        """Whether the end token may not be sampled now."""
        return not self.script.free and not self.thinking

    def advance(self, proposed: int) -> int | None:
        """Take the token sampled from the model's distribution; return the one to feed, None when the row is done.

        A proposal made while a forced token is due is ignored.
        """
        if self.done:
            return None
        if self._forced:
            return self._forced.popleft()
        self.sampled_tokens += 1
        return self._think(proposed) if self.thinking else self._answer(proposed)

    @property
    def left(self) -> int:
        """How many sampled tokens it is, the next one included, until a cap acts."""
        if self.thinking:
            return self.rules.max_thought_length - len(self.thoughts[-1])
        return self.rules.max_answer_tokens + self.script.extra_answer_tokens - len(self.answer_ids)

    def take(self, proposed: Sequence[int]) -> None:
        """Take tokens of which it is known that `advance` would feed each as it is and change nothing else.

        Args:
            proposed: fewer than `left`, none of which opens, closes or ends anything.
        """
        self.sampled_tokens += len(proposed)
        if self.thinking:
            self.thought_tokens += len(proposed)
        (self.thoughts[-1] if self.thinking else self.answer_ids).extend(proposed)

    @property
    def places_thoughts(self) -> bool:
        """Whether a thought may be placed before an answer's next tokens, see `is_break`."""
        elicits = bool(self.script.elicit_ids or self.script.thinking)
        return elicits and self.uniforms is not None and self.rules.placement == "sentence"

    @property
    def forced(self) -> bool:
        """Whether the next token is forced, so that the next proposal does not matter."""
        return bool(self._forced)

    def answer_text(self) -> str:
        """Return the text outside of thoughts."""
        return self._text(self.answer_ids)[: self._answer_cut]

    def thought_texts(self) -> tuple[str, ...]:
        """Return the text of each thought in order, without what elicited it."""
        cut = self._cut_thoughts
        return tuple(cut[k] if k in cut else self._text(ids) for k, ids in enumerate(self.thoughts))

    def transcript(self, start_token: str, end_token: str, cue: str) -> str:
        """Return what the row would read like had the model done it unprompted: thoughts between tokens, cue, answer.

        Args:
            start_token: text of the token that opens a thought.
            end_token: text of the token that closes it.
            cue: put after the first thought, where the script forced it.
        """
        parts: list[str] = []
        answer, done = self.answer_text(), 0
        for k, (thought, opened_at) in enumerate(zip(self.thought_texts(), self._opened_at, strict=True)):
            upto = len(self._text(self.answer_ids[:opened_at]))
            parts += [answer[done:upto], start_token, thought, end_token]
            parts += [cue] if k == 0 else []
            done = upto
        return "".join([*parts, answer[done:]])

    @property
    def well_formed(self) -> bool:
        """Whether every thought was closed by the model and has content, and no thought token stands astray."""
        return not self.malformed and not self.thinking and all(text.strip() for text in self.thought_texts())

    def _text(self, ids: Sequence[int]) -> str:
        """Decode what is asked for several times when the row is done."""
        key = tuple(ids)
        if key not in self._texts:
            self._texts[key] = self.decode(ids) if ids else ""
        return self._texts[key]

    def _open(self) -> None:
        self.thinking = True
        self.thoughts.append([])
        self._opened_at.append(len(self.answer_ids))

    def _think(self, proposed: int) -> int | None:
        thought = self.thoughts[-1]
        if proposed == self.rules.end_id:
            return self._close()
        if proposed in self.rules.eos_ids:
            return self._end_inside_thought()
        if proposed == self.rules.start_id:
            self.malformed = True
        cut = None if self.script.free else self._stop_at(thought, proposed, self.rules.thought_stops)
        if cut is not None:
            self._cut_thoughts[len(self.thoughts) - 1] = cut
            return self._close()
        thought.append(proposed)
        self.thought_tokens += 1
        if len(thought) >= self.rules.max_thought_length:
            self.malformed = True
            self._forced.appendleft(self._close())
        return proposed

    def _end_inside_thought(self) -> int | None:
        if not self.script.free:
            return self._close()
        self.malformed = True
        self.done = True
        return None

    def _close(self) -> int:
        self.thinking = False
        if not self.script.free and not self._cue_given:
            self._forced.extend(self.script.close_ids)
            self._cue_given = True
        self._decided_at = len(self.answer_ids)
        return self.rules.end_id

    def _answer(self, proposed: int) -> int | None:
        if proposed in self.rules.eos_ids:
            return self._finish()
        if proposed == self.rules.start_id:
            self._open()
            return proposed
        if self._thinks_before(proposed):
            return self._elicit()
        # An end token with nothing to end counts against the answer cap like any other, so that decoding stops.
        self.malformed = self.malformed or proposed == self.rules.end_id
        cut = self._stop_at(self.answer_ids, proposed, self.rules.answer_stops)
        if cut is not None:
            self._answer_cut = len(cut)
            return self._finish()
        self.answer_ids.append(proposed)
        if len(self.answer_ids) >= self.rules.max_answer_tokens + self.script.extra_answer_tokens:
            self.truncated = True
            return self._finish()
        return proposed

    def _elicit(self) -> int:
        self._open()
        self._forced.extend(self.script.elicit_ids)
        self.thought_tokens += len(self.script.elicit_ids)
        return self.rules.start_id

    def _finish(self) -> int | None:
        self.done = True
        return None

    def _thinks_before(self, proposed: int) -> bool:
        """Flip the coin once at each break of an elicited answer."""
        position = len(self.answer_ids)
        if (
            self.uniforms is None
            or not self.places_thoughts
            or self._decided_at == position
            or len(self.thoughts) >= self.rules.max_thoughts
        ):
            return False
        if not is_break(self.decode(self.answer_ids[-8:]), self.piece(proposed)):
            return False
        self._decided_at = position
        return bool(self.uniforms.random() < self.rules.probability)

    def _stop_at(self, ids: list[int], proposed: int, stops: tuple[str, ...]) -> str | None:
        """Return the text before the first stop that `proposed` completes, None when it completes none."""
        if not stops:
            return None
        if not may_complete(stops, self.piece(proposed)):
            return None
        text = self.decode([*ids, proposed])
        places = [place for stop in stops if (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else None
