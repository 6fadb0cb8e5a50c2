"""Models on the Hugging Face hub: `hf://owner/name`, `hf://owner/name@revision/folder`, or the name alone.

They are fetched by huggingface_hub into its own cache, which continues what was interrupted and is shared safely by
processes. It names files by the digests that the hub states (sha256 of large files, git's sha1 of small ones), but
does not compute them: that is done here. A reference is pinned to the commit it meant when it was first looked at.
"""

import re
import threading
from pathlib import Path
from typing import Any

from agent_forge.errors import ChampionError, CheckFailed, InputError
from agent_forge.storage.files import file_sha256, unwritable
from agent_forge.storage.hub import HubPlace, api, git_sha1
from agent_forge.storage.hub_failures import FAILURES, line_of, wait_or_raise
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST
from agent_forge.storage.moving import Moving, Watcher

_NEVER = ["*.pt", "*.pth", "*.h5", "*.pkl"]
_WEIGHTS = ("*.safetensors", "*.gguf")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubReference:
    """A repository on the hub, or a folder in it, at a revision, by default its main branch."""

    def __init__(self, reference: str) -> None:
        try:
            self._place = HubPlace.parse(reference)
        except InputError as cause:
            raise ChampionError(str(cause)) from cause
        self.name, self._wanted, self._folder = self._place.name, self._place.revision, self._place.folder

    def path(self, watcher: Watcher | None = None) -> Path:
        """Return the snapshot in the hub's cache; pickled weights are there only where the model has no others."""
        try:
            directory = self._fetch(self._wanted, [*_NEVER, "*.bin"], watcher)
            if not any(found for kind in _WEIGHTS for found in directory.glob(kind)):
                directory = self._fetch(self.revision(directory), _NEVER, watcher)
        except Exception as cause:
            raise self._refused(cause) from cause
        if self._folder and not directory.is_dir():
            raise ChampionError(f"champion {self._place}: there is no such folder in the repository")
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                _check_blob(str(self._place), path, path.relative_to(directory).as_posix())
        return directory

    def uri(self, path: Path) -> str:
        """Return the reference with the commit that it meant."""
        return str(HubPlace(self.name, self.revision(path), self._folder))

    def revision(self, path: Path) -> str | None:
        """Return the commit, by which the hub's cache names its snapshots."""
        snapshot = self._snapshot(path)
        return snapshot.name if _COMMIT.fullmatch(snapshot.name) else self._wanted

    def blobs(self, path: Path) -> Path:
        """Return the directory beside the snapshots that links in them lead into."""
        return self._snapshot(path).parent.parent / "blobs"

    def manifest(self) -> bytes | None:
        """Return the manifest's bytes without fetching the model."""
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            api()
            if self._manifest_size() > LARGEST_MANIFEST:
                return b" " * (LARGEST_MANIFEST + 1)
            found = huggingface_hub.hf_hub_download(self.name, self._place.within(MANIFEST), revision=self._wanted)
        except LocalEntryNotFoundError as cause:
            raise self._refused(cause) from cause
        except EntryNotFoundError:
            return None
        except Exception as cause:
            raise self._refused(cause) from cause
        with Path(found).open("rb") as stream:
            return stream.read(LARGEST_MANIFEST + 1)

    def _manifest_size(self) -> int:
        """Return how large the hub says that the manifest is, so that nothing too large is fetched; 0 offline."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import OfflineModeIsEnabled

        try:
            url = hf_hub_url(self.name, self._place.within(MANIFEST), revision=self._wanted)
            return get_hf_file_metadata(url).size or 0
        except OfflineModeIsEnabled:
            return 0

    def _snapshot(self, path: Path) -> Path:
        return path.parents[self._folder.count("/")] if self._folder else path

    def _fetch(self, revision: str | None, ignored: list[str], watcher: Watcher | None) -> Path:
        import huggingface_hub

        api()
        arguments: dict[str, Any] = {"revision": revision} if revision else {}
        if self._folder:
            arguments["allow_patterns"] = [f"{self._folder}/*"]
        for attempt in range(FAILURES + 1):
            try:
                snapshot = huggingface_hub.snapshot_download(
                    self.name, ignore_patterns=ignored, tqdm_class=_bars(watcher), **arguments
                )
                return Path(snapshot) / self._folder
            except Exception as cause:
                wait_or_raise(cause, attempt)
        raise AssertionError("the last failure is raised")

    def _refused(self, cause: Exception) -> ChampionError:
        if (advice := unwritable(cause)) is not None:
            return ChampionError(f"champion {self._place}: cannot write to the hub's cache: {advice}")
        return ChampionError(f"champion {self._place}: no such directory, and the hub says: {line_of(cause)}")


def _bars(watcher: Watcher | None) -> Any:
    """Return what the library makes its progress bars of: none is shown, the one of bytes on disk tells a watcher."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        """A bar that nobody sees; how many bytes there are in all shows while files are begun."""

        def __init__(self, *given: Any, **settings: Any) -> None:
            # There is a second one, of bytes as they were sent, which may be compressed.
            of_bytes = settings.get("unit") == "B" and not str(settings.get("desc")).startswith("Downloading bytes")
            settings.pop("name", None)
            super().__init__(*given, **{**settings, "disable": True})
            self._told = -1 if of_bytes and watcher is not None else None
            self._lock_of_told = threading.Lock()

        def update(self, n: float | None = 1) -> None:
            with self._lock_of_told:
                self.n += n or 0
                if self._told is None or watcher is None:
                    return
                if self._told != self.total:
                    self._told = self.total
                    self._moving = Moving(watcher, "fetching", int(self.total or 0), int(self.n - (n or 0)))
                self._moving.add(int(n or 0))

    return Bar


def _check_blob(model: str, path: Path, name: str) -> None:
    """Compare a file of the cache with the digest that it is named by; where the cache has no links, none is known.

    Raises:
        CheckFailed: naming the file.
    """
    if not path.is_symlink():
        return
    blob = path.resolve()
    known = {64: file_sha256, 40: git_sha1}.get(len(blob.name))
    if known is not None and known(blob) != blob.name:
        raise CheckFailed(f"{model}: {name} is not what the hub says, or was damaged; remove {blob} and run again")
