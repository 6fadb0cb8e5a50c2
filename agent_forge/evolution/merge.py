"""Merging models by a recipe, one tensor at a time.

    merge(load_recipe(Path("recipe.yaml")), Path("merged"))

Everything that can be known without weights is checked first. Then every tensor of the merged model is made from its
namesakes in float32 and written at once: memory holds the parents' copies of one tensor, not the models.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from agent_forge import __version__
from agent_forge.errors import ChampionError, ConfigError, OutputError
from agent_forge.evolution.agreement import check_agreement
from agent_forge.evolution.layers import before_layers, has_vocabulary_rows, layer_count, layer_of, moved
from agent_forge.evolution.methods.dare import dare, drop_mask
from agent_forge.evolution.methods.linear import linear
from agent_forge.evolution.methods.slerp import slerp
from agent_forge.evolution.methods.task_arithmetic import task_arithmetic
from agent_forge.evolution.methods.ties import ties
from agent_forge.evolution.recipe import Recipe, Slice, Values
from agent_forge.evolution.shards import Slot, write_shards
from agent_forge.evolution.source import Source, open_sources
from agent_forge.evolution.speaker import choose_speaker, write_voice
from agent_forge.evolution.tensors import read_tensor, same_bytes
from agent_forge.evolution.vocabulary import Vocabulary, common_vocabulary
from agent_forge.records import Record
from agent_forge.storage.files import move_into_place, write_atomic, writing_to
from agent_forge.storage.moving import Watcher

MERGE_FILE = "merge.json"
SHARD_BYTES = 5_000_000_000


class MergeRecord(Record):
    """What a merged model was made of; stands beside it as merge.json.

    Attributes:
        schema_version: of this record.
        recipe: that it was made by.
        recipe_sha256: the recipe's digest.
        speaker: number of the parent, or `base`, whose tokenizer and configuration it has.
        added_tokens: tokens that its tokenizer has beside the speaker's.
        code_version: of this package.
    """

    schema_version: Literal[1] = 1
    recipe: Recipe
    recipe_sha256: str
    speaker: int | Literal["base"]
    added_tokens: tuple[str, ...] = ()
    code_version: str = __version__


def merge(recipe: Recipe, out: Path, shard_bytes: int = SHARD_BYTES, watcher: Watcher | None = None) -> MergeRecord:
    """Merge models into a new directory.

    Args:
        recipe: what and how.
        out: where the merged model comes to be, whole or not at all; must not exist, or be empty.
        shard_bytes: most bytes in a file of weights.
        watcher: is told how much of models has come that lie elsewhere.

    Raises:
        ChampionError: when models cannot be found, read or merged, or the result is not finite.
        ConfigError: when the recipe does not fit the models.
        OutputError: when the place is taken or cannot be written to.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already; choose another directory or remove it")
    plan = _plan(recipe, watcher)
    record = plan.record()
    prepared = out.with_name(f".{out.name}.preparing")
    with writing_to(out):
        shutil.rmtree(prepared, ignore_errors=True)
        try:
            prepared.mkdir(parents=True)
            write_shards(prepared, plan.slots, plan.make, shard_bytes)
            write_voice(plan.sources[plan.speaker], prepared, plan.vocabulary, plan.dtype_name, plan.stacked)
            write_atomic(prepared / MERGE_FILE, record.model_dump_json(indent=2) + "\n")
            move_into_place(prepared, out)
        finally:
            shutil.rmtree(prepared, ignore_errors=True)
    return record


def _plan(recipe: Recipe, watcher: Watcher | None) -> "Plan":
    sources = open_sources(recipe, watcher)
    check_agreement(sources, recipe)
    speaker = choose_speaker(recipe, sources)
    base = len(recipe.parents) if recipe.base else None
    plan = Plan(recipe, sources, speaker, common_vocabulary(sources, speaker, base))
    plan.check_layers()
    return plan


