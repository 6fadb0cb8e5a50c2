"""Writing a checkpoint one tensor at a time: what will be written is known before, so headers come first."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from agent_forge.evolution.tensors import raw_bytes
from agent_forge.models.checks import SAFETENSORS_DTYPES

_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}
_ALIGNMENT = 8


@dataclass(frozen=True)
class Slot:
    """A tensor that will be written."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return prod(self.shape) * self.dtype.itemsize


def write_shards(
    directory: Path, slots: Sequence[Slot], make: Callable[[Slot], torch.Tensor], shard_bytes: int
) -> None:
    """Write model.safetensors, or shards with model.safetensors.index.json, holding one tensor at a time.

    Args:
        directory: where; nothing else reads it before the caller gives it its final name.
        slots: what is written.
        make: returns a slot's tensor, of its dtype and shape; called once for each.
        shard_bytes: most bytes of tensors in a file, unless a single tensor has more.
    """
    shards = list(_divided(slots, shard_bytes))
    names = [_shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        _write(directory / name, shard, make)
    if len(shards) > 1:
        index = {slot.name: name for name, shard in zip(names, shards, strict=True) for slot in shard}
        _write_index(directory / "model.safetensors.index.json", index, sum(slot.size for slot in slots))


def _divided(slots: Sequence[Slot], shard_bytes: int) -> Iterator[list[Slot]]:
    shard: list[Slot] = []
    for slot in slots:
        if shard and sum(other.size for other in shard) + slot.size > shard_bytes:
            yield shard
            shard = []
        shard.append(slot)
    yield shard


def _shard_name(number: int, total: int) -> str:
    return f"model-{number:05d}-of-{total:05d}.safetensors" if total > 1 else "model.safetensors"


def _write(path: Path, slots: Sequence[Slot], make: Callable[[Slot], torch.Tensor]) -> None:
    # Wide types first, so that every tensor is aligned to its own width, as the library writes them.
    ordered = sorted(slots, key=lambda slot: (-slot.dtype.itemsize, slot.name))
    with path.open("wb") as stream:
        stream.write(_header(ordered))
        for slot in ordered:
            tensor = make(slot).contiguous()
            if (tensor.dtype, tuple(tensor.shape)) != (slot.dtype, slot.shape):
                raise ValueError(f"{slot.name} became {tensor.dtype} {tuple(tensor.shape)}, planned was {slot}")
            stream.write(raw_bytes(tensor))


def _header(slots: Sequence[Slot]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for slot in slots:
        start, end = end, end + slot.size
        entries[slot.name] = {"dtype": _NAMES[slot.dtype], "shape": list(slot.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _write_index(path: Path, index: Mapping[str, str], total: int) -> None:
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
