"""Publishing to S3: under a lease, files first, each checked after the upload, the manifest last and only once.

ROOT/baked/<bake id>/model files ..., manifest.json      real: the manifest is there
ROOT/baked/latest.json                                   names the bake that was published last
ROOT/rejected/<bake id>/model files ..., REJECTED.json   kept aside: no manifest, another name
ROOT/leases/<bake id>.json                               held by whoever publishes that bake right now

A file is written once: a publisher that slept while another one took its lease over can neither change what the other
has written nor find its own files changed, whichever of them writes the manifest. Only what an interrupted publication
of other bytes left behind is replaced, an hour after it was written. Ages are taken from the store's own clock.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agent_forge.errors import OutputError, StoreError
from agent_forge.records import FileRecord, Manifest, Record, VerificationReport, parse_record
from agent_forge.storage.files import list_files
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST
from agent_forge.storage.s3 import Location, connect, is_missing, talking_about
from agent_forge.storage.s3_upload import Stored, described, expected_etag, object_sha256, put_file, put_text, stored

# A holder that has not been heard of for this many seconds is dead.
LEASE_SECONDS = 60.0
# No publisher sleeps that long between two requests and goes on.
LEFT_BEHIND_SECONDS = 3600.0
# Uploads of one model put at most this many of its files side by side; large files go in parts besides.
_FILES_AT_ONCE = 2
_TRIES = 20


class Lease(Record):
    """Who publishes a bake: a random name, and how often the lease has changed hands."""

    holder: str
    term: int


class Alias(Record):
    """What an alias points to."""

    bake_id: str
    manifest: str


@dataclass
class Held:
    """A lease that this process holds; `seen` is the object as this process last wrote it."""

    place: Location
    lease: Lease
    seen: Stored


class S3Publication:
    """A publication root in a bucket.

    Args:
        root: `s3://bucket/prefix`.
        lease_seconds: silence after which a holder counts as dead.
    """

    def __init__(self, root: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._root = Location.parse(root)
        self._client = connect()
        self._lease_seconds = lease_seconds

    def published(self, bake_id: str) -> str | None:
        """Return the manifest's URI when this bake is published, else None.

        Raises:
            InputError: when there is no such bucket, which is better said before anything is spent.
        """
        place = self._place(bake_id) / MANIFEST
        with talking_about(self._root):
            if stored(self._client, place):
                return str(place)
            # Listing names a missing bucket; asking for one object in it only says that it is not there.
            self._client.list_objects_v2(Bucket=place.bucket, Prefix=place.key, MaxKeys=1)
        return None

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake.

        Raises:
            InputError: when it is none.
        """
        place = self._place(bake_id) / MANIFEST
        with talking_about(self._root):
            found = self._client.get_object(Bucket=place.bucket, Key=place.key)
            return parse_record(Manifest, found["Body"].read(LARGEST_MANIFEST).decode(errors="replace"), str(place))

    def publish(self, model: Path, manifest: Manifest) -> str:
        """Publish a verified model; a no-op when the same bake is there already.

        Args:
            model: directory of the baked model.
            manifest: its `files` must describe exactly what is in `model`.

        Returns:
            The manifest's URI.

        Raises:
            InputError: when the store refuses.
            StoreError: when it fails, or another publisher took over; run again.
        """
        place = self._place(manifest.bake_id)
        with talking_about(self._root):
            with self._leased(manifest.bake_id) as held:
                if held is not None:
                    self._put_files(model, manifest.files, place, held)
                    self._check_held(held)
                    put_text(self._client, place / MANIFEST, manifest.model_dump_json(indent=2) + "\n", None)
            self._point("latest", Alias(bake_id=manifest.bake_id, manifest=str(place / MANIFEST)))
        return str(place / MANIFEST)

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str) -> str:
        """Keep a rejected model aside, labelled, never under the published name; return where."""
        place = self._root / "rejected" / bake_id
        with talking_about(self._root):
            label = place / "REJECTED.json"
            put_text(self._client, label, report.model_dump_json(indent=2) + "\n", stored(self._client, label))
            for file in list_files(model):
                self._put(model / file.path, file, place / file.path, None)
        return str(place)

    def _place(self, bake_id: str) -> Location:
        return self._root / "baked" / bake_id

    def _put_files(self, model: Path, files: tuple[FileRecord, ...], place: Location, held: Held) -> None:
        if list_files(model) != files:
            raise OutputError(f"{model} changed while it was being published; run again")
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            for task in [pool.submit(self._put, model / file.path, file, place / file.path, held) for file in files]:
                task.result()

    def _put(self, path: Path, file: FileRecord, place: Location, held: Held | None) -> None:
        """Make a file lie at its place, unless it does already."""
        etag = expected_etag(path)
        seen = stored(self._client, place)
        if seen is not None and (seen.etag, seen.size) == (etag, file.size):
            return
        if held is not None and seen is not None and seen.age < LEFT_BEHIND_SECONDS:
            raise StoreError(
                f"{place}: an interrupted publication of this bake left other bytes {seen.age:,.0f} s ago; they are "
                f"replaced after {LEFT_BEHIND_SECONDS:,.0f} s: run again then, or remove them"
            )
        self._check_held(held)
        written = put_file(self._client, place, path, seen)
        if not written or (found := stored(self._client, place)) is None:
            raise StoreError(f"{place} was changed by another publisher; run again")
        if found.etag != etag and object_sha256(self._client, place) != file.sha256:
            raise StoreError(f"{place} differs from what was written; run again")

    @contextlib.contextmanager
    def _leased(self, bake_id: str) -> Iterator[Held | None]:
        """Hold the lease of a bake; give None when the bake is published, by now or already."""
        held = self._acquire(bake_id)
        if held is None:
            yield None
            return
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(held, ended), daemon=True)
        keeper.start()
        try:
            yield held
        finally:
            ended.set()
            keeper.join()
            self._release(held)

    def _acquire(self, bake_id: str) -> Held | None:
        place = self._root / "leases" / f"{bake_id}.json"
        while stored(self._client, self._place(bake_id) / MANIFEST) is None:
            found = self._lease(place)
            if found is None or found[1].age > self._lease_seconds:
                term = found[0].term + 1 if found else 1
                lease = Lease(holder=uuid.uuid4().hex, term=term)
                seen = put_text(self._client, place, lease.model_dump_json(), found[1] if found else None)
                if seen is not None:
                    return Held(place, lease, seen)
            time.sleep(min(1.0, self._lease_seconds / 10))
        return None

    def _lease(self, place: Location) -> tuple[Lease, Stored] | None:
        """Return a lease and the object that it is; None when nobody holds one."""
        from botocore.exceptions import ClientError

        try:
            found = self._client.get_object(Bucket=place.bucket, Key=place.key)
        except ClientError as cause:
            if is_missing(cause):
                return None
            raise
        lease = parse_record(Lease, found["Body"].read(LARGEST_MANIFEST).decode(errors="replace"), str(place))
        return lease, described(found)

    def _check_held(self, held: Held | None) -> None:
        """Refuse to write after another publisher took over."""
        if held is None:
            return
        found = self._lease(held.place)
        if found is None or found[0] != held.lease:
            raise StoreError(f"{held.place}: another publisher took over; run again to see what became of it")

    def _keep(self, held: Held, ended: threading.Event) -> None:
        """Renew a lease until it is given up or lost; who lost it finds out before the next write."""
        while not ended.wait(self._lease_seconds / 4):
            with contextlib.suppress(Exception):
                seen = put_text(self._client, held.place, held.lease.model_dump_json(), held.seen)
                if seen is None:
                    return
                held.seen = seen

    def _release(self, held: Held) -> None:
        """Delete a lease that is still this process's own, as far as the store can be reached.

        Whoever takes over between the look and the deletion loses the lease and finds out before its next write.
        """
        with contextlib.suppress(Exception):
            self._check_held(held)
            self._client.delete_object(Bucket=held.place.bucket, Key=held.place.key)

    def _point(self, name: str, alias: Alias) -> None:
        """Make an alias point to a manifest, by comparing and swapping."""
        place, text = self._root / "baked" / f"{name}.json", alias.model_dump_json() + "\n"
        for _ in range(_TRIES):
            if put_text(self._client, place, text, stored(self._client, place)) is not None:
                return
            time.sleep(0.05)
        raise StoreError(f"{place} is being moved by many publishers; run again")
