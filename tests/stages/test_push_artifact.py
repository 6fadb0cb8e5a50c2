"""push-artifact, given what a real run made: the card, the sealed manifest, the signature."""

import json

import pytest

from agent_forge import cli
from agent_forge.config import build_config
from agent_forge.errors import CheckFailed, ConfigError
from agent_forge.records import ChampionRecord, ParentRecord, RunRecord, read_record
from agent_forge.stages.context import StageContext
from agent_forge.stages.push_artifact import push_artifact
from agent_forge.stages.resolve_champion import check_places
from agent_forge.storage.artifact import check_artifact, verify_artifact
from agent_forge.storage.manifest import MANIFEST
from agent_forge.storage.minisign import SIGNATURE, generate, read_public_key, write_pair

INPUTS = {
    "extension": "load-and-extend/extension.json",
    "champion": "resolve-champion/champion.json",
    "questions": "prepare-questions/questions",
    "gate": "significance-gate/gate.json",
    "trace_set": "bake/trace_set",
    "baked": "bake/baked",
    "bake_report": "bake/bake.json",
    "verification": "verify/verification.json",
}


@pytest.fixture
def push(undisturbed, tmp_path):
    """Push what the run made to a place of one's own; changes are fields of the configuration."""
    run = read_record(RunRecord, undisturbed.finished / "run.json")
    stages = undisturbed.finished / "stages"

    def run_stage(champion=None, **changes):
        inputs = {name: (stages / place,) for name, place in INPUTS.items()}
        if champion is not None:
            (tmp_path / "champion.json").write_text(champion.model_dump_json())
            inputs["champion"] = (tmp_path / "champion.json",)
        context = StageContext(
            config=build_config({**run.config, "output_path": str(tmp_path / "root"), **changes}),
            inputs=inputs,
            parameters={},
            outputs={"manifest": tmp_path / "manifest.json"},
            scratch=tmp_path / "scratch",
        )
        push_artifact(context)
        (place,) = (tmp_path / "root" / "baked").glob("[0-9a-f]*")
        return place, context.warnings

    return run_stage


def test_what_is_published_is_whole_and_described(push, tmp_path):
    place, _ = push()
    manifest = verify_artifact(place)
    assert manifest.content_sha256 and (tmp_path / "manifest.json").read_bytes() == (place / MANIFEST).read_bytes()
    assert "README.md" in {file.path for file in manifest.files} and not [p for p in place.rglob("*") if p.is_symlink()]
    card = (place / "README.md").read_text()
    # The bundled champion's own card says so.
    assert "license: apache-2.0" in card and manifest.champion.card.license == "apache-2.0"
    assert f"{manifest.verification.baked_accuracy:.1%}" in card


def test_a_signed_model_is_signed_once(push, tmp_path):
    public = write_pair(generate(), tmp_path / "key")
    place, _ = push(signing_key_file=str(tmp_path / "key"))
    first = (place / SIGNATURE).read_bytes()
    assert check_artifact(place, read_public_key(public)).signer
    (place / SIGNATURE).unlink()
    with pytest.raises(CheckFailed, match="is not signed"):
        check_artifact(place, read_public_key(public))
    # A publisher that was killed between manifest and signature is made up for by the next one.
    _, warnings = push(signing_key_file=str(tmp_path / "key"))
    assert (place / SIGNATURE).read_bytes() == first and not warnings
    secret = (tmp_path / "key").read_text().split("\n")[1]
    assert not [path for path in place.iterdir() if secret in path.read_text(errors="replace")]


def test_what_another_run_published_is_not_signed(push, tmp_path):
    place, _ = push()
    write_pair(generate(), tmp_path / "key")
    parent = ParentRecord(uri="file:///elsewhere", manifest_sha256="0" * 64)
    other = verify_artifact(place).champion.model_copy(update={"parent": parent})
    _, warnings = push(champion=other, signing_key_file=str(tmp_path / "key"))
    assert not (place / SIGNATURE).exists() and "not signed" in warnings[0]


def test_the_parent_is_in_manifest_and_card(push, undisturbed, tmp_path):
    found = read_record(ChampionRecord, undisturbed.finished / "stages" / INPUTS["champion"])
    parent = ParentRecord(uri="file:///elsewhere", manifest_sha256="a" * 64, bake_id="b" * 64, intact=True)
    place, _ = push(champion=found.model_copy(update={"parent": parent}))
    assert verify_artifact(place).champion.parent == parent
    assert "bake bbbbbbbbbbbb, sha256 aaaa" in (place / "README.md").read_text()


def test_the_command_names_what_differs(push, monkeypatch, capsys):
    place, _ = push()
    monkeypatch.setattr("sys.argv", ["forge", "verify-artifact", str(place)])
    assert cli._run() == 0 and "files agree" in capsys.readouterr().out
    content = json.loads((place / MANIFEST).read_text())
    (place / MANIFEST).write_text(json.dumps(content))
    assert cli._run() == 1
    assert "manifest.json is not as it was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "field", [{"prompt_template": "{prompt} hf_AbCdEfGhIjKlMnOpQrSt"}, {"answer_cue": "x https://me:pass@host/"}]
)
def test_a_configuration_with_a_credential_is_refused_before_anything_is_spent(undisturbed, field):
    config = build_config({"model_path": str(undisturbed.CHAMPION), "output_path": "out", **field})
    with pytest.raises(ConfigError, match="looks like a credential") as caught:
        check_places(config, undisturbed.CHAMPION)
    assert "hf_A" not in str(caught.value) and "pass@" not in str(caught.value)
