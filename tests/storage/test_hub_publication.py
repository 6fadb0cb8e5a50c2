"""Publishing to the hub, through huggingface_hub itself; see `hub` in conftest for what holds after every commit."""

import json
import logging
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from report.sample_run import RUNS
from storage.hub_server import SIGNATURE
from storage.published import SAMPLE, evolve_small, publish_small

from agent_forge.artifact_commands import fetched
from agent_forge.errors import CheckFailed, InputError, LeaseLost, OutputError, StoreError
from agent_forge.storage.artifact import check_artifact, check_evolved, verify_artifact
from agent_forge.storage.beside import put_beside
from agent_forge.storage.files import path_digest
from agent_forge.storage.hub import HubPlace
from agent_forge.storage.hub_lease import LEASES
from agent_forge.storage.hub_publication import HubPublication
from agent_forge.storage.lease import Lease
from agent_forge.storage.lineage import walk
from agent_forge.storage.manifest import manifest_text, sealed
from agent_forge.storage.minisign import SIGNATURE as SIGNATURE_FILE
from agent_forge.storage.minisign import generate, sign
from agent_forge.storage.publication import publication
from agent_forge.storage.references import find

# What huggingface_hub does when it uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ROOT = "hf://org/models"
BAKED = f"baked/{SAMPLE.bake_id}"
# Publishes as often as it is told to, each time in a process of its own that is killed after some seconds.
KILLED = """
import os, signal, sys, time
from pathlib import Path
from agent_forge.records import Manifest, read_record
from agent_forge.storage.hub_publication import HubPublication
root, model, manifest, *moments = sys.argv[1:]
for moment in [*moments, ""]:
    if not (child := os.fork()):
        HubPublication(root, lease_seconds=0.4).publish(Path(model), read_record(Manifest, Path(manifest)))
        os._exit(0)
    if moment:
        time.sleep(float(moment))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def model(tmp_path):
    publish_small(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def manifest(model):
    return verify_artifact(model)


@pytest.fixture
def root(hub):
    hub.commit("org/models", {".gitattributes": b""})
    return publication(ROOT)


def test_a_published_model_is_read_back_as_it_was(hub, root, model, manifest):
    assert root.published(manifest.bake_id) is None
    root.check()
    where = root.publish(model, manifest)
    assert where == f"{ROOT}/{BAKED}/manifest.json" == root.published(manifest.bake_id)
    assert root.manifest(manifest.bake_id) == manifest
    path, blobs = fetched(where.rpartition("/")[0])
    assert verify_artifact(path, blobs) == manifest
    assert find(where.rpartition("/")[0]).uri(path) == f"hf://org/models@{path.parents[1].name}/{BAKED}"
    assert [link.bake_id for link in walk(where.rpartition("/")[0])] == [manifest.bake_id, None]
    assert json.loads(hub.files("org/models")["baked/latest.json"])["bake_id"] == manifest.bake_id
    assert HubPublication(ROOT).lease(manifest.bake_id).read()[0].released


def test_publishing_again_commits_nothing(hub, root, model, manifest):
    where = root.publish(model, manifest)
    before = [entry for entry in hub.history if entry[1] == "main"]
    assert len(before) == 3
    later = sealed(manifest.model_copy(update={"created_at": "2030-01-01T00:00:00Z"}))
    assert root.publish(model, later) == where
    assert [entry for entry in hub.history if entry[1] == "main"] == before


def test_a_branch_and_a_folder_may_be_the_root(hub, root, model, manifest):
    hub.commit("org/models", {"README.md": b""}, "nightly")
    where = publication(f"{ROOT}@nightly/forge").publish(model, manifest)
    assert where == f"{ROOT}@nightly/forge/{BAKED}/manifest.json"
    assert verify_artifact(*fetched(where.rpartition("/")[0])) == manifest
    assert root.published(manifest.bake_id) is None


def test_many_publishers_make_one_manifest(hub, root, model, manifest, slept):
    manifests = [sealed(manifest.model_copy(update={"created_at": f"2026-01-0{n + 1}T00:00:00Z"})) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        places = list(pool.map(lambda one: HubPublication(ROOT, 20).publish(model, one), manifests))
    assert len(set(places)) == 1 and root.manifest(manifest.bake_id) in manifests
    assert len([entry for entry in hub.history if entry[1] == "main"]) == 3


PASSING = (429, 500, "reset", "lost")
PLACES = ("commit/main", "commit/forge", "preupload/main", "large/", "objects/batch", "/resolve/", "tree/", "revision/")


@pytest.mark.parametrize(
    ("path", "fault"),
    [("commit/main", 412), ("commit/main", 409), *((place, fault) for place in PLACES for fault in PASSING)],
)
def test_faults_that_pass_are_retried_and_nothing_is_done_twice(hub, root, model, manifest, slept, fault, path):
    hub.faults = [(path, fault)] * 2
    try:
        root.publish(model, manifest)
    except StoreError as cause:
        # What the library does not ask twice for: one clear line, and the next run goes on.
        assert "run again" in str(cause) and "\n" not in str(cause)
        hub.faults = []
        root.publish(model, manifest)
    assert not hub.faults
    assert verify_artifact(*fetched(f"{ROOT}/{BAKED}")) == manifest
    assert len([entry for entry in hub.history if entry[1] == "main"]) == 3
