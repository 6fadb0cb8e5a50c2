"""Models in buckets, `s3://bucket/prefix`, `s3://bucket/model.gguf` or `minio://...`; see `storage.s3_download`."""

from pathlib import Path

from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST
from agent_forge.storage.moving import Watcher
from agent_forge.storage.s3 import Location, connect, get_object, talking_about
from agent_forge.storage.s3_download import fetch


class BucketReference:
    """A model's prefix, or one file, in a bucket."""

    def __init__(self, reference: str) -> None:
        self._reference = reference

    def path(self, watcher: Watcher | None = None) -> Path:
        """Return the local copy."""
        return fetch(self._reference, watcher)

    def uri(self, path: Path) -> str:  # noqa: ARG002 - what the protocol asks
        """Return the reference itself."""
        return self._reference

    def revision(self, path: Path) -> None:
        """Return None: the model is told by its digest."""

    def manifest(self) -> bytes | None:
        """Return the manifest's bytes without fetching the model."""
        place = Location.parse(self._reference) / MANIFEST
        with talking_about(place):
            found = get_object(connect(place.scheme), place)
            return bytes(found["Body"].read(LARGEST_MANIFEST + 1)) if found else None
