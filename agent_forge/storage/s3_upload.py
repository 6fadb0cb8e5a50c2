"""Conditional writes to S3: a file replaces exactly what its writer saw, or nothing.

A writer that was paused for too long can so never overwrite what its successor wrote. Large files go in parts, side by
side; the condition is checked by the request that puts them together.
"""

import contextlib
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from agent_forge.storage.s3 import CONNECTIONS, Location, error_code, is_conflict, is_missing

PART = 16 * 2**20
# The protocol allows ten thousand parts.
_MOST_PARTS = 9_000


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


def put_file(
    client: Any, place: Location, path: Path, seen: Stored | None, moved: Callable[[int], None] = lambda _: None
) -> bool:
    """Write a file where `seen` still lies, nothing when it is None; return whether that still held.

    Memory: at most `CONNECTIONS` parts. `moved` is told the bytes of every part that is there.
    """
    from botocore.exceptions import ClientError

    try:
        if path.stat().st_size <= PART:
            client.put_object(Bucket=place.bucket, Key=place.key, Body=path.read_bytes(), **_condition(seen))
            moved(path.stat().st_size)
        else:
            _put_in_parts(client, place, path, seen, moved)
    except ClientError as cause:
        # A completed upload is gone: its completion is repeated when the answer to it was lost.
        if is_conflict(cause) or error_code(cause) == "NoSuchUpload":
            return False
        raise
    return True


def expected_etag(path: Path) -> str:
    """Return the etag of a file that was written by `put_file`: the MD5 (hex) of its bytes, or of its parts' MD5s.

    So Amazon S3 and compatible stores compute it over what they hold, unless they encrypt with keys of their own.
    """
    size, length = path.stat().st_size, part_length(path.stat().st_size)
    digests = []
    with path.open("rb") as stream:
        while part := stream.read(length):
            digests.append(hashlib.md5(part, usedforsecurity=False))
    if size <= PART:
        return digests[0].hexdigest() if digests else hashlib.md5(b"", usedforsecurity=False).hexdigest()
    together = hashlib.md5(b"".join(digest.digest() for digest in digests), usedforsecurity=False)
    return f"{together.hexdigest()}-{len(digests)}"


def object_sha256(client: Any, place: Location) -> str:
    """Return the sha256 (hex) of an object's bytes as they are read back."""
    digest = hashlib.sha256()
    for chunk in client.get_object(Bucket=place.bucket, Key=place.key)["Body"].iter_chunks(2**20):
        digest.update(chunk)
    return digest.hexdigest()


def part_length(size: int) -> int:
    """Return the bytes per part of a file of a size in bytes."""
    return max(PART, -(-size // _MOST_PARTS))


def _put_in_parts(client: Any, place: Location, path: Path, seen: Stored | None, moved: Callable[[int], None]) -> None:
    target = {"Bucket": place.bucket, "Key": place.key}
    upload = client.create_multipart_upload(**target)["UploadId"]
    size = path.stat().st_size
    length = part_length(size)

    def put(number: int) -> dict[str, object]:
        with path.open("rb") as stream:
            stream.seek((number - 1) * length)
            body = stream.read(length)
        found = client.upload_part(**target, UploadId=upload, PartNumber=number, Body=body)
        moved(len(body))
        return {"PartNumber": number, "ETag": found["ETag"]}

    try:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = list(pool.map(put, range(1, -(-size // length) + 1)))
        together = {"Parts": parts}
        client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload=together, **_condition(seen))
    except BaseException:
        # What cannot be removed now is found by `forge gc`; why it is to be removed says more.
        with contextlib.suppress(Exception):
            client.abort_multipart_upload(**target, UploadId=upload)
        raise


def _condition(seen: Stored | None) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if seen is None else {"IfMatch": f'"{seen.etag}"'}
