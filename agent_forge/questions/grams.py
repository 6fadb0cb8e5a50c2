"""Runs of words as 64-bit hashes in sorted arrays: where one collection of texts shares a run with another.

Word hashes are Python's own, so they differ between processes; nothing that is found hangs on them, since whoever asks
here compares the words afterwards.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent_forge.questions.leak_words import leak_words

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class HashedTexts:
    """Texts and the hashes of all their words, one after the other.

    Attributes:
        texts: the texts.
        words: hash of every word.
        starts: where each text's words begin, and after the last text the end.
        first: number of the first text in the collection that these are part of.
    """

    texts: Sequence[str]
    words: Hashes
    starts: Places
    first: int = 0

    @property
    def lengths(self) -> Places:
        """Return how many words each text has."""
        return np.diff(self.starts)

    def runs(self, length: int, whole: bool = False) -> tuple[Hashes, Places]:
        """Return the hash of every run of so many words within a text, and where it begins.

        Args:
            length: words per run.
            whole: only texts that are no longer than the run.
        """
        if whole:
            at = self.starts[:-1][self.lengths == length]
            return rolling(self.words, length)[at], at
        room = np.maximum(self.lengths - length + 1, 0)
        before = np.cumsum(room) - room
        at = np.arange(int(room.sum())) + np.repeat(self.starts[:-1] - before, room)
        return rolling(self.words, length)[at], at

    def owners(self, at: Places) -> Places:
        """Return which of the texts holds each of these places."""
        return np.searchsorted(self.starts, at, side="right") - 1


def batches(texts: Iterable[str], most_words: int) -> Iterator[HashedTexts]:
    """Hash texts in batches of so many words, the last text's left over included."""
    held: list[str] = []
    words, starts, first = array("q"), [0], 0
    for text in texts:
        held.append(text)
        words.extend(map(word_hash, leak_words(text)))
        starts.append(len(words))
        if len(words) >= most_words:
            yield _batch(held, words, starts, first)
            first += len(held)
            held, words, starts = [], array("q"), [0]
    if held:
        yield _batch(held, words, starts, first)


def word_hash(word: str) -> int:
    """Return a word's hash, a signed 64-bit number."""
    return hash(word)


def rolling(words: Hashes, length: int) -> Hashes:
    """Return the hash of the run of `length` words from every place on: a polynomial, put together by doubling."""
    total, done = words[:0], 0
    block, size, rest = words, 1, length
    while rest:
        if rest & 1:
            total = _joined(total, done, block, size) if done else block
            done += size
        rest >>= 1
        if rest:
            block, size = _joined(block, size, block, size), 2 * size
    return total


class GramTable:
    """Runs of one length, sorted by their hashes."""

    def __init__(self, parts: Sequence[HashedTexts], length: int, whole: bool = False) -> None:
        """Take the runs of texts, or only the texts of just that length.

        Args:
            parts: the texts.
            length: words per run.
            whole: only whole texts.
        """
        found = [part.runs(length, whole) for part in parts]
        counts = np.cumsum([0, *(len(part.words) for part in parts)])
        hashes = np.concatenate([part for part, _ in found]) if found else np.empty(0, np.uint64)
        at = [(places + base).astype(np.uint32) for (_, places), base in zip(found, counts, strict=False)]
        del found
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._at = np.concatenate(at)[order] if at else np.empty(0, np.uint32)

    def __len__(self) -> int:
        return len(self._hashes)

    def shared(self, hashes: Hashes) -> tuple[Places, Places]:
        """Return (index into `hashes`, place of a run with that hash) for all that there are.

        Args:
            hashes: sorted.
        """
        low = np.searchsorted(self._hashes, hashes)
        held = np.flatnonzero(self._hashes[np.minimum(low, len(self) - 1)] == hashes) if len(self) else low[:0]
        low = low[held]
        counts = np.searchsorted(self._hashes, hashes[held], side="right") - low
        before = np.cumsum(counts) - counts
        entries = np.arange(int(counts.sum())) + np.repeat(low - before, counts)
        return np.repeat(held, counts), self._at[entries].astype(np.int64)


def _batch(texts: list[str], words: "array[int]", starts: list[int], first: int) -> HashedTexts:
    return HashedTexts(texts, np.frombuffer(words, np.int64).view(np.uint64), np.array(starts, np.int64), first)


def _joined(first: Hashes, first_length: int, second: Hashes, second_length: int) -> Hashes:
    count = max(0, len(second) - first_length)
    factor = np.uint64(pow(_BASE, second_length, 1 << 64))
    joined = first[:count] * factor
    joined += second[first_length : first_length + count]
    return joined
