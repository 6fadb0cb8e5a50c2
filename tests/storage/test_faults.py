"""What networks, stores and disks do: retried with back-off, or one clear line; nothing lost or half published."""

import errno
import os
from types import SimpleNamespace

import pytest
from fault_proxy import fault_proxy
from report.sample_run import RUNS

from agent_forge.errors import ForgeError, InputError, OutputError, StoreError
from agent_forge.storage import s3_download
from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.files import list_files
from agent_forge.storage.s3_download import fetch
from agent_forge.storage.s3_publication import S3Publication
from agent_forge.storage.s3_upload import PART


@pytest.fixture(scope="module")
def sample():
    return next(manifest for run in RUNS.values() if (manifest := run().manifest) is not None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """One file goes in parts, the other does not."""
    place = tmp_path_factory.mktemp("model")
    (place / "model.safetensors").write_bytes(os.urandom(PART + 1000))
    (place / "config.json").write_bytes(b"{}")
    return place


@pytest.fixture
def manifest(model, sample):
    return sample.model_copy(update={"files": list_files(model)})


@pytest.fixture
def slept(monkeypatch):
    """The client's waits between its attempts, in seconds, without waiting."""
    found = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=found.append))
    monkeypatch.setattr(s3_download.time, "sleep", lambda _: None)
    return found


@pytest.fixture
def proxy(bucket, server, monkeypatch):
    with fault_proxy(server["AWS_ENDPOINT_URL"]) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        yield found


@pytest.mark.parametrize("fault", ["SlowDown", "InternalError", "reset", "answer_lost", "slow"])
def test_faults_that_pass_are_retried_and_nothing_is_lost(bucket, proxy, model, manifest, slept, fault):
    uri = bucket[1]
    proxy.spoil(fault, every=3)
    where = S3Publication(uri).publish(model, manifest)
    assert verify_artifact(fetch(where.rpartition("/")[0])) == manifest
    assert proxy.spoiled > 2 and (fault == "slow" or len(slept) > 2)


def test_bodies_that_break_off_are_asked_for_again(bucket, proxy, model, manifest, slept):
    where = S3Publication(bucket[1]).publish(model, manifest)
    proxy.spoil("truncated", every=3, methods=("GET",))
    assert verify_artifact(fetch(where.rpartition("/")[0])) == manifest and proxy.spoiled


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("ExpiredToken", "credentials have expired"),
        ("RequestTimeTooSkewed", "clock is wrong"),
        ("AccessDenied", "access is denied"),
    ],
)
def test_faults_that_stay_are_one_line_and_the_next_run_publishes(bucket, proxy, model, manifest, slept, fault, said):
    uri = bucket[1]
    # Some requests succeed first, as when credentials expire.
    proxy.spoil(fault, after=8)
    with pytest.raises(InputError, match=said) as refused:
        S3Publication(uri).publish(model, manifest)
    assert "\n" not in str(refused.value)
    proxy.spoil("")
    assert S3Publication(uri).published(manifest.bake_id) is None
    assert verify_artifact(fetch(S3Publication(uri, 1).publish(model, manifest).rpartition("/")[0])) == manifest


@pytest.mark.parametrize("fault", ["InternalError", "reset"])
def test_a_store_that_keeps_failing_is_one_line(bucket, proxy, model, manifest, slept, fault):
    proxy.spoil(fault)
    with pytest.raises(StoreError, match="run again"):
        S3Publication(bucket[1]).publish(model, manifest)
    assert len(slept) >= 7


def test_bytes_that_change_on_the_way_up_are_not_published(bucket, proxy, model, manifest, slept):
    proxy.spoil("up", methods=("PUT",), every=4)
    with pytest.raises(ForgeError):
        S3Publication(bucket[1]).publish(model, manifest)
    proxy.spoil("")
    assert S3Publication(bucket[1]).published(manifest.bake_id) is None


def test_a_full_disk_is_one_line_and_the_download_goes_on_when_there_is_room(bucket, model, manifest, monkeypatch):
    where = S3Publication(bucket[1]).publish(model, manifest).rpartition("/")[0]
    real, room = os.pwrite, [PART // 2]

    def pwrite(handle, data, offset):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        # What is left of the disk is filled first.
        written = real(handle, data[: room[0]], offset)
        room[0] -= written
        return written

    monkeypatch.setattr(s3_download.os, "pwrite", pwrite)
    with pytest.raises(OutputError, match="the disk is full"):
        fetch(where)
    monkeypatch.setattr(s3_download.os, "pwrite", real)
    assert verify_artifact(fetch(where)) == manifest
