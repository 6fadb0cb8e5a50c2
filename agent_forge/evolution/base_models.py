"""The models that an evolution begins with: names become references, references become directories with digests."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent_forge.errors import ChampionError, ConfigError
from agent_forge.evolution.agreement import check_agreement
from agent_forge.evolution.layers import layer_count
from agent_forge.evolution.recipe import Parent, Recipe
from agent_forge.evolution.source import open_sources
from agent_forge.evolution.speaker import choose_speaker
from agent_forge.evolution_config import EvolutionConfig
from agent_forge.evolution_records import BaseModelRecord
from agent_forge.models.checks import inspect_checkpoint
from agent_forge.models.load import outline
from agent_forge.records import ParentRecord, SelectedQuestion
from agent_forge.stages.context import Progress
from agent_forge.storage.manifest import MANIFEST
from agent_forge.storage.origin import champion_digest, origin_of, selected_on
from agent_forge.storage.references import find
from agent_forge.storage.references.local import is_local


@dataclass(frozen=True)
class BaseModel:
    """A model to merge.

    Attributes:
        name: as the user gave it, without directories: what a published recipe calls it.
        uri: what other processes find it by.
        path: its local copy.
        digest: sha256 of its files.
        origin: the manifest it came with, if it did.
        selected_on: questions that it was itself chosen by.
    """

    name: str
    uri: str
    path: Path
    digest: str
    origin: ParentRecord | None
    selected_on: tuple[SelectedQuestion, ...] = ()

    @property
    def parent(self) -> Parent:
        """It, as recipes name it: by its digest."""
        return Parent(model=self.name, sha256=self.digest)

    @property
    def record(self) -> BaseModelRecord:
        """What is stated of it."""
        return BaseModelRecord(name=self.name, uri=self.uri, digest=self.digest, parent=self.origin)


@dataclass(frozen=True)
class BaseModels:
    """All models of an evolution.

    Attributes:
        parents: what is merged.
        base: what they were fine-tuned from.
        layers: how many each of them has; 0 where that does not matter.
        context_lengths: most tokens that each parent takes.
    """

    parents: tuple[BaseModel, ...]
    base: BaseModel | None
    layers: int = 0
    context_lengths: tuple[int | None, ...] = ()

    @property
    def records(self) -> tuple[BaseModelRecord, ...]:
        """What is stated of the parents."""
        return tuple(parent.record for parent in self.parents)

    @property
    def selected_on(self) -> tuple[SelectedQuestion, ...]:
        """The questions that any of them was chosen by, each once."""
        everyone = (*self.parents, *([self.base] if self.base else []))
        found = {question.id: question for model in everyone for question in model.selected_on}
        return tuple(found.values())

    def local(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the models' directories in place of their names.

        Their digests are left out: they were compared when the evolution began, and every merge would read all files
        once more.
        """
        by_digest = {model.digest: model for model in (*self.parents, *([self.base] if self.base else []))}

        def there(parent: Parent) -> Parent:
            return Parent(model=str(by_digest[parent.sha256 or ""].path))

        base = there(recipe.base) if recipe.base else None
        return recipe.model_copy(update={"parents": tuple(map(there, recipe.parents)), "base": base})


def find_base_models(config: EvolutionConfig, progress: Progress) -> BaseModels:
    """Find the models of an evolution, fetch those that are not on this machine, and see that they can be merged.

    Raises:
        ConfigError: for a name that stands for nothing, naming those that are known.
        ChampionError: when one is no whole model, or they cannot be merged.
    """
    references = config.model_references
    parents = tuple(_find(name, "base_models", references, progress) for name in config.base_models)
    digests = [parent.digest for parent in parents]
    if twice := next((n for n, digest in enumerate(digests) if digest in digests[:n]), None):
        first = parents[digests.index(digests[twice])]
        raise ConfigError(f"base models {first.name} and {parents[twice].name} are the same model; give each once")
    names = [parent.name for parent in parents]
    if same := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two base models are called {same}; give them names in model_references")
    base = _find(config.base, "base", references, progress) if config.base else None
    found = BaseModels(parents, base)
    layers = _check(found, config)
    return replace(found, layers=layers, context_lengths=tuple(outline(parent.path) for parent in parents))


def _check(models: BaseModels, config: EvolutionConfig) -> int:
    """Refuse models that cannot be merged, before any is; return how many layers they have."""
    recipe = Recipe(
        method="linear" if models.base is None else "task_arithmetic",
        parents=tuple(Parent(model=str(parent.path)) for parent in models.parents),
        base=Parent(model=str(models.base.path)) if models.base else None,
        speaker=config.speaker,
    )
    sources = open_sources(recipe)
    check_agreement(sources, recipe)
    choose_speaker(recipe, sources)
    if config.layer_groups == 1:
        return 0
    layers = layer_count(sources[0].label, sources[0].architecture, sources[0].places)
    if config.layer_groups > layers:
        raise ConfigError(f"layer_groups is {config.layer_groups} but the models have {layers} layers; lower it")
    return layers


def _find(name: str, field: str, references: Mapping[str, str], progress: Progress) -> BaseModel:
    reference = references.get(name, name)
    if name not in references and "://" not in name and "/" not in name and not Path(name).expanduser().exists():
        known = f"known names are {', '.join(sorted(references))}" if references else "model_references names none"
        raise ConfigError(
            f"{field}: {name} is no directory here and no known name ({known}); give a directory, hf://owner/name, "
            "s3://bucket/prefix, or add it to model_references"
        )
    path = find(reference).path(progress)
    if not path.is_dir():
        raise ChampionError(f"{field}: {reference} is not a directory of safetensors, which is what can be merged")
    # First, since reading all files of what is no model may take long.
    inspect_checkpoint(path)
    digest = champion_digest(path)
    origin = origin_of(reference, path, digest)
    shown = name if name in references else _bare(reference)
    manifest = path / MANIFEST
    chosen_by = selected_on(manifest.read_bytes(), str(manifest)) if origin.parent else ()
    return BaseModel(shown, origin.uri, path, digest, origin.parent, chosen_by)


def _bare(reference: str) -> str:
    """Return a name that says nothing of the machine."""
    if reference.startswith("file://") or ("://" not in reference and is_local(reference)):
        return Path(reference.removeprefix("file://")).expanduser().resolve().name
    return reference
