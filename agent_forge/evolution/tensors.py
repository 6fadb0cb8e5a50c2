"""Tensors of a checkpoint, read one at a time.

A safetensors file is eight bytes of header length, a JSON header, then the tensors' bytes
(https://github.com/huggingface/safetensors#format). They are read, not mapped: the pages of a mapped file count as the
process's memory, and would in the end be as large as the models.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from agent_forge.errors import ChampionError
from agent_forge.models.checks import SAFETENSORS_DTYPES

_CHUNK = 1 << 26


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes are, and what they mean."""

    file: Path
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return prod(self.shape) * self.dtype.itemsize


def places(file: Path) -> dict[str, Place]:
    """Return where a safetensors file, which was checked before, has its tensors."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(length))
    return {
        name: Place(
            file, 8 + length + entry["data_offsets"][0], SAFETENSORS_DTYPES[entry["dtype"]], tuple(entry["shape"])
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def read_tensor(place: Place) -> torch.Tensor:
    """Return a tensor as it is stored.

    Raises:
        ChampionError: when the file has become shorter than its header says.
    """
    tensor = torch.empty(place.shape, dtype=place.dtype)
    with _reading(place.file) as handle:
        _fill(handle, raw_bytes(tensor), place)
    return tensor


def read_rows(place: Place, rows: list[int]) -> torch.Tensor:
    """Return some rows of a tensor, in the order asked for, without reading the others."""
    row = Place(place.file, place.offset, place.dtype, place.shape[1:])
    found = [read_tensor(Place(row.file, row.offset + index * row.size, row.dtype, row.shape)) for index in rows]
    return torch.stack(found) if found else torch.empty((0, *row.shape), dtype=row.dtype)


def same_bytes(first: Place, second: Place) -> bool:
    """Return whether two tensors are stored as the same bytes, reading a piece of each at a time."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    with _reading(first.file) as one, _reading(second.file) as other:
        for start in range(0, first.size, _CHUNK):
            length = min(_CHUNK, first.size - start)
            if os.pread(one, length, first.offset + start) != os.pread(other, length, second.offset + start):
                return False
    return True


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous tensor, writable."""
    array: Any = tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else bytearray()
    return memoryview(array)


def _fill(handle: int, view: memoryview, place: Place) -> None:
    done = 0
    while done < len(view):
        # One call reads 2 GiB at most.
        count = os.preadv(handle, [view[done : done + _CHUNK]], place.offset + done)
        if count == 0:
            raise ChampionError(f"{place.file} ended while it was read; copy or download it again")
        done += count


@contextmanager
def _reading(file: Path) -> Iterator[int]:
    handle = os.open(file, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)
