"""Result rows in several files, read one at a time and written down again as one set in another order.

    with sorted_rows(paths, scratch) as rows:
        judge(rows.read(), ...)
        write_parts_atomic(path, rows.sorted_lines())

What has been read is sorted a stretch at a time and set aside in scratch, so memory holds one stretch however many rows
there are. `RowsOnDisk` is for those who read the same rows again and again, in the order of the files.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_forge.records import Arm, ResultRow, parse_lines, read_rows, reading_rows
from agent_forge.storage.files import writing_to

# Bytes of rows that are sorted in memory; as many stretches are merged as there are times this much.
STRETCH_BYTES = 4 << 20
# What a stretch is read by while all are merged.
_BUFFER = 1 << 14
# Stretches merged at once: each is an open file.
_MOST_OPEN = 256


@dataclass(frozen=True)
class RowsOnDisk(Iterable[ResultRow]):
    """Rows of some files, one after the other; read anew whenever they are asked for.

    Attributes:
        paths: files of JSON lines.
        arms: of which arms; None for all.
    """

    paths: tuple[Path, ...]
    arms: tuple[Arm, ...] | None = None

    def __iter__(self) -> Iterator[ResultRow]:
        """Yield every row; raises InputError, naming file and line, for one that cannot be read."""
        rows = (row for path in self.paths for row in read_rows(ResultRow, path))
        return rows if self.arms is None else (row for row in rows if row.arm in self.arms)


class SortedRows:
    """Rows of some files, ordered by round, arm and question once they have been read."""

    def __init__(self, paths: Sequence[Path], place: Path, stretch: int = STRETCH_BYTES) -> None:
        self._paths, self._place, self._most = paths, place, stretch
        # Each line behind what it is ordered by, which has no tab in it.
        self._held: list[bytes] = []
        self._size = 0
        self._runs: list[Path] = []
        self._made = 0

    def read(self) -> Iterator[ResultRow]:
        """Yield every row, as the files hold them.

        Raises:
            InputError: naming file and line, for one that cannot be read.
            OutputError: when there is no room for what is set aside.
        """
        for path in self._paths:
            with reading_rows(ResultRow, path), path.open("rb") as lines:
                for _, text, row in parse_lines(ResultRow, lines, path):
                    self._hold(row, text)
                    yield row

    def sorted_lines(self) -> Iterator[str]:
        """Yield the rows that were read as JSON, each ended by a newline, by round, arm and question."""
        while len(self._runs) > _MOST_OPEN:
            several, self._runs = self._runs[:_MOST_OPEN], self._runs[_MOST_OPEN:]
            with ExitStack() as stack:
                self._set_aside(_merged(stack, several))
            for run in several:
                run.unlink()
        with ExitStack() as stack:
            for line in heapq.merge(_merged(stack, self._runs), sorted(self._held)):
                yield line.partition(b"\t")[2].decode()

    def _hold(self, row: ResultRow, text: str) -> None:
        # UTF-8 is ordered as its characters are, and so are the hexadecimal digits of its bytes.
        question = row.question_id.encode("utf-8", "surrogatepass").hex()
        line = f"{row.round:020d} {row.arm} {question}\t{text.strip()}\n".encode()
        self._held.append(line)
        self._size += len(line)
        if self._size >= self._most:
            self._set_aside(sorted(self._held))
            self._held, self._size = [], 0

    def _set_aside(self, lines: Iterable[bytes]) -> None:
        run = self._place / f"{self._made}"
        with writing_to(run), run.open("wb", buffering=_BUFFER) as stream:
            stream.writelines(lines)
        self._runs.append(run)
        self._made += 1


@contextmanager
def sorted_rows(paths: Sequence[Path], scratch: Path, stretch: int = STRETCH_BYTES) -> Iterator[SortedRows]:
    """Open rows to be read and then sorted.

    Args:
        paths: files of JSON lines.
        scratch: directory with room for as much as the files hold.
        stretch: bytes that are sorted in memory.
    """
    with tempfile.TemporaryDirectory(prefix="sorting-", dir=scratch) as place:
        yield SortedRows(paths, Path(place), stretch)


def _merged(stack: ExitStack, runs: Sequence[Path]) -> Iterator[bytes]:
    return heapq.merge(*(stack.enter_context(run.open("rb", buffering=_BUFFER)) for run in runs))
