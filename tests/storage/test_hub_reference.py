"""Models on the hub, through huggingface_hub itself; the stand-in is a server for the few requests that it makes."""

import errno
import random

import pytest
from storage.published import publish_small, sha256

from agent_forge.errors import ChampionError, CheckFailed
from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.files import path_digest
from agent_forge.storage.lineage import walk
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST, parse_manifest
from agent_forge.storage.origin import origin_of
from agent_forge.storage.references import find

FILES = {"config.json": b"{}", "sub/tokenizer.json": b"{}\n", "model.safetensors": random.Random(1).randbytes(300_000)}


def test_a_model_is_fetched_and_pinned_to_its_commit(hub):
    commit = hub.commit("org/model", FILES)
    reference = find("org/model")
    path = reference.path()
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    assert reference.uri(path) == f"hf://org/model@{commit}" and reference.revision(path) == commit
    hub.commit("org/model", {**FILES, "config.json": b'{"later": 1}'})
    assert find(reference.uri(path)).path() == path
    assert find("hf://org/model@main").path() != path


def test_what_is_there_is_not_fetched_again(hub):
    hub.commit("org/model", FILES)
    path = find("hf://org/model").path()
    del hub.asked[:]
    assert find(find("hf://org/model").uri(path)).path() == path
    assert not [path for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path]


def test_a_download_that_breaks_off_is_continued(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.commit("org/model", FILES)
    hub.cut = "model.safetensors"
    path = find("hf://org/model").path()
    assert (path / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    ranges = [span for method, name, span in hub.asked if method == "GET" and name.endswith("model.safetensors")]
    assert any(span and not span.startswith("bytes=0-") for span in ranges)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_that_changes_on_the_way_is_named(hub, name):
    hub.commit("org/model", FILES)
    hub.flip = name
    with pytest.raises(CheckFailed, match=f"{name} is not what the hub says"):
        find("hf://org/model").path()


def test_a_byte_that_changes_in_the_cache_is_named(hub):
    hub.commit("org/model", FILES)
    path = find("hf://org/model").path()
    blob = (path / "config.json").resolve()
    blob.write_bytes(b"{ ")
    with pytest.raises(CheckFailed, match=r"config\.json is not what the hub says"):
        find("hf://org/model").path()


def test_pickles_are_fetched_only_where_there_is_nothing_else(hub):
    hub.commit("org/both", {**FILES, "pytorch_model.bin": b"pickle"})
    hub.commit("org/old", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    assert not (find("org/both").path() / "pytorch_model.bin").exists()
    assert (find("org/old").path() / "pytorch_model.bin").exists()


def test_a_name_that_leads_out_writes_nothing_there(hub, tmp_path):
    hub.commit("org/model", {**FILES, "../../../../escaped.json": b"{}"})
    with pytest.raises(ChampionError):
        find("hf://org/model").path()
    assert not list(tmp_path.rglob("escaped.json"))


def test_a_manifest_that_is_too_large_is_not_fetched(hub, monkeypatch):
    monkeypatch.setattr("agent_forge.storage.references.hub.LARGEST_MANIFEST", 100)
    hub.commit("org/model", {"manifest.json": b" " * 1000})
    with pytest.raises(CheckFailed, match="no manifest"):
        parse_manifest(find("org/model").manifest().ljust(LARGEST_MANIFEST + 1), "manifest.json")
    assert not [path for method, path, _ in hub.asked if method == "GET" and path.endswith("manifest.json")]


def test_a_full_disk_is_one_line(hub, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.commit("org/model", FILES)
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(ChampionError, match="the disk is full") as caught:
        find("org/model").path()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reference", ["hf://org/none", "hf://org/model@none"])
def test_what_is_not_there_is_one_line(hub, reference):
    hub.commit("org/model", FILES)
    with pytest.raises(ChampionError, match="the hub says") as caught:
        find(reference).path()
    assert "\n" not in str(caught.value)


def test_a_published_model_on_the_hub_is_checked_and_has_a_lineage(hub, tmp_path):
    published = tmp_path / "published"
    manifest = publish_small(published)
    files = {path.name: path.read_bytes() for path in published.iterdir()}
    commit = hub.commit("org/baked", files)
    path = find("hf://org/baked").path()
    assert verify_artifact(path, path.parent.parent / "blobs") == manifest
    with pytest.raises(CheckFailed, match="is a link"):
        verify_artifact(path)
    origin = origin_of("hf://org/baked", path, path_digest(path))
    assert origin.parent.uri == f"hf://org/baked@{commit}" and origin.parent.intact
    assert origin.parent.manifest_sha256 == sha256(published / MANIFEST)
    assert [link.bake_id for link in walk("hf://org/baked")] == [manifest.bake_id, None]
    hub.commit("org/plain", FILES)
    assert find("hf://org/plain").manifest() is None
