import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from report.sample_run import RUNS
from storage.published import evolve_small

from agent_forge.errors import CheckFailed, InputError, LeaseLost, StoreError
from agent_forge.storage import s3_publication
from agent_forge.storage.artifact import check_artifact, verify_artifact
from agent_forge.storage.beside import put_beside
from agent_forge.storage.files import list_files, path_digest
from agent_forge.storage.lease import Lease
from agent_forge.storage.lineage import walk
from agent_forge.storage.manifest import sealed
from agent_forge.storage.minisign import SIGNATURE, generate, sign
from agent_forge.storage.publication import publication
from agent_forge.storage.references import find
from agent_forge.storage.s3 import Location
from agent_forge.storage.s3_download import fetch
from agent_forge.storage.s3_publication import S3Publication
from agent_forge.storage.s3_upload import put_text, stored

PUBLISH = """
import sys
from pathlib import Path
from agent_forge.records import Manifest, read_record
from agent_forge.storage.s3_publication import S3Publication
root, model, manifest = sys.argv[1:]
print(S3Publication(root, lease_seconds=2).publish(Path(model), read_record(Manifest, Path(manifest))))
"""


@pytest.fixture(scope="module")
def sample():
    return next(manifest for run in RUNS.values() if (manifest := run().manifest) is not None)


@pytest.fixture
def model(tmp_path):
    for number in range(6):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / f"part-{number}.safetensors").write_bytes(random.Random(number).randbytes(200_000))
    return tmp_path / "model"


def manifest_of(model, sample, **changes):
    return sample.model_copy(update={"files": list_files(model), **changes})


def keys(client, uri):
    place = Location.parse(uri)
    found = client.list_objects_v2(Bucket=place.bucket, Prefix=f"{place.key}/").get("Contents", [])
    return {entry["Key"].removeprefix(f"{place.key}/") for entry in found}


def test_published_files_are_those_of_the_manifest(bucket, model, sample):
    client, uri = bucket
    manifest, root = manifest_of(model, sample), publication(uri)
    assert root.published(manifest.bake_id) is None
    where = root.publish(model, manifest)
    assert where == f"{uri}/baked/{manifest.bake_id}/manifest.json" == root.published(manifest.bake_id)
    assert root.manifest(manifest.bake_id) == manifest
    names = {f"baked/{manifest.bake_id}/{file.path}" for file in manifest.files}
    made = {f"baked/{manifest.bake_id}/manifest.json", "baked/latest.json", f"leases/{manifest.bake_id}.json"}
    assert keys(client, uri) == names | made
    assert verify_artifact(fetch(where.rpartition("/")[0])) == manifest


def test_publishing_again_changes_nothing(bucket, model, sample):
    client, uri = bucket
    first = manifest_of(model, sample)
    where = S3Publication(uri).publish(model, first)
    before = stored(client, Location.parse(where)).etag
    later = first.model_copy(update={"created_at": "2030-01-01T00:00:00Z"})
    assert S3Publication(uri).publish(model, later) == where
    assert stored(client, Location.parse(where)).etag == before


def test_many_publishers_make_one_manifest(bucket, model, sample):
    _, uri = bucket
    manifests = [manifest_of(model, sample, created_at=f"2026-01-01T00:00:{n:02}Z") for n in range(12)]
    with ThreadPoolExecutor(len(manifests)) as pool:
        places = list(pool.map(lambda manifest: S3Publication(uri, 5).publish(model, manifest), manifests))
    assert len(set(places)) == 1
    assert S3Publication(uri).manifest(sample.bake_id) in manifests
    assert S3Publication(uri).lease(sample.bake_id).read()[0].released


def test_a_killed_publisher_leaves_no_manifest_or_a_whole_model(bucket, model, sample, tmp_path):
    client, uri = bucket
    manifest = manifest_of(model, sample)
    (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
    command = [sys.executable, "-c", PUBLISH, uri, str(model), str(tmp_path / "manifest.json")]
    killed = 0
    for moment in random.Random(3).sample(range(60), 6):
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ)
        ) as child:
            while child.poll() is None and not keys(client, f"{uri}/leases"):
                time.sleep(0.01)
            time.sleep(moment / 1000)
            child.send_signal(signal.SIGKILL)
        killed += child.returncode == -signal.SIGKILL
        if S3Publication(uri).published(manifest.bake_id):
            assert verify_artifact(fetch(f"{uri}/baked/{manifest.bake_id}")) == manifest
    assert killed
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{uri}/baked/{manifest.bake_id}/manifest.json"
    assert verify_artifact(fetch(f"{uri}/baked/{manifest.bake_id}")) == manifest


def test_a_living_holder_is_waited_for_and_a_dead_one_is_not(bucket, model, sample):
    client, uri = bucket
    lease = Location.parse(uri) / "leases" / f"{sample.bake_id}.json"
    seen = put_text(client, lease, Lease(holder="other", term=4).model_dump_json(), None)
    publisher = ThreadPoolExecutor(1).submit(S3Publication(uri, 2).publish, model, manifest_of(model, sample))
    alive_until = time.monotonic() + 4
    while time.monotonic() < alive_until:
        beat = Lease(holder="other", term=4, beat=int(1000 * time.monotonic())).model_dump_json()
        seen = put_text(client, lease, beat, seen)
        assert seen is not None and not publisher.done()
        time.sleep(0.3)
    publisher.result(timeout=30)
    assert S3Publication(uri).published(sample.bake_id)


