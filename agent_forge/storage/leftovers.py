"""What interrupted work left at a publication root and in the cache, found and, when asked for, removed.

    upload        a multipart upload that nobody completed
    no manifest   files of a bake or champion that nobody published, or a report without its verdict
    prepared      a directory that was being prepared, or a file that was being written
    lease         one that was given up, or whose holder is dead
    download      part of a model in the cache

Nothing is touched that belongs to a manifest or a verdict, that is younger than asked for, or whose lease shows life:
holders write theirs anew every few seconds. Ages come from the clock of the store that keeps the thing.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from agent_forge.errors import InputError
from agent_forge.storage.directory_publication import locked
from agent_forge.storage.files import cache_home
from agent_forge.storage.hub import on_the_hub
from agent_forge.storage.hub_leftovers import find_on_the_hub, remove_from_the_hub
from agent_forge.storage.lease import leased
from agent_forge.storage.leftover import HOUR, Leftover
from agent_forge.storage.publication import directory_of
from agent_forge.storage.s3 import Location, connect, in_a_bucket, talking_about
from agent_forge.storage.s3_download import cache_directory
from agent_forge.storage.s3_publication import S3Publication

# Final file of a folder below a root -> what makes it real.
_REAL = {"baked": "manifest.json", "champions": "manifest.json", "verdicts": "verdict.json"}
_FOLDERS = ("baked", "champions", "rejected", "verdicts", "leases")


def find_leftovers(root: str, older_than_hours: float) -> list[Leftover]:
    """List what interrupted work left below a publication root, and in this machine's cache.

    Raises:
        InputError: when there is no such root, it cannot be read, or it is of a kind that keeps nothing of the sort.
        StoreError: when the store fails.
    """
    found = _at(root)
    return sorted(
        (left for left in (*found, *_in_cache()) if left.hours >= older_than_hours), key=lambda left: left.place
    )


def remove(root: str, leftovers: list[Leftover]) -> None:
    """Remove what was found, unless it has become part of something published meanwhile."""
    here = [left for left in leftovers if not in_a_bucket(left.place) and not on_the_hub(left.place)]
    if on_the_hub(root):
        remove_from_the_hub(root, [left for left in leftovers if on_the_hub(left.place)], _REAL)
        for left in here:
            _remove_path(Path(left.place))
    elif in_a_bucket(root):
        _remove_objects(root, [left for left in leftovers if in_a_bucket(left.place)])
        for left in here:
            _remove_path(Path(left.place))
    elif here:
        # No publisher moves a model into place meanwhile.
        with locked(directory_of(root)):
            for left in here:
                if left.kind != "no manifest" or not _real(Path(left.place)):
                    _remove_path(Path(left.place))


def _at(root: str) -> Iterator[Leftover]:
    if root.startswith("wandb://"):
        raise InputError(
            f"{root}: what interrupted work leaves at Weights & Biases are versions without the alias of a bake; they "
            "are removed there"
        )
    if on_the_hub(root):
        return find_on_the_hub(root, _REAL)
    return _in_bucket(root) if in_a_bucket(root) else _in_directory(directory_of(root))


def _in_bucket(root: str) -> Iterator[Leftover]:
    place = Location.parse(root)
    client = connect(place.scheme)
    with talking_about(root):
        now = _clock(client, place)
        objects = {name: entry for folder in _FOLDERS for name, entry in _objects(client, place, folder)}
        live = {
            name.removeprefix("leases/").removesuffix(".json")
            for name, entry in objects.items()
            if name.startswith("leases/") and _hours(now, entry["LastModified"]) < 1
        }
        for name, entry in objects.items():
            folder, _, rest = name.partition("/")
            bake = rest.split("/")[0].removesuffix(".json")
            hours = _hours(now, entry["LastModified"])
            if bake in live:
                continue
            if folder == "leases":
                yield Leftover(kind="lease", place=str(place / name), size=entry["Size"], hours=hours)
            elif folder in _REAL and "/" in rest and f"{folder}/{bake}/{_REAL[folder]}" not in objects:
                newest = max(
                    other["LastModified"] for key, other in objects.items() if key.startswith(f"{folder}/{bake}/")
                )
                hours = _hours(now, newest)
                yield Leftover(kind="no manifest", place=str(place / name), size=entry["Size"], hours=hours)
        yield from _uploads(client, place, now, live)


def _uploads(client: Any, place: Location, now: Any, live: set[str]) -> Iterator[Leftover]:
    prefix = f"{place.key}/" if place.key else ""
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=place.bucket, Prefix=prefix):
        for entry in page.get("Uploads", ()):
            folder, _, rest = str(entry["Key"]).removeprefix(prefix).partition("/")
            if folder in _FOLDERS and rest.split("/")[0] not in live:
                yield Leftover(
                    kind="upload",
                    place=str(Location(place.bucket, str(entry["Key"]))),
                    size=0,
                    hours=_hours(now, entry["Initiated"]),
                    tag=str(entry["UploadId"]),
                )


def _objects(client: Any, place: Location, folder: str) -> Iterator[tuple[str, Any]]:
    start = f"{place.key}/" if place.key else ""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=f"{start}{folder}/"):
        for entry in page.get("Contents", ()):
            yield str(entry["Key"]).removeprefix(start), entry


def _clock(client: Any, place: Location) -> Any:
    """Return the time by the store's own clock."""
    from email.utils import parsedate_to_datetime

    answer = client.list_objects_v2(Bucket=place.bucket, Prefix=place.key, MaxKeys=1)
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def _hours(now: Any, then: Any) -> float:
    return round(float((now - then).total_seconds()) / HOUR, 2)


