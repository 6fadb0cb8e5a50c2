"""Publishing to Weights & Biases; the service is stood for at the edge of its library, see artifact_service."""

import errno
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storage.artifact_service import Killed, Service
from storage.published import SAMPLE, evolve_small

from agent_forge.artifact_commands import fetched
from agent_forge.errors import InputError, LeaseLost, OutputError, StoreError
from agent_forge.records import Verdict
from agent_forge.storage.artifact import check_evolved, verify_artifact
from agent_forge.storage.files import path_digest
from agent_forge.storage.lease import Lease, leased
from agent_forge.storage.lineage import walk
from agent_forge.storage.manifest import sealed
from agent_forge.storage.publication import publication
from agent_forge.storage.weights_and_biases_publication import TRACKED
from agent_forge.tracking.protocol import PublishedModel

ROOT = "wandb://team/project/baked"
COLLECTION = "team/project/baked"
ALIAS = f"bake-{SAMPLE.bake_id}"


@pytest.fixture
def service(tmp_path, monkeypatch):
    """A service; whatever has a bake's alias is whole, whenever it got it."""
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    found = Service()
    monkeypatch.setitem(sys.modules, "wandb", found)
    return found


@pytest.fixture
def root(service):
    return publication(ROOT)


def test_a_published_model_is_read_back_as_it_was(service, root, model, manifest):
    assert root.published(manifest.bake_id) is None
    root.check()
    where = root.publish(model, manifest)
    assert where == f"{ROOT}:v0/manifest.json" == root.published(manifest.bake_id)
    assert root.manifest(manifest.bake_id) == manifest
    for reference in (where.rpartition("/")[0], f"{ROOT}:{ALIAS}", f"{ROOT}:published"):
        assert verify_artifact(*fetched(reference)) == manifest
    assert [link.bake_id for link in walk(f"{ROOT}:published")] == [manifest.bake_id, None]


def test_publishing_again_logs_nothing(service, root, model, manifest):
    where = root.publish(model, manifest)
    later = sealed(manifest.model_copy(update={"created_at": "2030-01-01T00:00:00Z"}))
    assert root.publish(model, later) == where and len(service.versions[COLLECTION]) == 1


@pytest.mark.parametrize("step", ["log", "logged", "alias"])
def test_a_publisher_that_is_killed_leaves_nothing_or_a_whole_model(service, root, model, manifest, step, monkeypatch):
    def kill():
        service.before.clear()
        raise Killed

    service.before[step] = kill
    with pytest.raises(Killed):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None
    assert root.publish(model, manifest) == f"{ROOT}:v0/manifest.json"
    assert len(service.versions[COLLECTION]) == 1
    assert {ALIAS, "published", "latest"} == set(service.aliases[COLLECTION])


def test_the_lowest_version_of_a_bake_is_the_published_one_for_everybody(
    service, model, manifest, tmp_path, monkeypatch
):
    manifests = [sealed(manifest.model_copy(update={"created_at": f"2026-01-0{n + 1}T00:00:00Z"})) for n in range(4)]

    def publish(number):
        # Each on a machine of its own, where no lease keeps them apart.
        place = publication(ROOT)
        monkeypatch.setattr(place, "lease", lambda bake: publication(str(tmp_path / f"machine-{number}")).lease(bake))
        return place.publish(model, manifests[number])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(4)))
    assert publication(ROOT).published(manifest.bake_id) == f"{ROOT}:v0/manifest.json"
    assert service.aliases[COLLECTION][ALIAS].version == "v0"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "manifest.json"])
def test_bytes_that_change_on_the_way_up_are_never_given_the_alias(service, root, model, manifest, name):
    service.spoil = name
    with pytest.raises(StoreError, match=f"{name} of v0 differs"):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None
    service.spoil = None
    # The damaged version comes first, and is passed over.
    assert root.publish(model, manifest) == f"{ROOT}:v1/manifest.json"


def test_what_changes_meanwhile_is_not_published(service, root, model, manifest):
    (model / "more.json").write_text("{}")
    with pytest.raises(OutputError, match="changed while it was being published"):
        root.publish(model, manifest)
    (model / "more.json").unlink()
    (model / "config.json").write_text("{ ")
    with pytest.raises(StoreError, match=r"config\.json of v0 differs"):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None


def test_runs_on_one_machine_wait_for_each_other(service, root, model, manifest):
    with leased(root.lease(manifest.bake_id), lambda: False) as held:
        there, tag = root.lease(manifest.bake_id).read()
        assert root.lease(manifest.bake_id).swap(Lease(holder="thief", term=there.term + 1), tag)
        with pytest.raises(LeaseLost):
            root.publish(model, manifest, held)
    assert not service.versions


def test_published_never_goes_back(service, root, model, manifest):
    root.publish(model, manifest)
    service.aliases[COLLECTION]["published"] = later = service.versions[COLLECTION][0]
    later.version = "v7"
    root.settle(manifest.bake_id)
    assert service.aliases[COLLECTION]["published"] is later


def test_rejected_models_and_verdicts_are_no_models(service, root, model, manifest):
    where = root.keep_rejected(model, manifest.verification, manifest.bake_id)
    assert root.keep_rejected(model, manifest.verification, manifest.bake_id) == where == f"{ROOT}-rejected:{ALIAS}"
    verdict = Verdict(
        bake_id=manifest.bake_id,
        champion_digest="d",
        gate=manifest.gate,
        verification=None,
        code=manifest.code,
        created_at="first",
    )
    assert root.verdict(manifest.bake_id) is None
    root.keep_verdict(verdict, "<p>")
    root.keep_verdict(verdict.model_copy(update={"created_at": "second"}), "<p>")
    assert root.verdict(manifest.bake_id) == verdict and root.published(manifest.bake_id) is None
    assert {path: len(found) for path, found in service.versions.items()} == {
        f"{COLLECTION}-rejected": 1,
        f"{COLLECTION}-verdicts": 1,
    }


def test_a_champion_is_published_once(service, root, tmp_path):
    manifest = evolve_small(tmp_path / "evolved")
    digest = path_digest(tmp_path / "evolved")
    for _ in range(2):
        where = root.publish_champion(tmp_path / "evolved", manifest, digest)
    assert where == f"{ROOT}-champions:v0/manifest.json"
    path, blobs = fetched(where.rpartition("/")[0])
    assert check_evolved(path, blobs=blobs) == manifest and path_digest(path) == digest


class UsageError(Exception):
    """What the library raises without a key."""


def test_refusals_are_one_line_without_the_key(service, root, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)

    def refuse():
        raise UsageError(f"bad key\n{'k' * 40}")

    monkeypatch.setattr(service, "Api", refuse)
    for ask in (root.check, lambda: root.published("0" * 64)):
        with pytest.raises(InputError, match="wandb login") as caught:
            ask()
        assert "kkk" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_full_disk_is_one_line(service, root, model, manifest, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    service.before["log"] = full
    with pytest.raises(OutputError, match="disk is full"):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None


def test_what_tracking_calls_its_own_is_no_root():
    assert PublishedModel(uri="", metadata={}, manifest=Path(), aliases=()).name == TRACKED
    with pytest.raises(InputError, match="choose another name"):
        publication(f"wandb://team/project/{TRACKED}")


@pytest.mark.parametrize("place", ["wandb://a/b", "wandb://a/b/c:latest", "wandb://a/../c", "wandb://a/b/c/d"])
def test_roots_are_artifacts(place):
    with pytest.raises(InputError, match="entity/project/name"):
        publication(place)
