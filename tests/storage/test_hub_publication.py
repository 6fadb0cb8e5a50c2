"""Publishing to the hub, through huggingface_hub itself; see `hub` in conftest for what holds after every commit."""

import json
import logging
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from storage.hub_server import SIGNATURE
from storage.published import SAMPLE, evolve_small

from agent_forge.artifact_commands import fetched
from agent_forge.errors import CheckFailed, InputError, LeaseLost, OutputError, StoreError
from agent_forge.records import Verdict
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


@pytest.mark.parametrize(
    ("path", "status", "advice"),
    [
        ("auth-check", 401, "has expired"),
        ("auth-check", 403, "access is denied"),
        ("preupload/main", 401, "has expired"),
        ("large/", 403, "access is denied"),
        ("commit/main", 403, "access is denied"),
        ("commit/main", 413, "too large"),
    ],
)
def test_refusals_are_one_line_without_anybodys_secrets(
    hub, root, model, manifest, monkeypatch, caplog, path, status, advice
):
    monkeypatch.setenv("HF_TOKEN", hub.token or "hf_secretsecretsecret")
    hub.faults = [(path, status)]
    with caplog.at_level(logging.DEBUG), pytest.raises(InputError, match=advice) as caught:
        root.check()
        root.publish(model, manifest)
    assert "\n" not in str(caught.value) and "hf_secret" not in str(caught.value) + caplog.text
    assert SIGNATURE not in str(caught.value)
    assert root.published(manifest.bake_id) is None
    root.publish(model, manifest)


def test_a_token_that_may_not_write_is_refused_before_anything_is_spent(hub, root, monkeypatch):
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match="HF_TOKEN") as caught:
        root.check()
    assert "hf_wrong" not in str(caught.value)


@pytest.mark.parametrize("place", ["hf://org/none", "hf://org/models@none"])
def test_what_is_not_there_is_said_before_anything_is_spent(root, place):
    with pytest.raises(InputError, match="no such repository or branch"):
        publication(place).check()
    with pytest.raises(InputError, match="no such repository or branch"):
        publication(place).published("0" * 64)


@pytest.mark.parametrize(
    "place", ["hf://models", f"hf://org/models@{LEASES}", "hf://org/models@refs/pr/1", "hf://a/../b"]
)
def test_roots_are_branches_of_repositories(place):
    with pytest.raises(InputError):
        publication(place)


def test_addresses_that_anybody_could_write_to_are_not_logged(hub, root, model, manifest, slept, caplog):
    hub.faults = [("large/", 503), ("large/", "reset")]
    # As loud as another program may have made them.
    caplog.set_level(logging.DEBUG)
    root.publish(model, manifest)
    assert "PUT http" in caplog.text and "/large/" in caplog.text and SIGNATURE not in caplog.text


def test_nothing_is_published_when_the_repository_leaves_files_out(hub, root, model, manifest):
    hub.commit("org/models", {".gitignore": b"*.safetensors"})
    with pytest.raises(StoreError, match=r"model\.safetensors is not what was committed.*gitignore"):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None


def test_bytes_that_change_on_the_way_up_are_read_back(hub, root, model, manifest):
    hub.spoil = True
    with pytest.raises(StoreError, match=r"model\.safetensors differs from what was written"):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None


def test_a_model_that_changes_meanwhile_is_not_published(root, model, manifest):
    (model / "config.json").write_text("{ ")
    with pytest.raises(StoreError, match=r"config\.json is not what was committed"):
        root.publish(model, manifest)
    (model / "more.json").write_text("{}")
    with pytest.raises(OutputError, match="changed while it was being published"):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None


def test_what_an_interrupted_publication_of_other_bytes_left_is_replaced(hub, root, model, manifest):
    left = {f"{BAKED}/model.safetensors": b"other", f"{BAKED}/model-00002.safetensors": b"more"}
    hub.commit("org/models", {"mine.txt": b"kept", **left})
    root.publish(model, manifest)
    assert verify_artifact(*fetched(f"{ROOT}/{BAKED}")) == manifest
    assert hub.files("org/models")["mine.txt"] == b"kept"


def test_who_lost_the_lease_writes_nothing_more(hub, root, model, manifest, monkeypatch):
    real, lease = HubPublication._send, root.lease(manifest.bake_id)

    def send(self, *given):
        there, tag = lease.read()
        lease.swap(Lease(holder="thief", term=there.term + 1), tag)
        return real(self, *given)

    monkeypatch.setattr(HubPublication, "_send", send)
    with pytest.raises(LeaseLost, match="another process took over"):
        root.publish(model, manifest)
    assert not [name for name in hub.files("org/models") if name.startswith("baked/")]


