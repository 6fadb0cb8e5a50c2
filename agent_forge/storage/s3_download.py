"""Fetching models from S3 into a cache: in parts, side by side, continued after an interruption, checked at the end.

CACHE/s3/<name>/               whole: it was moved here when every byte had been checked
CACHE/s3/.<name>.fetched.json  its files, and the boot of the machine in which it was fetched
CACHE/s3/.<name>.partial/      files, and beside it in `.<name>.parts` the numbers of the parts that are there

The name is a digest of keys, etags and sizes: a model that changes in its bucket is another model in the cache.
Processes that want the same model wait for one of them to fetch it.

Bytes are checked while others come, and are not forced to the disk, which is slower than many networks: in another
boot of the machine than the one in which they were fetched they are checked again.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from agent_forge.errors import ChampionError, CheckFailed, StoreError
from agent_forge.records import FileRecord, Manifest
from agent_forge.storage.arriving import Arriving
from agent_forge.storage.fetched import is_whole, keep_whole
from agent_forge.storage.files import cache_home, writing_to
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST, is_ours, parse_manifest
from agent_forge.storage.minisign import SIGNATURE
from agent_forge.storage.moving import Moving, Watcher
from agent_forge.storage.s3 import CONNECTIONS, Location, connect, safe_name, talking_about
from agent_forge.storage.s3_upload import PART, stored

_TRIES = 5
_CHUNK = 2**18


@dataclass(frozen=True)
class Remote:
    """A file of a model in a bucket: its path in the model, where it lies, its etag without quotes and its bytes."""

    name: str
    place: Location
    etag: str
    size: int


def cache_directory() -> Path:
    """Return where downloads from buckets are kept."""
    return cache_home() / "s3"


def fetch(uri: str, watcher: Watcher | None = None) -> Path:
    """Return the local copy of a model in a bucket, fetched unless it is there already.

    Args:
        uri: `s3://bucket/prefix` of a model's files, or `s3://bucket/model.gguf`.
        watcher: is told how much has arrived.

    Raises:
        ChampionError: when there is no model, or a name in it leads out of its directory.
        InputError: for credentials or a bucket that are not right.
        CheckFailed: naming a file that its manifest describes and that is missing or differs.
        StoreError: when the store fails again and again, or what arrived is not what it listed.
    """
    place = Location.parse(uri)
    client = connect(place.scheme)
    with talking_about(uri):
        files = _listed(client, place)
        if not files:
            raise ChampionError(f"{uri}: nothing is there; give the prefix of a model's files, or a .gguf file")
        manifest = _manifest(client, files)
        files = _named_by(manifest, files, uri)
        whole = cache_directory() / _digest(client, files)
        with writing_to(whole.parent):
            whole.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(whole.parent / f".{whole.name}.lock"):
                if not is_whole(whole):
                    _fetch_all(client, files, manifest, whole, watcher)
    return whole / files[0].name if place.key.endswith(".gguf") else whole


def _listed(client: Any, place: Location) -> list[Remote]:
    if place.key.endswith(".gguf"):
        return _single(client, place)
    prefix = f"{place.key}/" if place.key else ""
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            name = str(entry["Key"]).removeprefix(prefix)
            if not name or name.endswith("/") or any(part.startswith(".") and part != ".." for part in name.split("/")):
                continue
            if not safe_name(name):
                raise ChampionError(f"{place}: the name {name!r} leads out of the model; it is not to be trusted")
            etag = str(entry["ETag"]).strip('"')
            found.append(
                Remote(name, Location(place.bucket, str(entry["Key"]), place.scheme), etag, int(entry["Size"]))
            )
    return found


def _single(client: Any, place: Location) -> list[Remote]:
    found = stored(client, place)
    return [Remote(place.key.rsplit("/", 1)[-1], place, found.etag, found.size)] if found else []


def _manifest(client: Any, files: Sequence[Remote]) -> Manifest | None:
    """Return the manifest of a model that was published by this package, None for any other model."""
    found = next((file for file in files if file.name == MANIFEST), None)
    if found is None:
        return None
    if found.size > LARGEST_MANIFEST:
        raise ChampionError(f"{found.place} has {found.size:,} bytes, which no manifest has; it is not to be trusted")
    text = client.get_object(Bucket=found.place.bucket, Key=found.place.key, IfMatch=f'"{found.etag}"')["Body"].read()
    return parse_manifest(text, str(found.place)) if is_ours(text) else None


def _named_by(manifest: Manifest | None, files: list[Remote], uri: str) -> list[Remote]:
    """Leave what an interrupted publication may have left beside the files of a manifest."""
    if manifest is None:
        return files
    wanted = {file.path for file in manifest.files} | {MANIFEST}
    if missing := sorted(wanted - {file.name for file in files}):
        raise CheckFailed(f"{uri}: {missing[0]} is missing; the manifest names it")
    return [file for file in files if file.name in wanted | {SIGNATURE}]


def _digest(client: Any, files: Sequence[Remote]) -> str:
    lines = [f"{client.meta.endpoint_url}\n", *(f"{file.etag} {file.size} {file.place}\n" for file in files)]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _fetch_all(
    client: Any, files: Sequence[Remote], manifest: Manifest | None, whole: Path, watcher: Watcher | None
) -> None:
    partial = whole.parent / f".{whole.name}.partial"
    # Beside the model, not in it: it moves to its final name as a whole.
    records = whole.parent / f".{whole.name}.parts"
    for file in files:
        (partial / file.name).parent.mkdir(parents=True, exist_ok=True)
        (partial / file.name).touch()
    records.mkdir(exist_ok=True)
    missing = [part for file in files for part in _missing_parts(file, _record(records, file))]
    total, coming = sum(file.size for file in files), sum(_part_size(file, number) for file, number in missing)
    moving = Moving(watcher, "fetching", total, total - coming)
    expected = {file.path: file.sha256 for file in manifest.files} if manifest else {}
    arriving = {file: _arriving(file, partial, missing, file.name not in expected) for file in files}

    def fetch_part(file: Remote, number: int) -> None:
        _fetch_part(client, file, number, partial, records, moving)
        arriving[file].read_on(number)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        tasks = [pool.submit(fetch_part, *part) for part in missing]
        tasks += [pool.submit(there.read_on) for there in arriving.values()]
        for task in tasks:
            task.result()
    digests = {file: there.digests() for file, there in arriving.items()}
    for file in files:
        if not _arrived_whole(client, file, *digests[file], expected.get(file.name)):
            _record(records, file).unlink(missing_ok=True)
            if file.name in expected:
                raise CheckFailed(f"{file.place} is not what the manifest says, or arrived damaged; run again to see")
            raise StoreError(f"{file.place} arrived damaged or changed meanwhile; run again to fetch it anew")
    keep_whole(partial, whole, [FileRecord(path=f.name, sha256=digests[f][0], size=f.size) for f in files])
    for record in records.iterdir():
        record.unlink()
    records.rmdir()


def _arriving(file: Remote, partial: Path, missing: Sequence[tuple[Remote, int]], by_etag: bool) -> Arriving:
    """Begin to follow a file; one that can be checked by its etag only, where that is an MD5, needs that."""
    awaited = {number for other, number in missing if other is file}
    there = set(range(-(-file.size // PART))) - awaited
    return Arriving(partial / file.name, file.size, PART, there, by_etag and "-" not in file.etag)


def _record(records: Path, file: Remote) -> Path:
    return records / hashlib.sha256(file.name.encode()).hexdigest()


def _missing_parts(file: Remote, record: Path) -> list[tuple[Remote, int]]:
    done = {int(line) for line in record.read_text().split()} if record.exists() else set()
    return [(file, number) for number in range(-(-file.size // PART)) if number not in done]


def _part_size(file: Remote, number: int) -> int:
    return min(PART, file.size - number * PART)


def _fetch_part(client: Any, file: Remote, number: int, partial: Path, records: Path, moving: Moving) -> None:
    """Fetch one part to its place in the file, then note that it is there."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

    first, last = number * PART, min((number + 1) * PART, file.size) - 1
    for attempt in range(_TRIES):
        try:
            _copy_range(client, file, first, last, partial / file.name)
            break
        # What breaks while a body is read is not retried by the client.
        except (HTTPClientError, IncompleteReadError, ResponseStreamingError):
            if attempt == _TRIES - 1:
                raise
            time.sleep(2**attempt / 10)
    with _record(records, file).open("a") as record:
        record.write(f"{number}\n")
    moving.add(_part_size(file, number))


