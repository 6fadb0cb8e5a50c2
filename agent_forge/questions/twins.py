"""Template twins: questions that differ in nothing but their numbers.

    Tom has 3 apples and buys twelve more. How many?
    Tom has 5 apples and buys 2 more. How many?

The answer of the one does not give away the other's, so twins are no leak. But a model that has learned the one's steps
by heart has seen the other's, and a comparison made of twins says little about other questions: they are counted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agent_forge.questions.leak_words import template
from agent_forge.questions.overlap import Texts
from agent_forge.records import Question, SplitName, Twin, TwinCount

EXAMPLES = 20
_PAIRS: tuple[tuple[SplitName, SplitName], ...] = (("bake", "gate"), ("bake", "verify"), ("gate", "verify"))


def template_keys(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return the hash of every text's template; 0 for a text without numbers."""
    return np.fromiter((hash(made) if (made := template(text)) else 0 for text in texts), np.int64)


def find_twins(items: Texts, others: Texts) -> Iterator[tuple[int, int, str]]:
    """Yield (item, first other text with its template, template), in the order of the items.

    A text with the same words is one too: leave out the items that leak.
    """
    known = np.unique(template_keys(items()))
    first: dict[str, int] = {}
    for number, text in enumerate(others()):
        if (made := template(text)) and _held(known, hash(made)):
            first.setdefault(made, number)
    for item, text in enumerate(items() if first else ()):
        if (made := template(text)) and made in first:
            yield item, first[made], made


def split_twins(splits: Mapping[SplitName, Sequence[Question]]) -> tuple[tuple[TwinCount, ...], tuple[Twin, ...]]:
    """Count, for every two splits, the questions of the earlier that have a twin in the later, and show a few.

    They are told by 64-bit hashes: nothing is dropped for being a twin.
    """
    keys = {name: template_keys(question.prompt for question in questions) for name, questions in splits.items()}
    counts, shown = [], []
    for name, other in _PAIRS:
        twins = np.flatnonzero(np.isin(keys[name], keys[other]) & (keys[name] != 0))
        counts.append(TwinCount(split=name, twin_in=other, questions=len(keys[name]), count=len(twins)))
        for index in twins[:EXAMPLES]:
            match = int(np.flatnonzero(keys[other] == keys[name][index])[0])
            question = splits[name][index]
            shown.append(
                Twin(
                    question_id=question.id,
                    split=name,
                    twin_in=other,
                    twin_id=splits[other][match].id,
                    template=template(question.prompt),
                )
            )
    return tuple(counts), tuple(shown)


def _held(known: NDArray[np.int64], key: int) -> bool:
    at = int(np.searchsorted(known, key))
    return at < len(known) and int(known[at]) == key