def test_who_lost_the_lease_writes_nothing_more(bucket, model, sample, monkeypatch):
    client, uri = bucket
    manifest, real = manifest_of(model, sample), S3Publication._put
    overtaken = threading.Event()

    def put(self, path, file, place, held, *more):
        if not overtaken.is_set():
            overtaken.set()
            lease = Location.parse(uri) / "leases" / f"{sample.bake_id}.json"
            put_text(client, lease, Lease(holder="thief", term=9).model_dump_json(), stored(client, lease))
        real(self, path, file, place, held, *more)

    monkeypatch.setattr(S3Publication, "_put", put)
    monkeypatch.setattr(s3_publication, "_FILES_AT_ONCE", 1)
    with pytest.raises(LeaseLost, match="another process took over"):
        S3Publication(uri).publish(model, manifest)
    assert not [key for key in keys(client, uri) if key.startswith("baked/")]


def test_other_bytes_of_an_interrupted_publication_are_not_replaced_while_it_may_go_on(
    bucket, model, sample, monkeypatch
):
    client, uri = bucket
    left = Location.parse(uri) / "baked" / sample.bake_id / "part-0.safetensors"
    put_text(client, left, "other bytes", None)
    with pytest.raises(StoreError, match="left other bytes"):
        S3Publication(uri).publish(model, manifest_of(model, sample))
    assert S3Publication(uri).published(sample.bake_id) is None
    monkeypatch.setattr(s3_publication, "LEFT_BEHIND_SECONDS", 0)
    S3Publication(uri).publish(model, manifest_of(model, sample))
    assert verify_artifact(fetch(f"{uri}/baked/{sample.bake_id}")).files == list_files(model)


@pytest.mark.parametrize("name", [f"part-{number}.safetensors" for number in range(6)])
def test_one_byte_flipped_in_a_published_file_is_named(bucket, model, sample, name):
    client, uri = bucket
    S3Publication(uri).publish(model, manifest_of(model, sample))
    flipped = bytearray((model / name).read_bytes())
    flipped[len(flipped) // 2] ^= 1
    place = Location.parse(uri) / "baked" / sample.bake_id / name
    client.put_object(Bucket=place.bucket, Key=place.key, Body=bytes(flipped))
    with pytest.raises(CheckFailed, match=name):
        fetch(f"{uri}/baked/{sample.bake_id}")


def test_a_signature_beside_a_manifest_is_written_once_and_fetched(bucket, model, sample):
    _, uri = bucket
    where = S3Publication(uri).publish(model, manifest_of(model, sample))
    key, content = generate(), find(where.rpartition("/")[0]).manifest()
    put_beside(where, SIGNATURE, sign(content, key, "first"))
    put_beside(where, SIGNATURE, sign(content, generate(), "second"))
    assert check_artifact(fetch(where.rpartition("/")[0]), key.public).signer == key.public.name
    assert [link.bake_id for link in walk(where.rpartition("/")[0])] == [sample.bake_id, None]


def test_a_flipped_byte_of_the_manifest_is_named(bucket, model, sample):
    client, uri = bucket
    where = S3Publication(uri).publish(model, sealed(manifest_of(model, sample)))
    place = Location.parse(where)
    content = client.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
    client.put_object(Bucket=place.bucket, Key=place.key, Body=content.replace(b"part-0", b"part-7", 1))
    with pytest.raises(CheckFailed, match=r"manifest\.json is not as it was written"):
        fetch(where.rpartition("/")[0])


def test_a_missing_file_is_named(bucket, model, sample):
    client, uri = bucket
    S3Publication(uri).publish(model, manifest_of(model, sample))
    place = Location.parse(uri) / "baked" / sample.bake_id / "part-3.safetensors"
    client.delete_object(Bucket=place.bucket, Key=place.key)
    with pytest.raises(CheckFailed, match=r"part-3\.safetensors is missing"):
        fetch(f"{uri}/baked/{sample.bake_id}")


def test_a_rejected_model_is_kept_under_another_name(bucket, model, sample):
    client, uri = bucket
    root = publication(uri)
    where = root.keep_rejected(model, sample.verification, sample.bake_id)
    assert root.keep_rejected(model, sample.verification, sample.bake_id) == where
    assert root.published(sample.bake_id) is None
    assert f"rejected/{sample.bake_id}/REJECTED.json" in keys(client, uri)
    assert not [key for key in keys(client, uri) if key.endswith("manifest.json")]


def test_a_bucket_that_is_not_there_is_named_before_anything_is_published(bucket):
    with pytest.raises(InputError, match="there is no such bucket"):
        S3Publication("s3://no-such-bucket/models").published("0" * 64)


def test_a_champion_is_written_once_with_its_manifest_last(bucket, tmp_path, monkeypatch):
    _, root = bucket
    manifest = evolve_small(tmp_path / "evolved")
    digest = path_digest(tmp_path / "evolved")
    written = []

    def watched(client, place, *given):
        if str(place).endswith("manifest.json"):
            written.append({key for key in keys(client, root) if key.startswith("champions/")})
        return put_text(client, place, *given)

    monkeypatch.setattr(s3_publication, "put_text", watched)
    for _ in range(2):
        place = S3Publication(root).publish_champion(tmp_path / "evolved", manifest, digest)
        assert place == f"{root}/champions/{digest}/manifest.json"
    # One manifest was written, when all other files were there.
    assert written == [{f"champions/{digest}/{file.path}" for file in manifest.files}]
    assert path_digest(fetch(place.rpartition("/")[0])) == digest
