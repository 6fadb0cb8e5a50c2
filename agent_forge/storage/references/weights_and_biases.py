"""Models kept as Weights & Biases artifacts: `wandb://entity/project/name:alias`.

CACHE/wandb/<entity>/<project>/<name>/<version>-<digest>/             whole: every file has been checked
CACHE/wandb/<entity>/<project>/<name>/.<version>-<digest>.partial/    files so far; whole ones are not fetched again

An alias is pinned to the version it stands for. Processes that want the same version wait for one of them to fetch it.
"""

import base64
import contextlib
import hashlib
import importlib
import re
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock

from agent_forge.errors import ChampionError, CheckFailed, ForgeError
from agent_forge.storage.files import cache_home, move_into_place, writing_to
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST
from agent_forge.storage.moving import Watcher
from agent_forge.storage.s3 import safe_name

_FORM = re.compile(r"wandb://([\w-][\w.-]*/[\w-][\w.-]*/[\w-][\w.-]*):([\w.-]+)")
_WHOLE = re.compile(r"v\d+-\w+")


class ArtifactReference:
    """An artifact by entity, project, name and a version or an alias."""

    def __init__(self, reference: str) -> None:
        found = _FORM.fullmatch(reference)
        if found is None:
            raise ChampionError(f"{reference}: that names no artifact; give wandb://entity/project/name:alias")
        self._reference, self._name, self._alias = reference, found[1], found[2]

    def path(self, watcher: Watcher | None = None) -> Path:  # noqa: ARG002 - what the protocol asks
        """Return the local copy of the artifact's files."""
        artifact = self._artifact
        whole = cache_home() / "wandb" / self._name / f"{artifact.version}-{artifact.digest}"
        if not _WHOLE.fullmatch(whole.name):
            raise ChampionError(f"{self._reference}: {whole.name!r} is no version and digest; do not trust it")
        with writing_to(whole.parent), _explained(self._reference):
            whole.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(whole.parent / f".{whole.name}.lock"):
                if not whole.exists():
                    self._fetch(whole)
        return whole

    def uri(self, path: Path) -> str:
        """Return the reference with the version that its alias stood for."""
        return f"wandb://{self._name}:{path.name.partition('-')[0]}"

    def revision(self, path: Path) -> str:
        """Return the version and the artifact's own digest, joined by a hyphen."""
        return path.name

    def manifest(self) -> bytes | None:
        """Return the manifest's bytes without fetching the model."""
        with _explained(self._reference), tempfile.TemporaryDirectory() as directory:
            entry = self._artifact.manifest.entries.get(MANIFEST)
            if entry is None:
                return None
            if (entry.size or 0) > LARGEST_MANIFEST:
                return b" " * (LARGEST_MANIFEST + 1)
            with Path(entry.download(root=directory)).open("rb") as stream:
                return stream.read(LARGEST_MANIFEST + 1)

    @cached_property
    def _artifact(self) -> Any:
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as cause:
            raise ChampionError(f"{self._reference} needs the package wandb; install agent-forge[wandb]") from cause
        with _explained(self._reference):
            return wandb.Api().artifact(f"{self._name}:{self._alias}")

    def _fetch(self, whole: Path) -> None:
        entries = self._artifact.manifest.entries
        for name, entry in entries.items():
            if not safe_name(str(name)):
                raise ChampionError(
                    f"{self._reference}: the name {str(name)!r} leads out of the model; do not trust it"
                )
            if entry.ref is not None:
                raise ChampionError(
                    f"{self._reference}: {name} lies elsewhere, at an address that the artifact only mentions; "
                    "give that address, or log the files themselves"
                )
        partial = whole.parent / f".{whole.name}.partial"
        self._artifact.download(root=str(partial))
        for name, entry in entries.items():
            _check_entry(self._reference, partial / str(name), str(name), entry)
        move_into_place(partial, whole)


def _check_entry(model: str, path: Path, name: str, entry: Any) -> None:
    """Compare a file with its size and, where that is one, its MD5; other digests are the library's to check.

    Raises:
        CheckFailed: naming the file.
    """
    if path.is_symlink() or not path.is_file() or (entry.size is not None and path.stat().st_size != entry.size):
        raise CheckFailed(f"{model}: {name} did not arrive whole; run again to continue")
    if entry.extra.get("alg", "md5") != "md5":
        return
    with path.open("rb") as stream:
        found = base64.b64encode(hashlib.file_digest(stream, "md5").digest()).decode()
    if found != entry.digest:
        path.unlink()
        raise CheckFailed(f"{model}: {name} is not what the artifact says, or arrived damaged; run again to fetch it")


@contextlib.contextmanager
def _explained(reference: str) -> Iterator[None]:
    """Turn what the library raises into one line; without a key it says how to log in."""
    try:
        yield
    except (ForgeError, OSError):
        raise
    except Exception as cause:
        line = " ".join(str(cause).split()) or type(cause).__name__
        raise ChampionError(f"{reference}: Weights & Biases says: {line}; check the name and WANDB_API_KEY") from cause
