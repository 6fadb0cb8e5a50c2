import os
import signal
import time
from pathlib import Path

import pytest
from report.sample_run import RUNS
from storage.published import evolve_small

from agent_forge.errors import CheckFailed, OutputError
from agent_forge.records import Alias, Verdict, read_record
from agent_forge.storage import directory_publication
from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.code import code_record
from agent_forge.storage.directory_publication import DirectoryPublication
from agent_forge.storage.files import list_files, path_digest
from agent_forge.storage.publication import publication


@pytest.fixture(scope="module")
def sample():
    return next(manifest for run in RUNS.values() if (manifest := run().manifest) is not None)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    for number in range(4):
        (tmp_path / "model" / f"part-{number}.safetensors").write_bytes(bytes([number]) * 200_000)
    return tmp_path / "model"


@pytest.fixture
def manifest(sample, model):
    return sample.model_copy(update={"files": list_files(model)})


@pytest.fixture
def root(tmp_path):
    return DirectoryPublication(tmp_path / "root")


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_model_is_published_once_and_whole(root, model, manifest):
    where = root.publish(model, manifest)
    later = manifest.model_copy(update={"created_at": "2030-01-01T00:00:00Z"})
    assert root.publish(model, later) == where == root.published(manifest.bake_id)
    assert verify_artifact(root.root / "baked" / manifest.bake_id) == manifest == root.manifest(manifest.bake_id)
    assert names(root.root / "baked") == sorted([manifest.bake_id, "latest.json"])


def test_who_comes_late_changes_nothing(root, model, manifest, monkeypatch):
    real = directory_publication._move_in

    def overtaken(prepared, final):
        # Another publisher, which knew of no lease, has published while this one prepared.
        directory_publication.publish_into(model, manifest, final)
        real(prepared, final)

    monkeypatch.setattr(directory_publication, "_move_in", overtaken)
    root.publish(model, manifest.model_copy(update={"created_at": "later"}))
    assert root.manifest(manifest.bake_id) == manifest
    assert names(root.root / "baked") == sorted([manifest.bake_id, "latest.json"])


def test_a_file_that_changed_is_not_published(root, model, manifest):
    (model / "part-1.safetensors").write_bytes(b"changed")
    with pytest.raises(OutputError, match="changed"):
        root.publish(model, manifest)
    assert root.published(manifest.bake_id) is None and names(root.root / "baked") == []


def test_files_without_a_manifest_give_way(root, model, manifest):
    left = root.root / "baked" / manifest.bake_id
    left.mkdir(parents=True)
    (left / "stale.bin").write_bytes(b"x")
    root.publish(model, manifest)
    assert verify_artifact(left) == manifest


def test_killed_at_any_moment_there_is_no_model_or_a_whole_one(root, model, manifest):
    killed = 0
    for moment in range(8):
        child = os.fork()
        if child == 0:
            root.publish(model, manifest)
            os._exit(0)
        time.sleep(moment / 200)
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if root.published(manifest.bake_id):
            assert verify_artifact(root.root / "baked" / manifest.bake_id) == manifest
    assert killed
    root.publish(model, manifest)
    assert verify_artifact(root.root / "baked" / manifest.bake_id) == manifest


@pytest.mark.parametrize("kind", ["directory", "bucket"])
def test_latest_moves_once_per_bake_also_after_a_kill_before_it_moved(request, tmp_path, kind):
    place = publication(request.getfixturevalue("bucket")[1] if kind == "bucket" else str(tmp_path / "root"))
    for bake in ("a", "b", "a"):
        place.settle(bake)
    there = alias_of(place, request)
    assert (there.bake_id, there.bakes) == ("b", ("a", "b")) and there.manifest.endswith("baked/b/manifest.json")


def alias_of(place, request):
    if isinstance(place, DirectoryPublication):
        return read_record(Alias, place.root / "baked/latest.json")
    from agent_forge.storage.s3 import Location
    from agent_forge.storage.s3_publication import read_object

    client, uri = request.getfixturevalue("bucket")
    return read_object(client, Alias, Location.parse(uri) / "baked" / "latest.json")[0]


@pytest.mark.parametrize("kind", ["directory", "bucket"])
def test_the_first_verdict_stays(request, tmp_path, sample, kind):
    place = publication(request.getfixturevalue("bucket")[1] if kind == "bucket" else str(tmp_path / "root"))
    verdict = Verdict(
        bake_id=sample.bake_id,
        champion_digest="d",
        gate=sample.gate,
        verification=None,
        code=code_record(),
        created_at="first",
    )
    assert place.verdict(sample.bake_id) is None
    place.keep_verdict(verdict, "<!DOCTYPE html>")
    place.keep_verdict(verdict.model_copy(update={"created_at": "second"}), "<!DOCTYPE html>")
    assert place.verdict(sample.bake_id) == verdict and place.published(sample.bake_id) is None


def test_one_byte_flipped_is_named(root, model, manifest):
    root.publish(model, manifest)
    for file in manifest.files:
        path = root.root / "baked" / manifest.bake_id / file.path
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(CheckFailed, match=file.path):
            verify_artifact(path.parent)
        path.write_bytes(whole)


def test_a_champion_lies_under_the_digest_of_all_its_files_and_appears_whole(root, tmp_path, monkeypatch):
    manifest = evolve_small(tmp_path / "evolved")
    digest = path_digest(tmp_path / "evolved")
    monkeypatch.setattr(
        directory_publication, "_move_in", lambda prepared, final: (_ for _ in ()).throw(OSError(5, ""))
    )
    with pytest.raises(OSError):
        root.publish_champion(tmp_path / "evolved", manifest, digest)
    assert list((root.root / "champions").iterdir()) == []
    monkeypatch.undo()
    place = root.root / "champions" / digest
    for _ in range(2):
        assert root.publish_champion(tmp_path / "evolved", manifest, digest) == str(place / "manifest.json")
    assert path_digest(place) == digest


def test_a_place_that_cannot_be_made_is_one_line():
    with pytest.raises(OutputError, match=r"cannot publish to /proc/nothing: .*choose another directory"):
        DirectoryPublication(Path("/proc/nothing")).check()