def _remove_objects(root: str, leftovers: list[Leftover]) -> None:
    """Remove objects and uploads; files of a bake only under its lease, so that nobody publishes it meanwhile."""
    place = Location.parse(root)
    client = connect(place.scheme)
    with talking_about(root):
        for left in leftovers:
            if left.kind != "no manifest":
                _remove_object(client, left)
        unreal = [left for left in leftovers if left.kind == "no manifest"]
        for bake in sorted({_bake(place, left) for left in unreal}):
            _remove_bake(root, client, bake, [left for left in unreal if _bake(place, left) == bake])


def _remove_bake(root: str, client: Any, bake: str, leftovers: list[Leftover]) -> None:
    publication = S3Publication(root)

    def settled() -> bool:
        published = publication.published(bake) or publication.published_champion(bake)
        return bool(published or publication.verdict(bake))

    with leased(publication.lease(bake), settled) as held:
        for left in leftovers if held is not None else ():
            _remove_object(client, left)


def _bake(place: Location, left: Leftover) -> str:
    return left.place.removeprefix(f"{place / ''}").split("/")[1]


def _remove_object(client: Any, left: Leftover) -> None:
    at = Location.parse(left.place)
    target = {"Bucket": at.bucket, "Key": at.key}
    if left.kind == "upload":
        client.abort_multipart_upload(**target, UploadId=left.tag)
    else:
        client.delete_object(**target)


def _in_directory(root: Path) -> Iterator[Leftover]:
    if not root.is_dir():
        raise InputError(f"{root} is no directory; give a publication root, a directory or s3://bucket/prefix")
    now = _directory_clock(root)
    live = {
        path.stem
        for path in root.glob("leases/*.json")
        if not path.name.startswith(".") and now - path.stat().st_mtime < HOUR
    }
    for folder in _FOLDERS:
        for path in sorted((root / folder).glob("*")):
            bake = path.name.lstrip(".").split(".")[0]
            if bake in live:
                continue
            if path.name.startswith("."):
                yield _described("prepared", path, now)
            elif folder == "leases":
                yield _described("lease", path, now)
            elif folder in _REAL and path.is_dir() and not _real(path):
                yield _described("no manifest", path, now)


def _directory_clock(root: Path) -> float:
    """Return the time by the clock of the file system, which may be another machine's."""
    try:
        with tempfile.NamedTemporaryFile(dir=root, prefix=".clock.") as file:
            file.write(b".")
            file.flush()
            return Path(file.name).stat().st_mtime
    except OSError:
        # Read-only: nothing is going to be removed.
        return time.time()


def _in_cache() -> Iterator[Leftover]:
    now = time.time()
    for path in (*sorted(cache_directory().glob(".*")), *sorted((cache_home() / "wandb").rglob(".*.partial"))):
        name = path.name.removesuffix(".partial").removesuffix(".parts")
        if name == path.name:
            continue
        lock = filelock.FileLock(path.with_name(f"{name}.lock"))
        try:
            with lock.acquire(timeout=0):
                yield _described("download", path, now)
        except filelock.Timeout:
            continue


def _real(path: Path) -> bool:
    return (path / _REAL.get(path.parent.name, "manifest.json")).is_file()


def _described(kind: Any, path: Path, now: float) -> Leftover:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    seen = [file.lstat() for file in files]
    size = sum(about.st_size for file, about in zip(files, seen, strict=True) if not file.is_dir())
    newest = max(about.st_mtime for about in seen)
    return Leftover(kind=kind, place=str(path), size=size, hours=round((now - newest) / HOUR, 2))


def _remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
