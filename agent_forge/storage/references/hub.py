"""Models on the Hugging Face hub: `hf://owner/name`, `hf://owner/name@revision`, or the name alone.

They are fetched by huggingface_hub into its own cache, which continues what was interrupted and is shared safely by
processes. It names files by the digests that the hub states (sha256 of large files, git's sha1 of small ones), but
does not compute them: that is done here. A reference is pinned to the commit it meant when it was first looked at.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from agent_forge.errors import ChampionError, CheckFailed
from agent_forge.storage.files import file_sha256
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST
from agent_forge.storage.moving import Watcher

_NAME = re.compile(r"(?:hf://)?((?:[\w.-]+/)?[\w.-]+)(?:@([\w./-]+))?")
_NEVER = ["*.pt", "*.pth", "*.h5", "*.pkl"]
_WEIGHTS = ("*.safetensors", "*.gguf")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubReference:
    """A repository on the hub at a revision, by default its main branch."""

    def __init__(self, reference: str) -> None:
        found = _NAME.fullmatch(reference)
        if found is None or ".." in reference:
            raise ChampionError(f"{reference}: that is no name on the hub; give hf://owner/name or owner/name@revision")
        self.name, self._wanted = found[1], found[2]

    def path(self, watcher: Watcher | None = None) -> Path:  # noqa: ARG002 - what the protocol asks
        """Return the snapshot in the hub's cache; pickled weights are there only where the model has no others."""
        try:
            directory = self._fetch(self._wanted, [*_NEVER, "*.bin"])
            if not any(found for kind in _WEIGHTS for found in directory.glob(kind)):
                directory = self._fetch(self.revision(directory), _NEVER)
        except Exception as cause:
            raise self._refused(cause) from cause
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                _check_blob(f"hf://{self.name}", path, path.relative_to(directory).as_posix())
        return directory

    def uri(self, path: Path) -> str:
        """Return the reference with the commit that it meant."""
        revision = self.revision(path)
        return f"hf://{self.name}@{revision}" if revision else f"hf://{self.name}"

    def revision(self, path: Path) -> str | None:
        """Return the commit, by which the hub's cache names its snapshots."""
        return path.name if _COMMIT.fullmatch(path.name) else self._wanted

    def manifest(self) -> bytes | None:
        """Return the manifest's bytes without fetching the model."""
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            found = huggingface_hub.hf_hub_download(self.name, MANIFEST, revision=self._wanted)
        except LocalEntryNotFoundError as cause:
            raise self._refused(cause) from cause
        except EntryNotFoundError:
            return None
        except Exception as cause:
            raise self._refused(cause) from cause
        with Path(found).open("rb") as stream:
            return stream.read(LARGEST_MANIFEST + 1)

    def _fetch(self, revision: str | None, ignored: list[str]) -> Path:
        import huggingface_hub

        arguments: dict[str, Any] = {"revision": revision} if revision else {}
        return Path(huggingface_hub.snapshot_download(self.name, ignore_patterns=ignored, **arguments))

    def _refused(self, cause: Exception) -> ChampionError:
        line = (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
        return ChampionError(f"champion {self.name}: no such directory, and the hub says: {line}")


def _check_blob(model: str, path: Path, name: str) -> None:
    """Compare a file of the cache with the digest that it is named by; where the cache has no links, none is known.

    Raises:
        CheckFailed: naming the file.
    """
    if not path.is_symlink():
        return
    blob = path.resolve()
    known = {64: file_sha256, 40: _git_sha1}.get(len(blob.name))
    if known is not None and known(blob) != blob.name:
        raise CheckFailed(f"{model}: {name} is not what the hub says, or was damaged; remove {blob} and run again")


def _git_sha1(path: Path) -> str:
    """Return the sha1 that git knows a file's content by: over `blob <size>`, a zero byte and the content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
