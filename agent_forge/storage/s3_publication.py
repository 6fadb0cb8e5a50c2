"""Publishing to S3: under a lease, files first, each checked after the upload, the manifest last and only once.

ROOT/baked/<bake id>/model files ..., manifest.json      real: the manifest is there
ROOT/baked/latest.json                                   names the bake whose publication was completed last
ROOT/rejected/<bake id>/model files ..., REJECTED.json   kept aside: no manifest, another name
ROOT/verdicts/<bake id>/verdict.json, report.html        what a run found that published nothing
ROOT/leases/<bake id>.json                               held by the run that works on that bake
ROOT/champions/<digest>/model files ..., manifest.json   evolved, not baked yet

A file is written once: a publisher that slept while another one took its lease over can neither change what the other
has written nor find its own files changed, whichever of them writes the manifest. Only what an interrupted publication
of other bytes left behind is replaced, an hour after it was written. Ages are taken from the store's own clock.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from agent_forge.errors import InputError, OutputError, StoreError
from agent_forge.evolution_records import ChampionManifest
from agent_forge.records import Alias, FileRecord, Manifest, Record, Verdict, VerificationReport, parse_record
from agent_forge.storage.files import file_sha256, list_files, list_names
from agent_forge.storage.lease import LEASE_SECONDS, Held, Lease, check_held, leased
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST, AnyManifest, manifest_text
from agent_forge.storage.minisign import SIGNATURE
from agent_forge.storage.moving import Moving, Watcher
from agent_forge.storage.s3 import ATTEMPTS, Location, connect, get_object, talking_about
from agent_forge.storage.s3_upload import Stored, described, expected_etag, object_sha256, put_file, put_text, stored

# No publisher sleeps that long between two requests and goes on.
LEFT_BEHIND_SECONDS = 3600.0
# Uploads of one model put at most this many of its files side by side; large files go in parts besides.
_FILES_AT_ONCE = 2
_TRIES = 20

R = TypeVar("R", bound=Record)


class S3Publication:
    """A publication root in a bucket.

    Args:
        root: `s3://bucket/prefix`.
        lease_seconds: silence after which a holder counts as dead.
        attempts: how often a request is made before it has failed.
    """

    def __init__(self, root: str, lease_seconds: float = LEASE_SECONDS, attempts: int = ATTEMPTS) -> None:
        self._root = Location.parse(root)
        self._client = connect(self._root.scheme, attempts)
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

    def published_champion(self, digest: str) -> str | None:
        """Return the URI of an evolved champion's manifest when that is published, else None."""
        place = self._root / "champions" / digest / MANIFEST
        with talking_about(self._root):
            return str(place) if stored(self._client, place) else None

    def check(self) -> None:
        """Write, and see that a condition on writing is kept, without which nothing here is safe.

        Raises:
            InputError: when it cannot be written to, or is written to whatever the condition.
            StoreError: when the store does not answer.
        """
        place = self._root / "probes" / uuid.uuid4().hex
        with talking_about(self._root):
            first = put_text(self._client, place, "1", None)
            second = put_text(self._client, place, "2", None)
            self._client.delete_object(Bucket=place.bucket, Key=place.key)
        if first is not None and second is not None:
            raise InputError(
                f"{self._root}: the store does not keep If-None-Match, so two runs could overwrite each other's model; "
                "publish to a store that does"
            )

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake.

        Raises:
            InputError: when it is none.
            StoreError: when there is none.
        """
        place = self._place(bake_id) / MANIFEST
        with talking_about(place):
            if (found := read_object(self._client, Manifest, place)) is None:
                raise StoreError(f"{place} is not there any more; run again")
            return found[0]

    def verdict(self, bake_id: str) -> Verdict | None:
        """Return what a run of this bake found that published nothing, None when there was none."""
        with talking_about(self._root):
            found = read_object(self._client, Verdict, self._root / "verdicts" / bake_id / "verdict.json")
            return found[0] if found else None

    def lease(self, bake_id: str) -> "S3Lease":
        """Return the place of a bake's lease."""
        return S3Lease(self._client, self._root / "leases" / f"{bake_id}.json", self._lease_seconds)

    def publish(self, model: Path, manifest: Manifest, held: Held | None = None, watcher: Watcher | None = None) -> str:
        """Publish a verified model; a no-op when the same bake is there already.

        Args:
            model: directory of the baked model.
            manifest: its `files` must describe exactly what is in `model`.
            held: the lease of the run, where it holds one; else one is held while publishing.
            watcher: is told how much is there.

        Returns:
            The manifest's URI.

        Raises:
            InputError: when the store refuses.
            LeaseLost: when another publisher took over; run again.
            StoreError: when it fails; run again.
        """
        place = self._place(manifest.bake_id)
        with talking_about(self._root):
            with self._leased(manifest.bake_id, place, held) as holding:
                if holding is not None:
                    self._put_model(model, manifest, place, holding, watcher)
            self.settle(manifest.bake_id)
        return str(place / MANIFEST)

    def publish_champion(
        self, model: Path, manifest: ChampionManifest, digest: str, watcher: Watcher | None = None
    ) -> str:
        """Publish an evolved champion under its digest; a no-op when it is there. Return the manifest's URI.

        Whoever publishes the same champion writes the same bytes; the lease keeps `forge gc` from removing some of them
        just before the manifest.
        """
        place = self._root / "champions" / digest
        with talking_about(self._root), self._leased(digest, place, None) as holding:
            if holding is not None:
                self._put_model(model, manifest, place, holding, watcher)
        return str(place / MANIFEST)

    def settle(self, bake_id: str) -> None:
        """Make `latest` name a published bake, by comparing and swapping, unless it did so before.

        Raises:
            StoreError: when it fails.
        """
        place = self._root / "baked" / "latest.json"
        with talking_about(place):
            for _ in range(_TRIES):
                there = read_object(self._client, Alias, place)
                if there and bake_id in there[0].bakes:
                    return
                alias = Alias.after(there[0] if there else None, bake_id, str(self._place(bake_id) / MANIFEST))
                put_text(self._client, place, alias.model_dump_json() + "\n", there[1] if there else None)
                time.sleep(0.05)
        raise StoreError(f"{place} is being moved by many publishers; run again")

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str, held: Held | None = None) -> str:
        """Keep a rejected model aside, labelled, never under the published name; return where."""
        place = self._root / "rejected" / bake_id
        with talking_about(self._root):
            check_held(held)
            label = place / "REJECTED.json"
            put_text(self._client, label, report.model_dump_json(indent=2) + "\n", stored(self._client, label))
            for file in list_files(model):
                self._put(model / file.path, file, place / file.path, held, replacing=True)
        return str(place)

    def keep_verdict(self, verdict: Verdict, report: str, held: Held | None = None) -> None:
        """Leave what a run found that published nothing; what is there already stays."""
        place = self._root / "verdicts" / verdict.bake_id
        with talking_about(self._root):
            check_held(held)
            if stored(self._client, place / "verdict.json") is None:
                page = place / "report.html"
                put_text(self._client, page, report, stored(self._client, page))
                put_text(self._client, place / "verdict.json", verdict.model_dump_json(indent=2) + "\n", None)

    def _place(self, bake_id: str) -> Location:
        return self._root / "baked" / bake_id

    def _put_model(
        self, model: Path, manifest: AnyManifest, place: Location, held: Held | None, watcher: Watcher | None
    ) -> None:
        if stored(self._client, place / MANIFEST) is not None:
            return
        if set(list_names(model)) - {MANIFEST, SIGNATURE} != {file.path for file in manifest.files}:
            raise OutputError(f"{model} changed while it was being published; run again")
        moving = Moving(watcher, "publishing", sum(file.size for file in manifest.files))
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            tasks = [
                pool.submit(self._put, model / file.path, file, place / file.path, held, moving.add)
                for file in manifest.files
            ]
            for task in tasks:
                task.result()
        check_held(held)
        put_text(self._client, place / MANIFEST, manifest_text(manifest), None)

    def _put(
        self,
        path: Path,
        file: FileRecord,
        place: Location,
        held: Held | None,
        moved: Callable[[int], None] = lambda _: None,
        replacing: bool = False,
    ) -> None:
        """Make a file lie at its place, unless it does already."""
        seen = stored(self._client, place)
        if seen is not None and self._is_there(path, file, seen):
            moved(file.size)
            return
        if not replacing and seen is not None and seen.age < LEFT_BEHIND_SECONDS:
            raise StoreError(
                f"{place}: an interrupted publication of this bake left other bytes {seen.age:,.0f} s ago; they are "
                f"replaced after {LEFT_BEHIND_SECONDS:,.0f} s: run again then, or remove them"
            )
        check_held(held)
        sent = put_file(self._client, place, path, seen, moved, file.sha256)
        found = stored(self._client, place)
        # A request whose answer was lost is repeated, and refused because of what it has written itself.
        if found is not None and (found.etag, found.size) == (sent.etag, file.size):
            return
        if not sent.written or found is None:
            raise StoreError(f"{place} was changed by another publisher; run again")
        if object_sha256(self._client, place) != file.sha256:
            raise StoreError(f"{place} differs from what was written; run again")

    def _is_there(self, path: Path, file: FileRecord, seen: Stored) -> bool:
        """Whether what lies there has the bytes of the file, which must be the one that is described."""
        if seen.size != file.size or seen.etag != expected_etag(path):
            return False
        if file_sha256(path) != file.sha256:
            raise OutputError(f"{path} changed while it was being published; run again")
        return True

    @contextlib.contextmanager
    def _leased(self, name: str, place: Location, held: Held | None) -> Iterator[Held | None]:
        """Hold the lease of a model, unless the run does; give None when it is published, by now or already.

        Args:
            name: of the lease: a bake's id, a champion's digest.
            place: of the model.
            held: the lease of the run, where it holds one.
        """
        if held is not None:
            yield held
            return
        manifest = place / MANIFEST

        def published() -> bool:
            return stored(self._client, manifest) is not None

        with leased(self.lease(name), published) as own:
            yield own


class S3Lease:
    """A lease that is an object; swaps are conditional writes."""

    def __init__(self, client: Any, place: Location, seconds: float = LEASE_SECONDS) -> None:
        self._client, self._place, self.seconds = client, place, seconds

    def __str__(self) -> str:
        return str(self._place)

    def read(self) -> tuple[Lease, str] | None:
        """Return the lease and its etag, None when there is none."""
        with talking_about(self._place):
            found = read_object(self._client, Lease, self._place)
        return (found[0], found[1].etag) if found else None

    def swap(self, lease: Lease, seen: str | None) -> str | None:
        """Write where the object `seen` still lies; return the new etag, None when it has changed."""
        with talking_about(self._place):
            before = None if seen is None else Stored(seen, 0)
            written = put_text(self._client, self._place, lease.model_dump_json(), before)
        return written.etag if written else None


def read_object(client: Any, kind: type[R], place: Location) -> tuple[R, Stored] | None:
    """Return the record that an object holds, and the object; None when there is none.

    Raises:
        InputError: when it is no such record.
    """
    if (found := get_object(client, place)) is None:
        return None
    text = found["Body"].read(LARGEST_MANIFEST).decode(errors="replace")
    return parse_record(kind, text, str(place)), described(found)
