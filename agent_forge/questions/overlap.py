"""Leaks: what one text shares with another, and where a million texts share it.

    both have 13 words or more     a run of 13 words of the one stands in the other
    one is shorter                 all its words, in a row, stand in the other as an item of their own
    both are shorter               they have the same words, or the one stands in the other set off by punctuation

Words are those of `leak_words`. `Who was the president?` is no leak of `Who was the president of France in 1990?`: two
short questions. Both leak into a page that holds them, whatever is around them there.

Between question sets this goes both ways. An excluded corpus is a container: a question leaks when it, or 13 words of
it, stand in the corpus, of whatever length its texts are; a short text of the corpus that stands in a question is none.

`shared_run` is the definition. `find_shared` finds the same by sorted hashes, and compares words before it says so.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agent_forge.questions.grams import GramTable, HashedTexts, Hashes, Places, batches
from agent_forge.questions.leak_words import leak_words, runs, spaced_words, stands_alone
from agent_forge.records import Question

NGRAM = 13
# Words of items indexed at a time, 40 bytes each at the peak; the other texts are read once for each such block.
BLOCK_WORDS = 1 << 25
BATCH_WORDS = 1 << 19
# Different short texts looked for together.
MOST_SHORT = 1 << 18

# Texts that can be read more than once.
Texts = Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Shared:
    """What an item shares with another text.

    Attributes:
        place: where the run begins in the item, in words.
        other: number of the other text.
        gram: the words shared.
    """

    place: int
    other: int
    gram: str


def grams(prompt: str) -> Iterator[str]:
    """Yield every 13-gram of a prompt's words; the whole text when it is shorter."""
    words = leak_words(prompt)
    for first in range(max(1, len(words) - NGRAM + 1)):
        yield " ".join(words[first : first + NGRAM])


def shared_run(item: str, other: str, container: bool = False) -> tuple[int, str] | None:
    """Return the first run of words for which an item leaks into another text, and its place in the item.

    Args:
        item: a question's text.
        other: another question's, or a text of a corpus.
        container: whether `other` is a text of a corpus.
    """
    words, others = leak_words(item), leak_words(other)
    length = min(NGRAM, len(words), len(others))
    if not length:
        return None
    if length == NGRAM:
        held = set(grams(other))
        return next(((place, gram) for place, gram in enumerate(grams(item)) if gram in held), None)
    if len(words) <= len(others):
        found = any(_is_item(other, len(others), at, length, container) for at in runs(others, words))
        return (0, " ".join(words)) if found else None
    if container:
        return None
    places = (at for at in runs(words, others) if _is_item(item, len(words), at, length))
    return next(((at, " ".join(others)) for at in places), None)


def find_shared(items: Iterable[str], others: Texts, container: bool = False) -> Iterator[tuple[int, Shared]]:
    """Yield the number of every item that leaks and what it shares, in the order of the items.

    Of all it shares, that is what begins first in the item; there, with the first of the others that has it.

    Args:
        items: questions' texts.
        others: texts they may leak into; read again for each block of items.
        container: whether these are texts of a corpus.
    """
    for block in _blocks(items):
        search = _Search(block, container)
        for batch in batches(others(), BATCH_WORDS):
            search.look_into(batch)
        search.finish()
        yield from sorted(search.found.items())


def overlap_between(first: Sequence[Question], second: Sequence[Question]) -> list[tuple[str, str, str]]:
    """Return (id in first, id in second, shared words) for every item of `first` that leaks into `second`."""
    shared = find_shared((question.prompt for question in first), lambda: (question.prompt for question in second))
    return [(first[item].id, second[found.other].id, found.gram) for item, found in shared]


def _is_item(text: str, words: int, at: int, length: int, container: bool = False) -> bool:
    return length == words or stands_alone(text, at, length, set_off=words < NGRAM and not container)


class _Block:
    """Items that are looked for together."""

    def __init__(self, parts: Sequence[HashedTexts]) -> None:
        self.parts = parts
        self.first = parts[0].first
        self.texts = [text for part in parts for text in part.texts]
        bases = np.cumsum([0, *(len(part.words) for part in parts)])
        self.starts = np.concatenate([part.starts[:-1] + base for part, base in zip(parts, bases, strict=False)])
        self.tables = {NGRAM: GramTable(parts, NGRAM)}
        for length in _short_lengths(parts):
            self.tables[length] = GramTable(parts, length, whole=True)

    def owners(self, at: Places) -> Places:
        # Texts without words begin where the next one does: the last that begins there is the one that has words.
        return np.searchsorted(self.starts, at, side="right") - 1


