"""Result rows in several files, read one at a time and written down again as one set in another order.

    rows = RowFiles(paths)
    judge(rows.read(), ...)
    write_parts_atomic(path, rows.sorted_lines())

Memory holds some twenty bytes for each row: where it begins, and what it is ordered by.
"""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from agent_forge.errors import InputError
from agent_forge.records import ResultRow, parse_record


class RowFiles:
    """Rows of some files, ordered by round, arm and question once they have been read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._files = array("i")
        self._begins = array("q")
        self._rounds = array("q")
        self._arms = array("i")
        self._questions = array("i")
        self._arm_numbers: dict[str, int] = {}
        self._question_numbers: dict[str, int] = {}

    def read(self) -> Iterator[ResultRow]:
        """Yield every row, as the files hold them, and remember where it is.

        Raises:
            InputError: naming file and line, for one that cannot be read.
        """
        for number, path in enumerate(self._paths):
            begin = 0
            try:
                with path.open("rb") as lines:
                    for place, line in enumerate(lines, start=1):
                        if line.strip():
                            row = parse_record(ResultRow, line.decode(), f"{path}:{place}", InputError)
                            self._remember(number, begin, row)
                            yield row
                        begin += len(line)
            except (OSError, UnicodeDecodeError) as cause:
                raise InputError(f"cannot read {path}: {cause}; JSON lines of ResultRow are expected there") from cause

    def sorted_lines(self) -> Iterator[str]:
        """Yield the rows that were read as JSON, each ended by a newline, by round, arm and question."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._paths]
            for k in self._order():
                stream = files[self._files[k]]
                stream.seek(self._begins[k])
                yield stream.readline().decode().strip() + "\n"

    def _remember(self, file: int, begin: int, row: ResultRow) -> None:
        self._files.append(file)
        self._begins.append(begin)
        self._rounds.append(row.round)
        self._arms.append(self._arm_numbers.setdefault(row.arm, len(self._arm_numbers)))
        self._questions.append(self._question_numbers.setdefault(row.question_id, len(self._question_numbers)))

    def _order(self) -> list[int]:
        arms_N = _ranks(self._arm_numbers)[np.array(self._arms, np.int32)]
        questions_N = _ranks(self._question_numbers)[np.array(self._questions, np.int32)]
        order: list[int] = np.lexsort((questions_N, arms_N, np.array(self._rounds, np.int64))).tolist()
        return order


def _ranks(numbers: dict[str, int]) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    """Return the place of every name, by its number, among all names in order."""
    ranks_N = np.empty(len(numbers), np.int32)
    for place, name in enumerate(sorted(numbers)):
        ranks_N[numbers[name]] = place
    return ranks_N
