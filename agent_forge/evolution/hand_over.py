"""Handing a champion over: its files, the manifest that makes it real, and its place at a publication root.

A champion is known by the digest of its files, manifest included: what `champions/<digest>/` is called, and what a bake
of it states. Nothing in it tells a time or a place, so whoever makes the same champion again makes the same digest.
"""

import shutil
from pathlib import Path

from agent_forge.errors import ForgeError
from agent_forge.evolution.evolve import Evolved, Prepared
from agent_forge.evolution.merge import MERGE_FILE, MergeRecord
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution.scoring import Scorer
from agent_forge.evolution_config import BEST_MODEL
from agent_forge.evolution_records import ChampionManifest
from agent_forge.records import read_record
from agent_forge.report.redact import masked
from agent_forge.storage.artifact import check_evolved
from agent_forge.storage.beside import put_beside
from agent_forge.storage.code import code_record
from agent_forge.storage.files import move_into_place, write_atomic, writing_to
from agent_forge.storage.manifest import MANIFEST, manifest_text, sealed
from agent_forge.storage.minisign import SIGNATURE, read_secret_key, sign
from agent_forge.storage.origin import champion_digest
from agent_forge.storage.publication import publication
from agent_forge.storage.publish import model_files


def hand_over(prepared: Prepared, evolved: Evolved, scorer: Scorer) -> Path:
    """Return the directory of the champion: a whole model with its manifest, made unless it is there already."""
    place = scorer.directory / BEST_MODEL
    if not _is_there(place, prepared, evolved):
        _make(place, prepared, evolved, scorer)
    if (signature := _signature(prepared, place)) is not None:
        write_atomic(place / SIGNATURE, signature)
    return place


def _make(place: Path, prepared: Prepared, evolved: Evolved, scorer: Scorer) -> None:
    recipe = Recipe.model_validate(evolved.winner.recipe)
    with writing_to(place):
        made = scorer.make(recipe)
        ready = place.with_name(f".{BEST_MODEL}.preparing")
        shutil.rmtree(ready, ignore_errors=True)
        made.rename(ready)
        # Places on this machine are nobody's business, and would give the same champion other digests elsewhere.
        record = read_record(MergeRecord, ready / MERGE_FILE)
        told = record.model_copy(update={"recipe": recipe, "recipe_sha256": recipe.digest})
        write_atomic(ready / MERGE_FILE, told.model_dump_json(indent=2) + "\n")
        write_atomic(ready / MANIFEST, manifest_text(build_manifest(prepared, evolved, ready)))
        move_into_place(ready, place)


def publish(prepared: Prepared, model: Path, scorer: Scorer) -> str | None:
    """Publish a champion where the settings say; return where its manifest is, None where they name no place."""
    root = prepared.settings.bake.publish_to
    if root is None:
        return None
    there = publication(root)
    assert there is not None, "a place to publish to is a directory or a bucket"
    published = there.publish_champion(model, check_evolved(model), champion_digest(model), scorer.progress)
    if (signature := _signature(prepared, model)) is not None:
        put_beside(published, SIGNATURE, signature)
    return published


def build_manifest(prepared: Prepared, evolved: Evolved, model: Path) -> ChampionManifest:
    """Gather what is known of a champion; whatever looks like a credential is masked.

    Args:
        prepared: the evolution.
        evolved: what it found.
        model: directory of the champion's files.
    """
    winner, models = evolved.winner, prepared.models
    compared = (winner, *evolved.base_models)
    manifest = ChampionManifest(
        evolution_id=prepared.evolution_id,
        recipe=winner.recipe,
        recipe_sha256=winner.recipe_sha256,
        base_models=models.records,
        base=models.base.record if models.base else None,
        generation=winner.generation,
        generations=prepared.settings.evolution.gens,
        config=prepared.settings.values(),
        question_digests={split: found.sha256 for split, found in prepared.question_sets.items()},
        selected_on=prepared.asked.selected_on,
        selected={one.name: one.select.score for one in compared if one.select and one.select.score is not None},
        gain=evolved.gain,
        code=code_record(),
        files=model_files(model),
    )
    return sealed(ChampionManifest.model_validate(masked(manifest.model_dump(mode="json"))))


def _signature(prepared: Prepared, model: Path) -> str | None:
    """Return the signature of a champion's manifest, the same each time; None where no key is configured.

    Whoever publishes under its digest has published this manifest, so nobody else's is ever signed.
    """
    file = prepared.settings.bake.signing_key_file
    if file is None:
        return None
    comment = f"agent_forge manifest of evolution {prepared.evolution_id}"
    return sign((model / MANIFEST).read_bytes(), read_secret_key(Path(file)), comment)


def _is_there(place: Path, prepared: Prepared, evolved: Evolved) -> bool:
    """Whether the very champion is there, whole."""
    if not (place / MANIFEST).is_file():
        return False
    try:
        return check_evolved(place) == build_manifest(prepared, evolved, place)
    except ForgeError:
        return False
