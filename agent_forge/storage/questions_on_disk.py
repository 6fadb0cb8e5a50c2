"""Questions that stay on disk: one is read whenever it is asked for, and memory holds where each of them begins.

questions = QuestionFile(path)      # read through once, so that what is no question shows at once
questions[7], questions[1::4]       # a question; a choice of them, four bytes each
QuestionsById(questions)["5f0c"]    # by id, twelve bytes each
"""

import os
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from agent_forge.errors import QuestionError
from agent_forge.records import Question, parse_record


class QuestionFile(Sequence[Question]):
    """The questions of a file of JSON lines, in order; eight bytes each."""

    def __init__(self, path: Path) -> None:
        """Open a file and read it through.

        Raises:
            QuestionError: naming file and line, for what is no question.
        """
        self._name = str(path)
        self._begins = array("q")
        try:
            self._file = os.open(path, os.O_RDONLY)
            # Open for as long as it is used: whatever is renamed meanwhile, these are the questions that were read.
            weakref.finalize(self, os.close, self._file)
            self._read_through()
        except (OSError, UnicodeDecodeError) as cause:
            raise QuestionError(f"cannot read {path}: {cause}; JSON lines of Question are expected there") from cause

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._begins) - 1

    @overload
    def __getitem__(self, place: int) -> Question: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Question]: ...
    def __getitem__(self, place: Any) -> Any:
        """Read a question, or choose some."""
        if isinstance(place, slice):
            return Chosen(self, np.arange(len(self), dtype=np.int32)[place])
        begin = self._begins[place := range(len(self))[place]]
        line = os.pread(self._file, self._begins[place + 1] - begin, begin)
        return parse_record(Question, line.decode(), self._name, QuestionError)

    def __iter__(self) -> Iterator[Question]:
        """Yield every question."""
        return (self[place] for place in range(len(self)))

    def _read_through(self) -> None:
        begin = 0
        with open(self._file, "rb", closefd=False) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    parse_record(Question, line.decode(), f"{self._name}:{number}", QuestionError)
                    self._begins.append(begin)
                begin += len(line)
        self._begins.append(begin)


class Chosen(Sequence[Question]):
    """Some of other questions, by their places among them."""

    def __init__(self, questions: Sequence[Question], places_N: NDArray[np.int32]) -> None:
        self._questions = questions
        self._places_N = places_N

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places_N)

    @overload
    def __getitem__(self, place: int) -> Question: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Question]: ...
    def __getitem__(self, place: Any) -> Any:
        """Read a question, or choose some."""
        if isinstance(place, slice):
            return Chosen(self._questions, self._places_N[place])
        return self._questions[int(self._places_N[place])]

    def __iter__(self) -> Iterator[Question]:
        """Yield every question."""
        return (self._questions[place] for place in self._places_N.tolist())


class QuestionsById(Mapping[str, Question]):
    """Questions of one or several sequences by their ids; of two with the same id, the last."""

    def __init__(self, *parts: Sequence[Question]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))
        hashes_N = np.fromiter(map(_hashed, self), np.uint64, len(self))
        self._order_N = np.argsort(hashes_N, kind="stable").astype(np.int32)
        self._hashes_N = hashes_N[self._order_N]

    def __len__(self) -> int:
        """Return how many there are."""
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[str]:
        """Yield the ids."""
        return (question.id for question in chain.from_iterable(self._parts))

    def __getitem__(self, name: str) -> Question:
        """Read the question of an id."""
        first, end = (int(np.searchsorted(self._hashes_N, _hashed(name), side)) for side in ("left", "right"))
        for place in self._order_N[first:end][::-1].tolist():
            part = bisect_right(self._ends, place)
            question: Question = self._parts[part][place - (self._ends[part - 1] if part else 0)]
            if question.id == name:
                return question
        raise KeyError(name)


def _hashed(name: str) -> "np.uint64":
    return np.uint64(int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"))
