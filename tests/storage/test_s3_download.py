import os

import pytest

from agent_forge.errors import ChampionError, InputError, StoreError
from agent_forge.stages.resolve_champion import champion_path
from agent_forge.storage import s3, s3_download
from agent_forge.storage.files import path_digest
from agent_forge.storage.references import find
from agent_forge.storage.s3 import Location, safe_name
from agent_forge.storage.s3_download import cache_directory, fetch
from agent_forge.storage.s3_upload import PART, put_file


def write_model(directory, weights=b"weights"):
    (directory / "sub").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "sub" / "empty").write_bytes(b"")
    (directory / "model.safetensors").write_bytes(weights)
    return directory


def upload(client, uri, directory):
    for path in directory.rglob("*"):
        if path.is_file():
            place = Location.parse(uri) / path.relative_to(directory).as_posix()
            assert put_file(client, place, path, None).written


def test_a_model_comes_back_as_it_was(bucket, tmp_path):
    client, uri = bucket
    model = write_model(tmp_path / "model", os.urandom(2 * PART + 3))
    upload(client, uri, model)
    client.put_object(Bucket=Location.parse(uri).bucket, Key=f"{Location.parse(uri).key}/.cache/x", Body=b"hidden")
    found = fetch(uri)
    assert path_digest(found) == path_digest(model)
    assert champion_path(uri) == found and find(uri).uri(found) == uri
    record = found.parent / f".{found.name}.fetched.json"
    assert {path for path in cache_directory().iterdir() if path.suffix != ".lock"} == {found, record}


def test_a_single_file_is_fetched_under_its_name(bucket, tmp_path):
    client, uri = bucket
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    put_file(client, Location.parse(uri) / "small.gguf", tmp_path / "small.gguf", None)
    found = fetch(f"{uri}/small.gguf")
    assert found.name == "small.gguf" and found.read_bytes() == b"GGUF"


def test_what_is_there_is_not_fetched_again(bucket, tmp_path, monkeypatch):
    client, uri = bucket
    upload(client, uri, write_model(tmp_path / "model"))
    found = fetch(uri)
    monkeypatch.setattr(s3_download, "_fetch_all", lambda *_: pytest.fail("fetched again"))
    assert fetch(uri) == found


@pytest.mark.parametrize(("damage", "again"), [(None, 0), ("model.safetensors", 1), (".fetched.json", 1)])
def test_after_a_crash_of_the_machine_what_was_fetched_is_checked_again(bucket, tmp_path, monkeypatch, damage, again):
    client, uri = bucket
    model = write_model(tmp_path / "model")
    upload(client, uri, model)
    whole = fetch(uri)
    real, fetched = s3_download._fetch_all, []
    monkeypatch.setattr(s3_download, "_fetch_all", lambda *given: (fetched.append(1), real(*given)))
    monkeypatch.setattr("agent_forge.storage.fetched.current_boot", lambda: "another boot")
    if damage:
        damaged = whole / damage if damage == "model.safetensors" else whole.parent / f".{whole.name}{damage}"
        damaged.write_bytes(bytes(damaged.stat().st_size))
    for _ in range(2):
        assert path_digest(fetch(uri)) == path_digest(model) and len(fetched) == again


def test_a_changed_model_is_another_one(bucket, tmp_path):
    client, uri = bucket
    upload(client, uri, write_model(tmp_path / "model"))
    before = fetch(uri)
    place = Location.parse(uri) / "config.json"
    client.put_object(Bucket=place.bucket, Key=place.key, Body=b'{"other": 1}')
    after = fetch(uri)
    assert after != before and (after / "config.json").read_text() == '{"other": 1}'


def test_an_interrupted_download_continues_with_the_missing_parts(bucket, tmp_path, monkeypatch):
    client, uri = bucket
    model = write_model(tmp_path / "model", os.urandom(4 * PART))
    upload(client, uri, model)
    monkeypatch.setattr(s3_download, "CONNECTIONS", 1)
    real, asked = s3_download._copy_range, []

    def breaks(client, file, first, last, target):
        asked.append((file.name, first))
        if len(asked) == 4:
            raise KeyboardInterrupt
        real(client, file, first, last, target)

    monkeypatch.setattr(s3_download, "_copy_range", breaks)
    with pytest.raises(KeyboardInterrupt):
        fetch(uri)
    interrupted, began = asked[3], set(asked[:3])
    assert path_digest(fetch(uri)) == path_digest(model)
    # Requests that were under way when it broke off may be made twice, finished ones are not.
    assert interrupted in asked[4:] and not began & set(asked[4:])


def test_a_body_that_breaks_off_is_asked_for_again(bucket, tmp_path, monkeypatch):
    from botocore.exceptions import ResponseStreamingError

    client, uri = bucket
    model = write_model(tmp_path / "model")
    upload(client, uri, model)
    real, failures = s3_download._copy_range, []

    def breaks(*arguments):
        if len(failures) < 3:
            failures.append(1)
            raise ResponseStreamingError(error="connection reset")
        real(*arguments)

    monkeypatch.setattr(s3_download, "_copy_range", breaks)
    assert path_digest(fetch(uri)) == path_digest(model) and len(failures) == 3


def test_bytes_that_changed_on_the_way_are_noticed(bucket, tmp_path, monkeypatch):
    client, uri = bucket
    upload(client, uri, write_model(tmp_path / "model"))
    real = s3_download._copy_range

    def flips(client, file, first, last, target):
        real(client, file, first, last, target)
        if file.name == "model.safetensors":
            target.write_bytes(b"weightz")

    monkeypatch.setattr(s3_download, "_copy_range", flips)
    with pytest.raises(StoreError, match=r"model\.safetensors arrived damaged"):
        fetch(uri)
    monkeypatch.setattr(s3_download, "_copy_range", real)
    assert (fetch(uri) / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a\\..\\b", "a\nb", ""])
def test_names_that_lead_out_of_a_directory(name):
    assert not safe_name(name)
    assert safe_name("sub/model-00001-of-00002.safetensors")


def test_a_hostile_listing_is_refused(monkeypatch):
    class Hostile:
        def get_paginator(self, _):
            return self

        def paginate(self, Bucket, Prefix):  # noqa: N803 - the client's own names
            return [{"Contents": [{"Key": f"{Prefix}../../escaped", "ETag": '"0"', "Size": 1}]}]

    with pytest.raises(ChampionError, match="leads out of the model"):
        s3_download._listed(Hostile(), Location("b", "k"))


def test_nothing_there_and_no_such_bucket(bucket):
    _, uri = bucket
    with pytest.raises(ChampionError, match="nothing is there"):
        fetch(uri)
    with pytest.raises(ChampionError, match="nothing is there"):
        fetch(f"{uri}/x.gguf")
    with pytest.raises(InputError, match="no such bucket"):
        fetch("s3://no-such-bucket/model")
    with pytest.raises(InputError, match="no bucket is named"):
        fetch("s3:///model")


def test_wrong_credentials_are_one_line_without_them(bucket, monkeypatch):
    _, uri = bucket
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-s3cret")
    with pytest.raises(InputError, match="does not fit") as refusal:
        fetch(uri)
    assert "s3cret" not in str(refusal.value)


def test_a_store_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
        fetch("s3://bucket/model")