def test_a_publisher_that_is_killed_leaves_no_manifest_or_a_whole_model(hub, root, model, manifest, tmp_path):
    (tmp_path / "manifest.json").write_text(manifest_text(manifest))
    environment = {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf")}
    moments = [f"{random.Random(n).uniform(0, 0.9):.3f}" for n in range(6)]
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        KILLED,
        ROOT,
        str(model),
        str(tmp_path / "manifest.json"),
        *moments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "", **environment})
    assert done.stdout.split()[-1] == "0" and "-9" in done.stdout.split()
    assert verify_artifact(*fetched(f"{ROOT}/{BAKED}")) == manifest
    expected = {f"{BAKED}/{file.path}" for file in manifest.files} | {f"{BAKED}/manifest.json", "baked/latest.json"}
    assert set(hub.files("org/models")) - {".gitattributes"} == expected


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md", "manifest.json"])
def test_one_byte_flipped_in_a_published_file_is_named(hub, root, model, manifest, name):
    root.publish(model, manifest)
    flipped = {**hub.files("org/models")}
    content = bytearray(flipped[f"{BAKED}/{name}"])
    content[len(content) // 2] ^= 1
    hub.commit("org/models", {**flipped, f"{BAKED}/{name}": bytes(content)})
    with pytest.raises(CheckFailed, match=name):
        verify_artifact(*fetched(f"{ROOT}/{BAKED}"))
    hub.history.clear()


def test_rejected_models_and_verdicts_are_no_models(hub, root, model, manifest):
    where = root.keep_rejected(model, manifest.verification, manifest.bake_id)
    before = len(hub.history)
    assert root.keep_rejected(model, manifest.verification, manifest.bake_id) == where and len(hub.history) == before
    assert root.verdict(manifest.bake_id) is None
    verdict = Verdict(
        bake_id=manifest.bake_id,
        champion_digest=manifest.champion.digest,
        gate=manifest.gate,
        verification=None,
        code=manifest.code,
        created_at="2026-01-01T00:00:00Z",
    )
    root.keep_verdict(verdict, "<p>first</p>")
    root.keep_verdict(verdict.model_copy(update={"created_at": "later"}), "<p>second</p>")
    assert root.verdict(manifest.bake_id) == verdict
    assert hub.files("org/models")[f"verdicts/{manifest.bake_id}/report.html"] == b"<p>first</p>"
    assert f"rejected/{manifest.bake_id}/REJECTED.json" in hub.files("org/models")
    assert root.published(manifest.bake_id) is None


def test_a_champion_is_published_once(hub, root, tmp_path):
    manifest = evolve_small(tmp_path / "evolved")
    digest = path_digest(tmp_path / "evolved")
    for _ in range(2):
        where = root.publish_champion(tmp_path / "evolved", manifest, digest)
    assert where == f"{ROOT}/champions/{digest}/manifest.json"
    assert len([entry for entry in hub.history if entry[1] == "main"]) == 3
    path, blobs = fetched(where.rpartition("/")[0])
    assert check_evolved(path, blobs=blobs) == manifest and path_digest(path) == digest


def test_a_signature_stands_beside_a_manifest_and_is_written_once(root, model, manifest):
    where, key = root.publish(model, manifest), generate()
    content = find(where.rpartition("/")[0]).manifest()
    put_beside(where, SIGNATURE_FILE, sign(content, key, "first"))
    put_beside(where, SIGNATURE_FILE, sign(content, generate(), "second"))
    path, blobs = fetched(where.rpartition("/")[0])
    assert check_artifact(path, key.public, blobs).signer == key.public.name


def test_bytes_are_told_both_ways(root, model, manifest, monkeypatch):
    monkeypatch.setattr("agent_forge.storage.moving._MEGABYTE", 1)
    told = Told()
    root.publish(model, manifest, watcher=told)
    total = sum(file.size for file in manifest.files)
    assert told.begun[0] == ("publishing, MB", total) and told.done[-1] == total
    told = Told()
    find(f"{ROOT}/{BAKED}").path(told)
    assert told.begun[-1][0] == "fetching, MB" and told.done[-1] == told.begun[-1][1] > total


class Told:
    """What a watcher is told."""

    def __init__(self):
        self.begun, self.done = [], []

    def begin(self, what, total, done=0):
        self.begun.append((what, total))

    def advance(self, done, tokens):
        self.done.append(done)


@pytest.mark.parametrize(
    "uri", ["hf://a/b", "hf://a/b@v1", "hf://a/b@v1/c/d", "hf://a/b/c", "hf://a/b@refs/pr/1/c", "hf://a/b@x%2Fy/c"]
)
def test_places_are_printed_as_they_are_read(uri):
    assert str(HubPlace.parse(uri)) == uri


@pytest.mark.parametrize("uri", ["hf://", "hf://a/b/../c", "hf://a/b@../c", "hf://a/b/%2e%2e/c", "hf://a/b/c d"])
def test_places_that_lead_out_are_refused(uri):
    with pytest.raises(InputError, match="no name on the hub"):
        HubPlace.parse(uri)
