"""Conditional writes to S3: a file replaces exactly what its writer saw, or nothing.

A writer that was paused for too long can so never overwrite what its successor wrote. Large files go in parts, side by
side; the condition is checked by the request that puts them together.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from agent_forge.errors import OutputError
from agent_forge.storage.s3 import CONNECTIONS, Location, error_code, is_conflict, is_missing

PART = 16 * 2**20
# The protocol allows ten thousand parts.
_MOST_PARTS = 9_000

T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """An object as the store describes it: etag without quotes, size in bytes, age in seconds by the store's clock."""

    etag: str
    size: int
    age: float = 0.0


def stored(client: Any, place: Location) -> Stored | None:
    """Return what lies at a place, None when nothing does."""
    from botocore.exceptions import ClientError

    try:
        found = client.head_object(Bucket=place.bucket, Key=place.key)
    except ClientError as cause:
        if is_missing(cause):
            return None
        if error_code(cause) in {"400", "403"}:
            # An answer that has no body gives no reason; the answer to this gives it.
            client.get_object(Bucket=place.bucket, Key=place.key)["Body"].close()
        raise
    return described(found)


def described(answer: Any) -> Stored:
    """Read what an answer says about the object that it is about."""
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    age = (now - answer["LastModified"]).total_seconds()
    return Stored(str(answer["ETag"]).strip('"'), int(answer["ContentLength"]), age)


def put_text(client: Any, place: Location, text: str, seen: Stored | None) -> Stored | None:
    """Write a small object where `seen` still lies, nothing when it is None; return None when that has changed."""
    from botocore.exceptions import ClientError

    body = text.encode()
    try:
        found = client.put_object(Bucket=place.bucket, Key=place.key, Body=body, **_condition(seen))
    except ClientError as cause:
        if is_conflict(cause) or is_missing(cause):
            return None
        raise
    return Stored(str(found["ETag"]).strip('"'), len(body))


@dataclass(frozen=True)
class Sent:
    """What became of a file that was sent: the etag of its bytes, and whether the condition on writing them held."""

    etag: str
    written: bool


def put_file(
    client: Any,
    place: Location,
    path: Path,
    seen: Stored | None,
    moved: Callable[[int], None] = lambda _: None,
    sha256: str | None = None,
) -> Sent:
    """Write a file where `seen` still lies, nothing when it is None.

    Memory: at most `CONNECTIONS` parts.

    Args:
        client: of the store.
        place: to write to.
        path: of the file; it is read once.
        seen: what lies at the place.
        moved: is told the bytes of every part that is there.
        sha256: what the file's bytes must have; bytes that differ are never readable at the place.

    Raises:
        OutputError: when they differ.
    """
    if path.stat().st_size > PART:
        return _put_in_parts(client, place, path, seen, moved, sha256)
    body = path.read_bytes()
    if sha256 is not None:
        _check_unchanged(path, hashlib.sha256(body).hexdigest(), sha256)
    target = {"Bucket": place.bucket, "Key": place.key}
    written = _kept(lambda: client.put_object(**target, Body=body, **_condition(seen)))
    moved(len(body))
    return Sent(_md5(body).hexdigest(), written)


def expected_etag(path: Path) -> str:
    """Return the etag of a file that was written by `put_file`: the MD5 (hex) of its bytes, or of its parts' MD5s.

    So Amazon S3 and compatible stores compute it over what they hold, unless they encrypt with keys of their own.
    """
    size, length = path.stat().st_size, part_length(path.stat().st_size)
    with path.open("rb") as stream:
        if size <= PART:
            return _md5(stream.read()).hexdigest()
        return _etag_of_parts([_md5(part).digest() for part in iter(lambda: stream.read(length), b"")])


def object_sha256(client: Any, place: Location) -> str:
    """Return the sha256 (hex) of an object's bytes as they are read back."""
    digest = hashlib.sha256()
    for chunk in client.get_object(Bucket=place.bucket, Key=place.key)["Body"].iter_chunks(2**20):
        digest.update(chunk)
    return digest.hexdigest()


def part_length(size: int) -> int:
    """Return the bytes per part of a file of a size in bytes."""
    return max(PART, -(-size // _MOST_PARTS))


def _put_in_parts(
    client: Any, place: Location, path: Path, seen: Stored | None, moved: Callable[[int], None], sha256: str | None
) -> Sent:
    target = {"Bucket": place.bucket, "Key": place.key}
    upload = client.create_multipart_upload(**target)["UploadId"]

    def put(number: int, body: bytes) -> tuple[dict[str, object], bytes]:
        found = client.upload_part(**target, UploadId=upload, PartNumber=number, Body=body)
        moved(len(body))
        return {"PartNumber": number, "ETag": found["ETag"]}, _md5(body).digest()

    try:
        digest = hashlib.sha256()
        parts = _side_by_side(put, _read_in_parts(path, digest.update))
        if sha256 is not None:
            _check_unchanged(path, digest.hexdigest(), sha256)
        together = {"Parts": [part for part, _ in parts]}
        complete = {**target, "UploadId": upload, "MultipartUpload": together, **_condition(seen)}
        written = _kept(lambda: client.complete_multipart_upload(**complete))
        return Sent(_etag_of_parts([md5 for _, md5 in parts]), written)
    except BaseException:
        # What cannot be removed now is found by `forge gc`; why it is to be removed says more.
        with contextlib.suppress(Exception):
            client.abort_multipart_upload(**target, UploadId=upload)
        raise


def _read_in_parts(path: Path, read: Callable[[bytes], None]) -> Iterator[bytes]:
    length = part_length(path.stat().st_size)
    with path.open("rb") as stream:
        while body := stream.read(length):
            read(body)
            yield body


def _side_by_side(put: Callable[[int, bytes], T], bodies: Iterator[bytes]) -> list[T]:
    """Put every part, numbered from 1, `CONNECTIONS` at once; no more of them are read than are being put."""
    free, failed = threading.Semaphore(CONNECTIONS), threading.Event()
    tasks: list[Future[T]] = []

    def ended(task: Future[T]) -> None:
        if task.cancelled() or task.exception() is not None:
            failed.set()
        free.release()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        free.acquire()
        for number, body in enumerate(bodies, start=1):
            tasks.append(pool.submit(put, number, body))
            tasks[-1].add_done_callback(ended)
            free.acquire()
            if failed.is_set():
                break
        return [task.result() for task in tasks]


def _kept(write: Callable[[], object]) -> bool:
    """Write, and return whether the condition on it held."""
    from botocore.exceptions import ClientError

    try:
        write()
    except ClientError as cause:
        # A completed upload is gone: its completion is repeated when the answer to it was lost.
        if is_conflict(cause) or error_code(cause) == "NoSuchUpload":
            return False
        raise
    return True


def _check_unchanged(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise OutputError(f"{path} changed while it was being published; run again")


def _md5(body: bytes) -> "hashlib._Hash":
    return hashlib.md5(body, usedforsecurity=False)


def _etag_of_parts(digests: list[bytes]) -> str:
    return f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def _condition(seen: Stored | None) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if seen is None else {"IfMatch": f'"{seen.etag}"'}
