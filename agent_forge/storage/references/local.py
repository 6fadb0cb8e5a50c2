"""Models on this machine: directories, GGUF files, `file://`, and the champion that comes with this package."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import agent_forge
from agent_forge.errors import ChampionError
from agent_forge.storage.manifest import LARGEST_MANIFEST, MANIFEST
from agent_forge.storage.moving import Watcher

_BUNDLED = Path(agent_forge.__file__).parent / "demo"


class LocalReference:
    """A path, `file://` or `bundled://`."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self.place = _place(reference)

    def path(self, watcher: Watcher | None = None) -> Path:  # noqa: ARG002 - what the protocol asks
        """Return the path itself.

        Raises:
            ChampionError: when there is nothing.
        """
        if not self.place.exists():
            raise ChampionError(f"{self.place} does not exist; give a model directory, a .gguf file or a hub name")
        return self.place

    def uri(self, path: Path) -> str:
        """Return a `file://` address; a bundled champion keeps its name, since it lies elsewhere on other machines."""
        bundled = self._reference.startswith("bundled://")
        return self._reference if bundled else path.resolve().as_uri()

    def revision(self, path: Path) -> None:
        """Return None: files have no versions."""

    def manifest(self) -> bytes | None:
        """Return the manifest beside the model's files."""
        path = self.place / MANIFEST
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as stream:
            return stream.read(LARGEST_MANIFEST + 1)


def is_local(reference: str) -> bool:
    """Whether a text without scheme is a path: it exists, or looks like one rather than like `owner/name`."""
    looks = reference.startswith((".", "/", "~")) or reference.count("/") != 1 or reference.endswith(".gguf")
    return looks or Path(reference).expanduser().exists()


def bundled_configuration(reference: str) -> Path | None:
    """Return the configuration file that comes with a bundled champion, None for any other champion."""
    return _BUNDLED / "bake.yaml" if reference.startswith("bundled://") else None


def _place(reference: str) -> Path:
    if reference.startswith("bundled://"):
        return _bundled(reference)
    if reference.startswith("file://"):
        return Path(unquote(urlsplit(reference).path))
    return Path(reference).expanduser()


def _bundled(reference: str) -> Path:
    there = sorted(path.name for path in _BUNDLED.iterdir() if (path / "config.json").is_file())
    name = reference.removeprefix("bundled://")
    if name not in there:
        raise ChampionError(f"{reference}: there is no such bundled model; expected bundled://{there[0]}")
    return _BUNDLED / name
