import os
import time

import pytest

from agent_forge.cli import app
from agent_forge.errors import InputError
from agent_forge.storage import leftovers
from agent_forge.storage.hub_lease import LEASES
from agent_forge.storage.leftovers import find_leftovers, remove
from agent_forge.storage.s3 import Location

DEAD, ALIVE, WHOLE, UNBORN = "a" * 64, "b" * 64, "c" * 64, "d" * 64
REMOVED = {
    f"baked/{DEAD}/model.bin": "no manifest",
    f"verdicts/{DEAD}/report.html": "no manifest",
    f"champions/{UNBORN}/model.bin": "no manifest",
    f"leases/{WHOLE}.json": "lease",
}
KEPT = (
    f"baked/{ALIVE}/model.bin",
    f"baked/{WHOLE}/model.bin",
    f"baked/{WHOLE}/manifest.json",
    f"champions/{WHOLE}/model.bin",
    f"champions/{WHOLE}/manifest.json",
    f"champions/{ALIVE}/model.bin",
    "baked/latest.json",
    f"verdicts/{WHOLE}/verdict.json",
    f"leases/{ALIVE}.json",
)


def write(root, name, age_hours, text="x"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - 3600 * age_hours
    for place in (path, path.parent):
        os.utime(place, (then, then))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A directory that was published to two days ago; one bake is being made."""
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    for name in (
        *KEPT,
        *REMOVED,
        f"baked/.{DEAD}.0123.preparing/model.bin",
        f"rejected/.{DEAD}.45.preparing/model.bin",
        f"champions/.{DEAD}.67.preparing/model.bin",
    ):
        write(tmp_path / "root", name, 0.01 if name == f"leases/{ALIVE}.json" else 48)
    write(tmp_path / "home/s3", f".{DEAD}.partial/model.bin", 48)
    return tmp_path / "root"


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {".publication.lock"}


def test_what_interrupted_work_left_is_listed_and_removed_when_asked(root, tmp_path):
    before, found = files(root), find_leftovers(str(root), 24)
    kinds = {left.place.removeprefix(f"{tmp_path}/"): left.kind for left in found}
    assert kinds == {
        f"root/baked/{DEAD}": "no manifest",
        f"root/verdicts/{DEAD}": "no manifest",
        f"root/champions/{UNBORN}": "no manifest",
        f"root/champions/.{DEAD}.67.preparing": "prepared",
        f"root/baked/.{DEAD}.0123.preparing": "prepared",
        f"root/rejected/.{DEAD}.45.preparing": "prepared",
        f"root/leases/{WHOLE}.json": "lease",
        f"home/s3/.{DEAD}.partial": "download",
    }
    assert files(root) == before
    remove(str(root), found)
    assert files(root) == set(KEPT) and find_leftovers(str(root), 24) == []
    assert not (tmp_path / f"home/s3/.{DEAD}.partial").exists()


def test_what_is_younger_stays(root):
    assert find_leftovers(str(root), 49) == []


def test_what_was_published_meanwhile_stays(root):
    found = find_leftovers(str(root), 24)
    write(root, f"baked/{DEAD}/manifest.json", 0)
    remove(str(root), found)
    assert (root / f"baked/{DEAD}/model.bin").exists()


def test_a_champion_that_is_published_meanwhile_keeps_its_files(bucket, monkeypatch):
    client, uri = bucket
    place = Location.parse(uri)
    client.put_object(Bucket=place.bucket, Key=f"{place.key}/champions/{UNBORN}/model.bin", Body=b"x")
    real = leftovers._hours
    monkeypatch.setattr(leftovers, "_hours", lambda now, then: real(now, then) + 48)
    found = find_leftovers(uri, 24)
    assert [left.kind for left in found] == ["no manifest"]
    client.put_object(Bucket=place.bucket, Key=f"{place.key}/champions/{UNBORN}/manifest.json", Body=b"{}")
    remove(uri, found)
    assert (
        client.get_object(Bucket=place.bucket, Key=f"{place.key}/champions/{UNBORN}/model.bin")["Body"].read() == b"x"
    )


def test_a_bucket_is_tidied_by_the_same_rules(bucket, monkeypatch):
    client, uri = bucket
    place = Location.parse(uri)
    for name in (*KEPT, *REMOVED):
        client.put_object(Bucket=place.bucket, Key=f"{place.key}/{name}", Body=b"x")
    for model in (f"baked/{DEAD}", f"baked/{ALIVE}", f"champions/{UNBORN}"):
        client.create_multipart_upload(Bucket=place.bucket, Key=f"{place.key}/{model}/large.bin")
    assert find_leftovers(uri, 1) == []

    real = leftovers._hours
    monkeypatch.setattr(leftovers, "_hours", lambda now, then: real(now, then) + 48)
    live = f"{place.key}/leases/{ALIVE}.json"
    aged = leftovers._objects

    def objects(client, place, folder):
        for name, entry in aged(client, place, folder):
            # The lease that is alive was written a moment ago, all else two days ago.
            later = entry["LastModified"].replace(year=2999) if entry["Key"] == live else entry["LastModified"]
            yield name, {**entry, "LastModified": later}

    monkeypatch.setattr(leftovers, "_objects", objects)
    found = find_leftovers(uri, 24)
    kinds = {left.place.removeprefix(f"{uri}/"): left.kind for left in found}
    assert kinds == {
        **REMOVED,
        f"baked/{DEAD}/large.bin": "upload",
        f"champions/{UNBORN}/large.bin": "upload",
    }
    remove(uri, found)
    folders = ("baked", "champions", "verdicts", "leases")
    there = {name for folder in folders for name, _ in objects(client, place, folder)}
    # Bake and champion were removed under a lease each, which was then given up.
    assert there == {*KEPT, f"leases/{DEAD}.json", f"leases/{UNBORN}.json"}
    uploads = client.list_multipart_uploads(Bucket=place.bucket, Prefix=place.key)["Uploads"]
    assert [upload["Key"] for upload in uploads] == [f"{place.key}/baked/{ALIVE}/large.bin"]


def test_the_command_lists_and_refuses_what_is_no_root(root, capsys):
    app(["gc", str(root)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert f"baked/{DEAD}" in shown and "--delete removes them" in shown
    with pytest.raises(InputError, match="no directory"):
        find_leftovers(str(root / "nothing"), 24)


@pytest.fixture
def hub_root(hub, tmp_path, monkeypatch):
    """A repository that was published to two days ago; one bake is being made."""
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    main, leases = {"README.md": b"mine"}, {}
    for name in (*REMOVED, *KEPT):
        (leases if name.startswith("leases/") else main)[name] = b"x"
    hub.ages[hub.commit("org/models", main)] = 48
    hub.ages[hub.commit("org/models", {name: leases[name] for name in REMOVED if name in leases}, LEASES)] = 48
    hub.ages[hub.commit("org/models", leases, LEASES)] = 0.01
    return "hf://org/models"


def test_on_the_hub_only_what_interrupted_work_left_is_found_and_removed(hub, hub_root):
    found = find_leftovers(hub_root, 24)
    assert {left.place.rpartition("org/models")[2].partition("/")[2]: left.kind for left in found} == REMOVED
    assert not find_leftovers(hub_root, 72)
    before = hub.files("org/models"), hub.files("org/models", LEASES)
    remove(hub_root, found)
    gone = set(before[0]) - set(hub.files("org/models")) | set(before[1]) - set(hub.files("org/models", LEASES))
    assert gone == set(REMOVED)
    hub.history.clear()


def test_on_the_hub_what_has_changed_since_it_was_listed_stays(hub, hub_root):
    found = find_leftovers(hub_root, 24)
    left = f"baked/{DEAD}/model.bin"
    hub.commit("org/models", {**hub.files("org/models"), left: b"of somebody else"})
    remove(hub_root, found)
    assert hub.files("org/models")[left] == b"of somebody else"
    hub.history.clear()


def test_weights_and_biases_says_where_its_leftovers_are():
    with pytest.raises(InputError, match="removed there"):
        find_leftovers("wandb://team/project/name", 24)