@dataclass(frozen=True)
class Plan:
    """A merge that has been checked.

    Attributes:
        recipe: that it follows.
        sources: the parents, then the base if there is one.
        speaker: number of the one whose tokenizer and configuration are used.
        vocabulary: of the merged model.
    """

    recipe: Recipe
    sources: tuple[Source, ...]
    speaker: int
    vocabulary: Vocabulary

    @cached_property
    def reference(self) -> Source:
        """The model whose tensors' dtypes the merged ones have."""
        return self.sources[-1] if self.recipe.base else self.sources[0]

    @cached_property
    def origins(self) -> dict[str, tuple[int, str]]:
        """By merged tensor: its name in the models and, for stack, the number of the model that it is taken from."""
        if self.recipe.method != "stack":
            return {name: (0, name) for name in self.sources[0].places}
        first, last = self.recipe.slices[0].parent, self.recipe.slices[-1].parent
        outside = [name for name in self.sources[0].places if layer_of(name) is None]
        found = {name: (first if before_layers(name) else last, name) for name in outside}
        for layer, (parent, taken) in enumerate(_stacked_layers(self.recipe.slices)):
            names = [name for name in self.sources[parent].places if layer_of(name) == taken]
            found |= {moved(name, layer): (parent, name) for name in names}
        return found

    @cached_property
    def stacked(self) -> list[tuple[Source, int]]:
        """For stack, which layer of which model every layer is."""
        return [(self.sources[parent], layer) for parent, layer in _stacked_layers(self.recipe.slices)]

    @cached_property
    def slots(self) -> list[Slot]:
        """What will be written: names, dtypes and shapes."""
        return [self._slot(name, *origin) for name, origin in sorted(self.origins.items(), key=_in_order)]

    @cached_property
    def dtype_name(self) -> str:
        """What most of the merged weights are stored in."""
        sizes: Counter[torch.dtype] = Counter()
        for slot in self.slots:
            sizes[slot.dtype] += slot.size if slot.dtype.is_floating_point else 0
        return str(sizes.most_common(1)[0][0]).removeprefix("torch.")

    def record(self) -> MergeRecord:
        """Return what will stand beside the merged model."""
        named = tuple(source.named for source in self.sources)
        count = len(self.recipe.parents)
        recipe = self.recipe.model_copy(
            update={"parents": named[:count], "base": named[count] if self.recipe.base else None}
        )
        return MergeRecord(
            recipe=recipe,
            recipe_sha256=recipe.digest,
            speaker="base" if self.speaker == len(self.recipe.parents) else self.speaker,
            added_tokens=tuple(entry["content"] for entry in self.vocabulary.added),
        )

    def check_layers(self) -> None:
        """Refuse slices of layers that are not there, and groups that no tensor belongs to.

        Raises:
            ConfigError: naming the slice or group.
        """
        for number, piece in enumerate(self.recipe.slices):
            source = self.sources[piece.parent]
            if piece.layers[1] > (count := layer_count(source.label, source.architecture, source.places)):
                raise ConfigError(f"slice {number} ends at layer {piece.layers[1]}; {source.label} has {count}")
        if any(group.layers for group in self.recipe.groups):
            layer_count(self.reference.label, self.reference.architecture, self.reference.places)
        used = {self.recipe.group_of(name, layer_of(name)) for name in self.reference.places}
        for number in range(len(self.recipe.groups)):
            if number not in used:
                raise ConfigError(
                    f"no tensor belongs to group {number}; correct its layers or containing, or remove it"
                )

    def make(self, slot: Slot) -> torch.Tensor:
        """Return a merged tensor.

        Raises:
            ChampionError: when it is not finite, or a tensor that is no weight differs between models.
        """
        number, name = self.origins[slot.name]
        if self.recipe.method == "stack":
            merged = self._read(number, name)
        elif not slot.dtype.is_floating_point:
            merged = self._common(name)
        else:
            merged = self._merged(name, self.recipe.values_for(name, layer_of(name)))
        stored = merged.to(slot.dtype)
        if slot.dtype.is_floating_point and stored.numel() and not _finite(stored):
            raise ChampionError(
                f"merged tensor {slot.name} holds NaN or infinity as {str(slot.dtype).removeprefix('torch.')}; a "
                "parent is damaged, or weights or scale are too large, or the recipe's dtype is too narrow"
            )
        return stored

    def _slot(self, name: str, number: int, origin: str) -> Slot:
        place = self.sources[number].places[origin]
        dtype = place.dtype if self.recipe.method == "stack" else self.reference.places[origin].dtype
        if self.recipe.dtype and dtype.is_floating_point:
            dtype = getattr(torch, self.recipe.dtype)
        rows = (self.vocabulary.rows, *place.shape[1:]) if has_vocabulary_rows(name) else place.shape
        return Slot(name, dtype, rows)

    def _read(self, number: int, name: str) -> torch.Tensor:
        if has_vocabulary_rows(name):
            return self.vocabulary.read(self.sources, number, name)
        return read_tensor(self.sources[number].places[name])

    def _common(self, name: str) -> torch.Tensor:
        first, *others = (source.places[name] for source in self.sources)
        for source, place in zip(self.sources[1:], others, strict=True):
            if not same_bytes(first, place):
                raise ChampionError(f"cannot merge: {name} is no weight and differs in {source.label}")
        return read_tensor(first)

    def _merged(self, name: str, values: Values) -> torch.Tensor:
        wide = any(source.places[name].dtype == torch.float64 for source in self.sources)
        dtype = torch.float64 if wide else torch.float32
        recipe, count = self.recipe, len(self.recipe.parents)
        parents: Iterator[torch.Tensor] = (self._read(number, name).to(dtype) for number in range(count))
        if recipe.method == "linear":
            return linear(parents, values.weights, recipe.normalized)
        if recipe.method == "slerp":
            return slerp(next(parents), next(parents), values.t)
        base = self._read(count, name).to(dtype)
        if recipe.method == "task_arithmetic":
            return task_arithmetic(base, parents, values.weights, recipe.scale, recipe.normalized)
        if recipe.method == "ties":
            return ties(base, parents, values.weights, values.densities, recipe.scale, recipe.normalized)
        masks = (
            drop_mask(base.shape, density, recipe.seed, name, number) for number, density in enumerate(values.densities)
        )
        return dare(
            *(base, parents, masks, values.weights, values.densities),
            rescale=recipe.rescale,
            scale=recipe.scale,
            normalize=recipe.normalized,
            elect=recipe.method == "dare_ties",
        )


def _stacked_layers(slices: tuple[Slice, ...]) -> list[tuple[int, int]]:
    return [(piece.parent, layer) for piece in slices for layer in range(*piece.layers)]


def _in_order(item: tuple[str, tuple[int, str]]) -> tuple[int, str]:
    layer = layer_of(item[0])
    return (-1 if layer is None else layer), item[0]


def _finite(tensor: torch.Tensor) -> bool:
    # The extremes carry NaN and infinity without a mask as large as the tensor.
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor))
