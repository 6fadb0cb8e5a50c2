"""Questions that stay on disk: one is read whenever it is asked for, and memory holds where each of them begins.

questions = open_questions(path)    # read through once, so that what is no question shows at once
questions[7], questions[1::4]       # a question; a choice of them, four bytes each
stored(made)                        # the same for questions from anywhere, in a temporary file if they are many
QuestionsById(questions)["5f0c"]    # by id, twelve bytes each
"""

import os
import tempfile
import weakref
from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent_forge.errors import QuestionError
from agent_forge.records import Question, json_line, parse_lines, parse_record, reading_rows

# Fewer are held: they take less memory than a batch of rows.
FEW = 4096


class AsAsked(Sequence[Question]):
    """Questions that are read one by one, whenever they are asked for."""

    @overload
    def __getitem__(self, place: int) -> Question: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Question]: ...
    def __getitem__(self, place: Any) -> Any:
        """Read a question, or choose some."""
        if isinstance(place, slice):
            return self._chosen(place)
        return self._read(range(len(self))[place])

    def _chosen(self, places: slice) -> "Chosen":
        return Chosen(self, np.arange(len(self), dtype=np.int32)[places])

    @abstractmethod
    def _read(self, place: int) -> Question:
        """Read the question at a place, counted from 0."""


class QuestionsOnDisk(AsAsked):
    """The questions of an open file of JSON lines, in order; eight bytes each."""

    def __init__(self, file: int, begins: "array[int]", name: str) -> None:
        """Take over a file.

        Args:
            file: its descriptor, closed with these questions; whatever is renamed meanwhile, it is the same file.
            begins: where every question's line begins, and after the last one the end.
            name: of the file, for errors.
        """
        self._file, self._begins, self._name = file, begins, name
        weakref.finalize(self, os.close, file)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._begins) - 1

    def _read(self, place: int) -> Question:
        begin = self._begins[place]
        line = os.pread(self._file, self._begins[place + 1] - begin, begin)
        return parse_record(Question, line.decode(), self._name, QuestionError)


def open_questions(path: Path) -> QuestionsOnDisk:
    """Open a file and read it through.

    Raises:
        QuestionError: naming file and line, for what is no question.
    """
    with reading_rows(Question, path, QuestionError), path.open("rb") as lines:
        begins = array("q", (begin for begin, _, _ in parse_lines(Question, lines, path, QuestionError)))
        begins.append(lines.tell())
        return QuestionsOnDisk(os.dup(lines.fileno()), begins, str(path))


def stored(questions: Iterable[Question]) -> Sequence[Question]:
    """Return questions as a sequence; many of them are written to a temporary file that has no name.

    Raises:
        QuestionError: when there is no room for that file.
    """
    left = iter(questions)
    held = tuple(islice(left, FEW))
    if len(held) < FEW:
        return held
    begins, begin = array("q", [0]), 0
    lines = (json_line(question).encode() for question in chain(held, left))
    # What is wrong with a question that is read here is no fault of the temporary file.
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        with file:
            for line in lines:
                file.write(line)
                begins.append(begin := begin + len(line))
            file.flush()
            return QuestionsOnDisk(os.dup(file.fileno()), begins, "the temporary file of questions")
    except OSError as cause:
        raise QuestionError(
            f"cannot set {len(begins):,} questions aside in {tempfile.gettempdir()}: {cause.strerror}; "
            "free some space or let TMPDIR name another directory"
        ) from cause


def choose(questions: Sequence[Question], places: ArrayLike) -> Sequence[Question]:
    """Return some of other questions by their places; a tuple where those are held."""
    places_N = np.asarray(places, np.int32)
    if isinstance(questions, tuple):
        return tuple(questions[place] for place in places_N.tolist())
    return Chosen(questions, places_N)


def joined(parts: Sequence[Sequence[Question]]) -> Sequence[Question]:
    """Return the questions of several sequences, one after the other; a tuple where all are held."""
    if all(isinstance(part, tuple) for part in parts):
        return tuple(chain.from_iterable(parts))
    return Joined(parts)


class Chosen(AsAsked):
    """Some of other questions, by their places among them."""

    def __init__(self, questions: Sequence[Question], places_N: NDArray[np.int32]) -> None:
        self._questions = questions
        self._places_N = places_N

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places_N)

    def _chosen(self, places: slice) -> "Chosen":
        return Chosen(self._questions, self._places_N[places])

    def _read(self, place: int) -> Question:
        return self._questions[int(self._places_N[place])]

    def __iter__(self) -> Iterator[Question]:
        """Yield every question."""
        return (self._questions[place] for place in self._places_N.tolist())


class Joined(AsAsked):
    """The questions of several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence[Question]]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        """Return how many there are."""
        return self._ends[-1] if self._ends else 0

    def _read(self, place: int) -> Question:
        part = bisect_right(self._ends, place)
        return self._parts[part][place - (self._ends[part - 1] if part else 0)]

    def __iter__(self) -> Iterator[Question]:
        """Yield every question."""
        return chain.from_iterable(self._parts)


class QuestionsById(Mapping[str, Question]):
    """Questions by their ids; of two with the same id, the last."""

    def __init__(self, *parts: Sequence[Question]) -> None:
        self._questions = joined(parts)
        hashes_N = np.fromiter(map(_hashed, self), np.uint64, len(self))
        self._order_N = np.argsort(hashes_N, kind="stable").astype(np.int32)
        self._hashes_N = hashes_N[self._order_N]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._questions)

    def __iter__(self) -> Iterator[str]:
        """Yield the ids."""
        return (question.id for question in self._questions)

    def __getitem__(self, name: str) -> Question:
        """Read the question of an id."""
        first, end = (int(np.searchsorted(self._hashes_N, _hashed(name), side)) for side in ("left", "right"))
        for place in self._order_N[first:end][::-1].tolist():
            question: Question = self._questions[place]
            if question.id == name:
                return question
        raise KeyError(name)


def _hashed(name: str) -> "np.uint64":
    return np.uint64(int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"))
