"""A published model is checked whole: every byte of it, and whatever has no business in one."""

import os
import re

import pytest
from storage.published import SAMPLE, publish_small

from agent_forge.errors import CheckFailed, InputError
from agent_forge.records import FileRecord
from agent_forge.storage.artifact import check_artifact, check_claims, verify_artifact
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST, manifest_text, parse_manifest, sealed
from agent_forge.storage.minisign import SIGNATURE, generate, sign


@pytest.fixture
def model(tmp_path):
    publish_small(tmp_path / "model")
    return tmp_path / "model"


def with_files(*names):
    return SAMPLE.model_copy(update={"files": tuple(FileRecord(path=name, sha256="0" * 64, size=1) for name in names)})


def test_what_was_published_passes(model):
    found = check_artifact(model)
    assert found.sealed and not found.signed
    assert {file.path for file in found.manifest.files} == {"README.md", "config.json", "model.safetensors"}


@pytest.mark.parametrize("change", [lambda byte: byte ^ 1, lambda byte: byte ^ 0x80, lambda byte: 32 + (byte == 32)])
def test_any_byte_of_the_manifest_that_changes_is_noticed(change):
    # A shorter manifest has the same kinds of bytes.
    short = sealed(SAMPLE.model_copy(update={"bake": SAMPLE.bake.model_copy(update={"curve": ()})}))
    content = manifest_text(short).encode()
    assert parse_manifest(content, MANIFEST) == short
    for place, byte in enumerate(content):
        changed = content[:place] + bytes([change(byte)]) + content[place + 1 :]
        with pytest.raises(CheckFailed, match=r"^manifest\.json"):
            parse_manifest(changed, MANIFEST)


@pytest.mark.parametrize("place", ["before", "after", "between"])
def test_white_space_is_noticed(place):
    content = manifest_text(sealed(SAMPLE)).encode()
    changed = {"before": b" " + content, "after": content + b"\n", "between": content.replace(b'": ', b'":  ', 1)}[
        place
    ]
    with pytest.raises(CheckFailed, match="not as it was written"):
        parse_manifest(changed, MANIFEST)


def test_any_byte_of_any_other_file_that_changes_is_named(model):
    (model / SIGNATURE).write_text(sign((model / MANIFEST).read_bytes(), generate(), "small"))
    for name in ("README.md", "config.json", "model.safetensors", SIGNATURE):
        content = (model / name).read_bytes()
        # The card is long: its first and last bytes and some between.
        for place in range(0, len(content), max(1, len(content) // 40)):
            (model / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(CheckFailed, match=f"^{re.escape(name)}"):
                verify_artifact(model)
        (model / name).write_bytes(content)
    verify_artifact(model)


def test_a_missing_and_a_foreign_file_are_named(model):
    (model / "more.json").write_text("{}")
    with pytest.raises(CheckFailed, match=r"^more\.json is not in the manifest"):
        verify_artifact(model)
    (model / "more.json").unlink()
    (model / "config.json").unlink()
    with pytest.raises(CheckFailed, match=r"^config\.json is missing"):
        verify_artifact(model)


@pytest.mark.parametrize("name", ["config.json", MANIFEST, "folder"])
def test_links_and_pipes_are_refused(model, tmp_path, name):
    outside = tmp_path / "outside"
    if (model / name).exists():
        (model / name).rename(outside)
    else:
        outside.mkdir()
    (model / name).symlink_to(outside)
    with pytest.raises(CheckFailed, match=f"^{re.escape(name)} is a link"):
        verify_artifact(model)
    (model / name).unlink()
    if name != MANIFEST:
        os.mkfifo(model / name)
        with pytest.raises(CheckFailed, match=f"^{re.escape(name)} is no regular file"):
            verify_artifact(model)


def test_a_model_without_a_manifest_is_none(tmp_path):
    with pytest.raises(InputError, match="not a published model"):
        verify_artifact(tmp_path)


def test_an_oversized_manifest_is_refused(model):
    with (model / MANIFEST).open("ab") as stream:
        stream.write(b" " * LARGEST_MANIFEST)
    with pytest.raises(CheckFailed, match=r"^manifest\.json has more than 16,777,216 bytes"):
        verify_artifact(model)


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/../../b", "a\\b", "a//b", "./a", "", "C:\\x", "a\nb", "sub/..", "a\x00b"]
)
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(CheckFailed, match="leads outside the model"):
        check_claims(with_files("config.json", name))


@pytest.mark.parametrize("names", [("a", "a"), ("Config.json", "config.JSON"), ("\u00e9.txt", "e\u0301.txt")])
def test_names_that_collide_are_refused(names):
    with pytest.raises(CheckFailed, match="same file as"):
        check_claims(with_files(*names))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sub/x.PT", "weights.pkl", "model.tar.gz", "modeling.py"])
def test_pickles_archives_and_code_are_refused(name):
    with pytest.raises(CheckFailed, match="may run code"):
        check_claims(with_files(name))


@pytest.mark.parametrize("name", [MANIFEST, "Manifest.JSON", SIGNATURE])
def test_a_manifest_does_not_describe_itself(name):
    with pytest.raises(CheckFailed, match="describes the manifest itself"):
        check_claims(with_files(name))


CLAIMS = {
    "another bake": {"bake_id": "0" * 64, "champion": SAMPLE.champion.model_copy(update={"bake_id": "0" * 64})},
    "another champion": {"champion": SAMPLE.champion.model_copy(update={"digest": "0" * 64})},
    "another run's champion": {"champion": SAMPLE.champion.model_copy(update={"bake_id": "0" * 64})},
    "another configuration": {"config": {**SAMPLE.config, "temperature": 0.1}},
    "other code": {"code": SAMPLE.code.model_copy(update={"source_sha256": "0" * 64})},
    "other questions": {"question_digests": {**SAMPLE.question_digests, "gate": "0" * 64}},
    "no bake": {"gate": SAMPLE.gate.model_copy(update={"verdict": "no_bake"})},
    "no gain": {"gate": SAMPLE.gate.model_copy(update={"difference": 0.5})},
    "rejected": {"verification": SAMPLE.verification.model_copy(update={"verdict": "reject"})},
    "failed": {"verification": SAMPLE.verification.model_copy(update={"failed_checks": ("improvement",)})},
    "other accuracy": {"verification": SAMPLE.verification.model_copy(update={"baked_accuracy": 1.0})},
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_manifest_that_contradicts_itself_is_refused(claim):
    check_claims(SAMPLE)
    with pytest.raises(CheckFailed, match=r"^manifest\.json"):
        check_claims(SAMPLE.model_copy(update=CLAIMS[claim]))


def test_manifests_of_older_versions_are_read(model):
    old = SAMPLE.model_dump(mode="json")
    del old["content_sha256"]
    for name in ("parent", "card", "revision"):
        del old["champion"][name]
    content = type(SAMPLE).model_validate(old).model_dump_json(exclude_defaults=True).encode()
    assert b"content_sha256" not in content and parse_manifest(content, MANIFEST) == SAMPLE
