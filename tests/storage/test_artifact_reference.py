"""Models kept as W&B artifacts; the stand-in is the service's public API, at the edge of the network."""

import sys
from types import SimpleNamespace

import pytest
from storage.fixed_artifacts import Artifact
from storage.published import publish_small

from agent_forge.errors import ChampionError, CheckFailed
from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.files import path_digest
from agent_forge.storage.lineage import walk
from agent_forge.storage.origin import origin_of
from agent_forge.storage.references import find

FILES = {"config.json": b"{}", "sub/tokenizer.json": b"{}\n", "model.safetensors": bytes(range(256))}
REFERENCE = "wandb://team/project/champion:best"


class UsageError(Exception):
    """What the library raises without a key."""


@pytest.fixture
def artifact(service):
    service["team/project/champion:best"] = service["team/project/champion:v3"] = Artifact(FILES)
    return service["team/project/champion:best"]


def test_an_artifact_is_fetched_once_and_pinned_to_its_version(artifact):
    reference = find(REFERENCE)
    path = reference.path()
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    assert reference.uri(path) == "wandb://team/project/champion:v3"
    assert reference.revision(path) == f"v3-{artifact.digest}"
    assert find(reference.uri(path)).path() == path and artifact.downloads == 1
    assert not [left for left in path.parent.iterdir() if left.name.endswith(".partial")]


def test_an_alias_that_moves_on_is_another_model(service, artifact):
    before = find(REFERENCE).path()
    service["team/project/champion:best"] = Artifact({**FILES, "config.json": b"[]"}, "v4")
    after = find(REFERENCE).path()
    assert after != before and (after / "config.json").read_bytes() == b"[]"


@pytest.mark.parametrize("name", FILES)
def test_a_byte_that_changes_on_the_way_is_named(artifact, name):
    entry = artifact.manifest.entries[name]
    entry.content = entry.content[:-1] + bytes([entry.content[-1] ^ 1])
    with pytest.raises(CheckFailed, match=f"{name} is not what the artifact says"):
        find(REFERENCE).path()
    entry.content = FILES[name]
    assert (find(REFERENCE).path() / name).read_bytes() == FILES[name]


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped", "a\\escaped"])
def test_names_that_lead_out_are_refused_before_anything_is_fetched(service, artifact, name):
    service["team/project/champion:best"] = Artifact({**FILES, name: b""})
    with pytest.raises(ChampionError, match="leads out of the model"):
        find(REFERENCE).path()
    assert not service["team/project/champion:best"].downloads


def test_files_that_lie_elsewhere_are_refused(artifact):
    artifact.manifest.entries["config.json"].ref = "s3://elsewhere/config.json"
    with pytest.raises(ChampionError, match="lies elsewhere"):
        find(REFERENCE).path()


@pytest.mark.parametrize("version", ["../../x", "v3/../..", "latest"])
def test_a_version_that_is_none_is_refused(artifact, version):
    artifact.version = version
    with pytest.raises(ChampionError, match="no version and digest"):
        find(REFERENCE).path()


def test_what_is_not_there_is_one_line(service):
    with pytest.raises(ChampionError, match="artifact 'team/project/champion:best' not found") as caught:
        find(REFERENCE).path()
    assert "\n" not in str(caught.value)


def test_without_a_key_it_says_where_one_is_looked_for(monkeypatch):
    def api() -> None:
        raise UsageError("No authentication configured. Use `wandb login` to log in.")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Api=api))
    with pytest.raises(ChampionError, match=r"No authentication configured.*WANDB_API_KEY"):
        find(REFERENCE).path()


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ChampionError, match=r"agent-forge\[wandb\]"):
        find(REFERENCE).path()


@pytest.mark.parametrize("reference", ["wandb://a/b", "wandb://a/b/c", "wandb://a/b/c/d:e", "wandb://../b/c:d"])
def test_references_are_whole(reference):
    with pytest.raises(ChampionError, match="entity/project/name:alias"):
        find(reference)


def test_a_published_model_is_checked_and_has_a_lineage(service, tmp_path):
    manifest = publish_small(tmp_path / "published")
    files = {path.name: path.read_bytes() for path in (tmp_path / "published").iterdir()}
    service["team/project/baked:latest"] = service["team/project/baked:v0"] = Artifact(files, "v0")
    reference = find("wandb://team/project/baked:latest")
    path = reference.path()
    assert verify_artifact(path) == manifest
    assert origin_of("wandb://team/project/baked:latest", path, path_digest(path)).parent.intact
    assert [link.bake_id for link in walk("wandb://team/project/baked:latest")] == [manifest.bake_id, None]
