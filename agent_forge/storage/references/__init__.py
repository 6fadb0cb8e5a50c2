"""References to champions and published models: one protocol, one file per scheme.

    DIRECTORY  MODEL.gguf  file://  bundled://    local.py
    s3://bucket/prefix  minio://bucket/prefix     bucket.py
    hf://owner/name[@revision]  owner/name        hub.py
    wandb://entity/project/name:alias             weights_and_biases.py

`bundled://champion` is the champion that comes with this package, wherever that is installed.
"""

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from agent_forge.errors import ChampionError
from agent_forge.storage.moving import Watcher
from agent_forge.storage.references.bucket import BucketReference
from agent_forge.storage.references.hub import HubReference
from agent_forge.storage.references.local import LocalReference, bundled_configuration, is_local
from agent_forge.storage.references.weights_and_biases import ArtifactReference

__all__ = ["Reference", "bundled_configuration", "find"]


class Reference(Protocol):
    """What a model is found by."""

    def path(self, watcher: Watcher | None = None) -> Path:
        """Return the local copy of the whole model, fetched and checked unless it is there already.

        Args:
            watcher: is told how many bytes have come, by the schemes that can tell.

        Raises:
            ForgeError: when there is none, or it cannot be had.
        """
        ...

    def uri(self, path: Path) -> str:
        """Return what other processes find the model by that was fetched to `path`, pinned where that is possible."""
        ...

    def revision(self, path: Path) -> str | None:
        """Return what pins the model at `path` in a store that has versions, None elsewhere."""
        ...

    def manifest(self) -> bytes | None:
        """Return the bytes of `manifest.json` alone, None when there is none; at most one byte more than is allowed.

        Raises:
            ForgeError: when the store does not answer.
        """
        ...


def find(reference: str) -> Reference:
    """Return the reference that a text stands for.

    Raises:
        ChampionError: for a scheme that cannot be read, or a text that is no reference of its scheme.
    """
    scheme = urlsplit(reference).scheme if "://" in reference else ""
    if scheme in ("s3", "minio"):
        return BucketReference(reference)
    if scheme == "wandb":
        return ArtifactReference(reference)
    if scheme == "hf":
        return HubReference(reference)
    if scheme == "gs":
        raise ChampionError(f"{reference}: gs:// cannot be read by this version; download it and give the directory")
    if scheme not in ("", "file", "bundled"):
        raise ChampionError(
            f"{reference}: unknown scheme {scheme}://; give a directory, a .gguf file, s3://bucket/prefix, a hub name "
            "or wandb://entity/project/name:alias"
        )
    return LocalReference(reference) if scheme or is_local(reference) else HubReference(reference)
