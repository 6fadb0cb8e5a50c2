"""What is a question's own when all questions of its task share long passages.

    Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: [ ( < >

Every question of that task begins so, and all would leak into each other. A run of words that stands in one of fifty
of a task's questions, and in four at least, is the task's wording, not what a question knows of another. It is taken
off only where such a task declares it, and only between questions that are judged on: what is baked from is always
compared as a whole.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from agent_forge.questions.normalise import normalise_words
from agent_forge.questions.overlap import NGRAM
from agent_forge.questions.sources.task import TaskQuestions
from agent_forge.records import Question

FEWEST = 4
SHARE = 0.02


def own_texts(tasks: Iterable[TaskQuestions]) -> dict[str, str]:
    """Return question id -> its text without its task's wording, for tasks that share theirs."""
    return {
        name: text
        for task in tasks
        if task.shares_wording
        for name, text in _without_wording([q for part in task.parts.values() for q in part]).items()
    }


def _without_wording(questions: Sequence[Question]) -> dict[str, str]:
    words = {question.id: normalise_words(question.prompt) for question in questions}
    holders = Counter(gram for own in words.values() for gram in set(_grams(own)))
    least = max(FEWEST, SHARE * len(words))
    common = {gram for gram, count in holders.items() if count >= least}
    return {name: _own_text(own, common, name) for name, own in words.items()}


def _own_text(words: Sequence[str], common: set[tuple[str, ...]], name: str) -> str:
    kept = [True] * len(words)
    for first, gram in enumerate(_grams(words)):
        if gram in common:
            kept[first : first + NGRAM] = [False] * NGRAM
    # A question without any words of its own is known by its id alone.
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep) or name


def _grams(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[first : first + NGRAM]) for first in range(len(words) - NGRAM + 1)]
