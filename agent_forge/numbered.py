"""Texts numbered in the order they come, in memory that is little more than their own bytes.

    names = Numbered()
    names.add("q7"), names.add("q3"), names.add("q7")       # 0, 1, 0
    names[1], names.find("q3"), names.find("q4")            # "q3", 1, None

A dictionary of a hundred thousand ids of sixteen characters takes fifteen megabytes, this three.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

# Longer texts, or texts with zeros in them, are sorted one by one.
_LONGEST_SORTED = 64
_FREE = -1


class Numbered(Sequence[str]):
    """Different texts by number: an open hash table of numbers over one run of bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])
        self._table = array("i", [_FREE]) * 64

    def __len__(self) -> int:
        """Return how many different texts there are."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[str]: ...
    def __getitem__(self, number: Any) -> Any:
        """Return the text of a number."""
        if isinstance(number, slice):
            return [self[k] for k in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._encoded(number).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        """Yield the texts in the order of their numbers."""
        return (self[number] for number in range(len(self)))

    def __contains__(self, text: object) -> bool:
        """Whether a text has a number."""
        return isinstance(text, str) and self.find(text) is not None

    def add(self, text: str) -> int:
        """Return the number of a text, the next one for a text that is new."""
        encoded = text.encode("utf-8", "surrogatepass")
        place = self._place(encoded)
        if (number := self._table[place]) != _FREE:
            return number
        self._table[place] = number = len(self)
        self._bytes += encoded
        self._ends.append(len(self._bytes))
        if 3 * len(self) > 2 * len(self._table):
            self._widen()
        return number

    def find(self, text: str) -> int | None:
        """Return the number of a text, None where it has none."""
        number = self._table[self._place(text.encode("utf-8", "surrogatepass"))]
        return None if number == _FREE else number

    def in_order(self, numbers_N: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return numbers in the order of their texts."""
        lengths_N = np.diff(np.frombuffer(self._ends, np.int64))
        longest = int(lengths_N.max(initial=0))
        if longest > _LONGEST_SORTED or b"\0" in self._bytes:
            return np.array(sorted(numbers_N.tolist(), key=self.__getitem__), np.int32)
        # The order of UTF-8 is that of the characters.
        texts_N = np.fromiter((self._encoded(k) for k in numbers_N.tolist()), f"S{max(longest, 1)}", len(numbers_N))
        ordered: NDArray[np.int32] = numbers_N[np.argsort(texts_N, kind="stable")]
        return ordered

    def _encoded(self, number: int) -> bytes:
        return bytes(self._bytes[self._ends[number] : self._ends[number + 1]])

    def _place(self, encoded: bytes) -> int:
        """Return where in the table a text's number is, or would be."""
        mask = len(self._table) - 1
        place = hash(encoded) & mask
        while (number := self._table[place]) != _FREE and self._encoded(number) != encoded:
            place = (place + 1) & mask
        return place

    def _widen(self) -> None:
        self._table = array("i", [_FREE]) * (2 * len(self._table))
        for number in range(len(self)):
            self._table[self._place(self._encoded(number))] = number
