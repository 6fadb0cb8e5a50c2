"""The story of an evolution and its bake: what was measured before, and the total, measured on the same questions."""

import json
from pathlib import Path

import pytest
from report.test_story_page import CANDIDATE, EVOLUTION

from agent_forge.demo import champion_path
from agent_forge.errors import ChampionError
from agent_forge.evolution_records import BaseModelRecord, ChampionManifest
from agent_forge.records import CodeRecord, VerificationReport, read_record
from agent_forge.storage.files import path_digest
from agent_forge.story import write_story
from agent_forge.story_records import Story


@pytest.fixture
def evolved(undisturbed, tmp_path) -> Path:
    """An evolution whose only base model is the champion of the bake in it."""
    (tmp_path / "bake").symlink_to(undisturbed.finished)
    base = BaseModelRecord(name="postfix", uri="bundled://champion", digest=path_digest(champion_path()))
    write_manifest(tmp_path, base)
    (tmp_path / "evolution.json").write_text(EVOLUTION.model_dump_json())
    return tmp_path


def write_manifest(directory: Path, base: BaseModelRecord) -> None:
    manifest = ChampionManifest(
        evolution_id="0" * 64,
        recipe={},
        recipe_sha256=CANDIDATE.recipe_sha256,
        base_models=(base,),
        base=None,
        generation=1,
        generations=1,
        config={},
        question_digests={},
        selected_on=(),
        selected={},
        gain=None,
        code=CodeRecord(version="1", commit=None, dirty=False, source_sha256="0" * 64),
        files=(),
    )
    (directory / "best_model").mkdir(exist_ok=True)
    (directory / "best_model/manifest.json").write_text(manifest.model_dump_json())


def test_the_total_over_the_champion_itself_is_what_verification_found(evolved):
    write_story(evolved)
    story = read_record(Story, evolved / "story.json")
    verification = read_record(VerificationReport, evolved / "bake/stages/verify/verification.json")
    assert story.verification == verification and story.total is not None
    found = story.total.directly
    assert (found.base_model_accuracy, found.champion_accuracy) == (
        verification.champion_accuracy,
        verification.baked_accuracy,
    )
    assert (found.difference, found.confidence_interval) == (verification.difference, verification.confidence_interval)
    assert story.total.told_to_think.base_model_accuracy == verification.thought_accuracy
    first = [(evolved / f"story.{kind}").read_bytes() for kind in ("json", "md", "html")]
    write_story(evolved)
    assert first == [(evolved / f"story.{kind}").read_bytes() for kind in ("json", "md", "html")]


def test_a_base_model_that_was_changed_since_is_refused(evolved):
    write_manifest(evolved, BaseModelRecord(name="postfix", uri="bundled://champion", digest="0" * 64))
    with pytest.raises(ChampionError, match="base model postfix, for the total"):
        write_story(evolved)


def test_a_story_without_its_bake_is_refused(refusal, tmp_path):
    assert "evolution.json does not exist; run `forge evo" in refusal("story", str(tmp_path))
    (tmp_path / "evolution.json").write_text(json.dumps({}))
    assert "results.json does not exist" in refusal("story", str(tmp_path))