class _Search:
    """The best that is known about each item of a block while the other texts go by."""

    def __init__(self, block: _Block, container: bool) -> None:
        self._block = block
        self._container = container
        self.found: dict[int, Shared] = {}
        # The other texts that are shorter than an n-gram, by their words: the first that has them, and its number.
        self._short: dict[str, tuple[int, str]] = {}
        # The place of what was found, so that what cannot be better is not looked at.
        self._best = np.full(len(block.texts), np.iinfo(np.int64).max)

    def look_into(self, batch: HashedTexts) -> None:
        for length, table in self._block.tables.items():
            self._items_in(batch, table, length)
        if not self._container:
            self._remember_short(batch)

    def _items_in(self, batch: HashedTexts, table: GramTable, length: int) -> None:
        """Look for the items' runs in the other texts."""
        hashes, at = batch.runs(length)
        values, firsts = np.unique(hashes, return_index=True)
        which, places = table.shared(values)
        items = self._block.owners(places)
        within = places - self._block.starts[items]
        open_ = np.flatnonzero(within < self._best[items])
        order = open_[np.lexsort((at[firsts[which[open_]]], within[open_], items[open_]))]
        asked: dict[str, int | None] = {}
        for index in order:
            item, place = int(items[index]), int(within[index])
            if place >= self._best[item]:
                continue
            wanted = leak_words(self._block.texts[item])[place : place + length]
            # Many items may ask for the same words.
            if (name := " ".join(wanted)) not in asked:
                asked[name] = self._first_other(batch, hashes, at, int(firsts[which[index]]), wanted)
            if (other := asked[name]) is not None:
                self._keep(item, Shared(place, batch.first + other, name))

    def _first_other(self, batch: HashedTexts, hashes: Hashes, at: Places, first: int, wanted: list[str]) -> int | None:
        """Return the first text of a batch that has these words in a row, as an item of their own."""
        # Nearly always that of the first hash; others where hashes collide, or the words do not stand alone.
        if (other := self._other_at(batch, int(at[first]), wanted)) is not None:
            return other
        again = at[hashes == hashes[first]][1:].tolist()
        return next((other for place in again if (other := self._other_at(batch, place, wanted)) is not None), None)

    def _other_at(self, batch: HashedTexts, at: int, wanted: list[str]) -> int | None:
        other = bisect_right(batch.starts, at) - 1
        text, start = batch.texts[other], at - int(batch.starts[other])
        words, _ = spaced_words(text)
        if words[start : start + len(wanted)] != wanted:
            return None
        whole = len(wanted) == NGRAM or _is_item(text, len(words), start, len(wanted), self._container)
        return other if whole else None

    def _remember_short(self, batch: HashedTexts) -> None:
        for number in np.flatnonzero(batch.lengths < NGRAM).tolist():
            text = batch.texts[number]
            if words := leak_words(text):
                self._short.setdefault(" ".join(words), (batch.first + number, text))
        if len(self._short) >= MOST_SHORT:
            self.finish()

    def finish(self) -> None:
        """Look into the items for the other texts that are shorter than the shortest run."""
        others, texts = zip(*self._short.values(), strict=True) if self._short else ((), ())
        for batch in batches(texts, BATCH_WORDS):
            for length in _short_lengths([batch]):
                table = GramTable([batch], length, whole=True)
                base = 0
                for part in self._block.parts:
                    self._short_in(part, base, table, length, batch, others[batch.first :])
                    base += len(part.texts)
        self._short.clear()

    def _short_in(
        self, part: HashedTexts, base: int, table: GramTable, length: int, batch: HashedTexts, others: Sequence[int]
    ) -> None:
        hashes, at = part.runs(length)
        order = np.argsort(hashes, kind="stable")
        which, places = table.shared(hashes[order])
        at, owners = at[order[which]], part.owners(at[order[which]])
        within, numbers = at - part.starts[owners], batch.owners(places)
        open_ = np.flatnonzero((within <= self._best[base + owners]) & (part.lengths[owners] > length))
        for index in open_[np.lexsort((numbers[open_], within[open_], owners[open_]))]:
            item, place, number = base + int(owners[index]), int(within[index]), int(numbers[index])
            known = self.found.get(self._block.first + item)
            if known is not None and (known.place, known.other) <= (place, others[number]):
                continue
            wanted, words = leak_words(batch.texts[number]), spaced_words(self._block.texts[item])[0]
            if words[place : place + length] == wanted and _is_item(self._block.texts[item], len(words), place, length):
                self._keep(item, Shared(place, others[number], " ".join(wanted)))

    def _keep(self, item: int, shared: Shared) -> None:
        self.found[self._block.first + item] = shared
        self._best[item] = shared.place


def _blocks(items: Iterable[str]) -> Iterator[_Block]:
    parts: list[HashedTexts] = []
    for part in batches(items, BATCH_WORDS):
        parts.append(part)
        if sum(len(part.words) for part in parts) >= BLOCK_WORDS:
            yield _Block(parts)
            parts = []
    if parts:
        yield _Block(parts)


def _short_lengths(parts: Sequence[HashedTexts]) -> list[int]:
    lengths = np.unique(np.concatenate([part.lengths for part in parts]))
    return [int(length) for length in lengths if 0 < length < NGRAM]
