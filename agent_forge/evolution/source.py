"""A model that goes into a merge: its files checked, its tensors known by place, nothing read yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agent_forge.errors import ChampionError
from agent_forge.evolution.layers import has_vocabulary_rows, is_head
from agent_forge.evolution.recipe import Parent, Recipe
from agent_forge.evolution.tensors import Place, places, same_bytes
from agent_forge.models.checks import inspect_checkpoint, read_json
from agent_forge.storage.moving import Watcher
from agent_forge.storage.origin import champion_digest
from agent_forge.storage.references import find


@dataclass(frozen=True)
class Source:
    """One model of a recipe.

    Attributes:
        label: how errors call it.
        path: its directory.
        named: it, as the merged model's record names it: a reference with what pins it.
        config: its config.json.
        architecture: its configuration with the defaults of its kind filled in.
        places: where its tensors are; a copy of tied embeddings is left out.
        dtype: what most of them are stored in.
    """

    label: str
    path: Path
    named: Parent
    config: Mapping[str, Any]
    architecture: Mapping[str, Any]
    places: Mapping[str, Place]
    dtype: torch.dtype

    @property
    def rows(self) -> int:
        """How many tokens its embeddings have rows for."""
        found = {name: place.shape[0] for name, place in self.places.items() if has_vocabulary_rows(name)}
        if not found:
            raise ChampionError(f"{self.label} has no token embedding under a name that is known here")
        if len(set(found.values())) > 1:
            raise ChampionError(f"{self.label} has embeddings of unequal numbers of rows: {found}; use a whole model")
        return next(iter(found.values()))


def open_sources(recipe: Recipe, watcher: Watcher | None = None) -> tuple[Source, ...]:
    """Return the parents of a recipe in order, then its base if it has one.

    Args:
        recipe: names them, by directories or by references, see `storage.references`.
        watcher: is told how much of a model has come.

    Raises:
        ChampionError: when one is not a whole safetensors model, or not the one that its digest names.
    """
    parents = [
        _open(f"parent {number} ({parent.model})", parent, watcher) for number, parent in enumerate(recipe.parents)
    ]
    return (*parents, _open(f"the base ({recipe.base.model})", recipe.base, watcher)) if recipe.base else tuple(parents)


def _open(label: str, parent: Parent, watcher: Watcher | None) -> Source:
    path, named = _here(parent, watcher)
    if not path.is_dir():
        raise ChampionError(f"{label} is not a directory; a model directory with safetensors is expected")
    checkpoint = inspect_checkpoint(path)
    if checkpoint.format != "safetensors":
        raise ChampionError(f"{label} is stored as {checkpoint.format}; only safetensors are merged, convert it first")
    if parent.sha256 and (found := champion_digest(path)) != parent.sha256:
        raise ChampionError(f"{label} has digest {found}, the recipe names {parent.sha256}; give the model it names")
    found_places = {name: place for file in checkpoint.files for name, place in places(file).items()}
    architecture = _architecture(label, path)
    if architecture.get("tie_word_embeddings"):
        found_places = _without_tied_copy(label, found_places)
    return Source(label, path, named, read_json(path / "config.json"), architecture, found_places, checkpoint.dtype)


def _here(parent: Parent, watcher: Watcher | None) -> tuple[Path, Parent]:
    """Return where a parent is on this machine, fetched if need be, and what pins it."""
    if not parent.elsewhere:
        return Path(parent.model).expanduser(), parent
    reference = find(parent.model)
    path = reference.path(watcher)
    if not path.is_dir():
        return path, parent
    return path, Parent(model=reference.uri(path), sha256=parent.sha256 or champion_digest(path))


def _architecture(label: str, path: Path) -> dict[str, Any]:
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except Exception as cause:
        summary = " ".join(str(cause).split())
        raise ChampionError(f"{label}: its config.json cannot be read ({summary}); use an unmodified copy") from cause
    filled: dict[str, Any] = config.to_dict()
    return filled


def _without_tied_copy(label: str, found: dict[str, Place]) -> dict[str, Place]:
    embedding = next((place for name, place in found.items() if has_vocabulary_rows(name) and not is_head(name)), None)
    for name in [name for name in found if is_head(name)]:
        if embedding is None or not same_bytes(found[name], embedding):
            raise ChampionError(
                f"{label} says tie_word_embeddings but its {name} differs from the input embedding; "
                "correct its config.json or its weights"
            )
        del found[name]
    return found
