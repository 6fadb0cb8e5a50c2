"""Leaks: items of two question sets that share a 13-gram of normalised words, or all words when shorter."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from agent_forge.questions.normalise import normalise_words
from agent_forge.records import Question

NGRAM = 13


def grams(prompt: str) -> Iterator[str]:
    """Yield every 13-gram of a prompt's normalised words; the whole text when it is shorter."""
    words = normalise_words(prompt)
    for first in range(max(1, len(words) - NGRAM + 1)):
        yield " ".join(words[first : first + NGRAM])


def index(questions: Iterable[Question]) -> dict[bytes, str]:
    """Return hash of n-gram -> id of a question that holds it."""
    return {_key(gram): question.id for question in questions for gram in grams(question.prompt)}


def first_shared(question: Question, indexed: dict[bytes, str]) -> tuple[str, str] | None:
    """Return the first n-gram of a question that an index holds and the id of the other question, or None."""
    for gram in grams(question.prompt):
        other = indexed.get(_key(gram))
        if other is not None:
            return gram, other
    return None


def overlap_between(first: Sequence[Question], second: Sequence[Question]) -> list[tuple[str, str, str]]:
    """Return (id in first, id in second, shared n-gram) for every item of `first` that leaks into `second`."""
    indexed = index(second)
    found = ((question.id, first_shared(question, indexed)) for question in first)
    return [(name, shared[1], shared[0]) for name, shared in found if shared is not None]


def _key(gram: str) -> bytes:
    return hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest()