def _copy_range(client: Any, file: Remote, first: int, last: int, target: Path) -> None:
    found = client.get_object(
        Bucket=file.place.bucket, Key=file.place.key, Range=f"bytes={first}-{last}", IfMatch=f'"{file.etag}"'
    )
    handle, offset = os.open(target, os.O_WRONLY), first
    try:
        for chunk in found["Body"].iter_chunks(_CHUNK):
            offset += _write_all(handle, chunk, offset)
    finally:
        found["Body"].close()
        os.close(handle)
    if offset != last + 1:
        raise StoreError(f"{file.place}: {offset - first:,} bytes came instead of {last + 1 - first:,}; run again")


def _write_all(handle: int, chunk: bytes, offset: int) -> int:
    """Write every byte: a disk that fills up takes some of them before it refuses."""
    written = 0
    while written < len(chunk):
        written += os.pwrite(handle, memoryview(chunk)[written:], offset + written)
    return written


def _arrived_whole(client: Any, file: Remote, sha256: str, md5: str | None, expected: str | None) -> bool:
    """Compare with the manifest's digest or, where there is none, with the etag as far as that is one of the bytes."""
    if expected is not None:
        return sha256 == expected
    if "-" in file.etag or md5 == file.etag:
        return True
    # A store that encrypts with keys of its own has other etags.
    kind = client.head_object(Bucket=file.place.bucket, Key=file.place.key).get("ServerSideEncryption", "")
    return str(kind).startswith("aws:kms")
