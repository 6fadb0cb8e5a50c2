"""Small published models, made as push-artifact makes them: a card, a sealed manifest, in a directory."""

import hashlib
from pathlib import Path

from report.sample_run import published

from agent_forge.evolution_records import BaseModelRecord, ChampionManifest
from agent_forge.records import Manifest, ParentRecord, SelectedQuestion
from agent_forge.report.model_card import CARD, model_card
from agent_forge.storage.files import list_files, path_digest
from agent_forge.storage.manifest import MANIFEST, bake_id_of, manifest_text, sealed

SAMPLE = published().manifest
assert SAMPLE is not None


def publish_small(directory: Path, champion: Path | None = None, **changes: object) -> Manifest:
    """Publish a model of a few bytes; `champion` is the published model that it was baked from."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(bytes(range(40)))
    manifest = SAMPLE.model_copy(update={"files": (), **changes})
    if champion is not None:
        manifest = descended(manifest, champion)
    (directory / CARD).write_text(model_card(manifest))
    manifest = sealed(manifest.model_copy(update={"files": list_files(directory)}))
    (directory / MANIFEST).write_text(manifest_text(manifest))
    return manifest


def evolve_small(directory: Path) -> ChampionManifest:
    """Make an evolved champion of a few bytes, as an evolution hands one over."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(bytes(range(40)))
    manifest = ChampionManifest(
        evolution_id="e" * 64,
        recipe={"method": "linear"},
        recipe_sha256="r" * 64,
        base_models=(BaseModelRecord(name="math", uri="hf://x/math", digest="d" * 64),),
        base=None,
        generation=3,
        generations=5,
        config={},
        question_digests={},
        selected_on=(SelectedQuestion(id="q", split="evolve", text="What is 1 + 1?"),),
        selected={},
        gain=None,
        code=SAMPLE.code,
        files=list_files(directory),
    )
    (directory / MANIFEST).write_text(manifest_text(sealed(manifest)))
    return sealed(manifest)


def descended(manifest: Manifest, champion: Path) -> Manifest:
    digest = path_digest(champion)
    bake_id = bake_id_of(digest, manifest.config, manifest.question_digests, manifest.code.source_sha256)
    parent = ParentRecord(uri=champion.as_uri(), manifest_sha256=sha256(champion / MANIFEST), bake_id="0" * 64)
    about = {"digest": digest, "uri": champion.as_uri(), "bake_id": bake_id, "parent": parent}
    return manifest.model_copy(update={"bake_id": bake_id, "champion": manifest.champion.model_copy(update=about)})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
