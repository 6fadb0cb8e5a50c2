"""Models kept as Weights & Biases artifacts: `wandb://entity/project/name:alias`.

CACHE/wandb/<entity>/<project>/<name>/<version>-<digest>/             whole: every file has been checked
CACHE/wandb/<entity>/<project>/<name>/.<version>-<digest>.partial/    files so far; whole ones are not fetched again

An alias is pinned to the version it stands for. Processes that want the same version wait for one of them to fetch it.
"""

import base64
import contextlib
import hashlib
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock

from agent_forge.errors import ChampionError, CheckFailed, ForgeError, InputError
from agent_forge.storage.files import cache_home, move_into_place, writing_to
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST
from agent_forge.storage.moving import Moving, Watcher
from agent_forge.storage.s3 import safe_name
from agent_forge.storage.weights_and_biases import library, line_of

_FORM = re.compile(r"wandb://([\w-][\w.-]*/[\w-][\w.-]*/[\w-][\w.-]*):([\w.-]+)")
_LOOK_SECONDS = 1.0
_WHOLE = re.compile(r"v\d+-\w+")


class ArtifactReference:
    """An artifact by entity, project, name and a version or an alias."""

    def __init__(self, reference: str) -> None:
        found = _FORM.fullmatch(reference)
        if found is None:
            raise ChampionError(f"{reference}: that names no artifact; give wandb://entity/project/name:alias")
        self._reference, self._name, self._alias = reference, found[1], found[2]

    def path(self, watcher: Watcher | None = None) -> Path:
        """Return the local copy of the artifact's files."""
        artifact = self._artifact
        whole = cache_home() / "wandb" / self._name / f"{artifact.version}-{artifact.digest}"
        if not _WHOLE.fullmatch(whole.name):
            raise ChampionError(f"{self._reference}: {whole.name!r} is no version and digest; do not trust it")
        with writing_to(whole.parent), _explained(self._reference):
            whole.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(whole.parent / f".{whole.name}.lock"):
                if not whole.exists():
                    self._fetch(whole, watcher)
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
            wandb = library(self._reference)
        except InputError as cause:
            raise ChampionError(str(cause)) from cause
        with _explained(self._reference):
            return wandb.Api().artifact(f"{self._name}:{self._alias}")

    def _fetch(self, whole: Path, watcher: Watcher | None) -> None:
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
        sizes = {str(name): int(entry.size or 0) for name, entry in entries.items()}
        with _watched(partial, sizes, watcher):
            # The library's own cache would hold everything a second time.
            self._artifact.download(root=str(partial), skip_cache=True)
        for name, entry in entries.items():
            _check_entry(self._reference, partial / str(name), str(name), entry)
        move_into_place(partial, whole)


@contextlib.contextmanager
def _watched(partial: Path, sizes: Mapping[str, int], watcher: Watcher | None) -> Iterator[None]:
    """Tell a watcher how much of the files is there, by looking: the library tells nobody."""
    if watcher is None:
        yield
        return
    moving, told, ended = Moving(watcher, "fetching", sum(sizes.values())), 0, threading.Event()

    def look() -> None:
        nonlocal told
        there = [partial / name for name in sizes]
        found = sum(path.stat().st_size for path in there if path.is_file())
        moving.add(found - told)
        told = found

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            with contextlib.suppress(OSError):
                look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        look()
    finally:
        ended.set()
        thread.join()


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
        raise ChampionError(
            f"{reference}: Weights & Biases says: {line_of(cause)}; check the name and WANDB_API_KEY"
        ) from cause
