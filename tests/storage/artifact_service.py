"""A stand-in for Weights & Biases at the edge of its library: versions, aliases and runs, kept in memory.

`Artifact` is the library's own class, so that what is logged has the entries and digests that it computes; `init` and
`Api` stand for the service. It numbers versions in the order they are committed, gives an alias to one version at a
time, and moves `latest` by itself.
"""

import copy
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import wandb


class Killed(BaseException):
    """Stands for the end of a process at that point."""


class Service:
    """Collections by path: their versions; aliases by collection.

    Attributes:
        spoil: path of a file whose last byte is flipped when it arrives.
        before: what is called before some step, by its name: `log`, `logged`, `alias`.
    """

    def __init__(self) -> None:
        self.versions: dict[str, list[Version]] = {}
        self.aliases: dict[str, dict[str, Version]] = {}
        self.spoil: str | None = None
        self.before: dict[str, Any] = {}
        self.lock = threading.RLock()
        self.Artifact, self.Settings = wandb.Artifact, lambda **_: None

    def step(self, name: str) -> None:
        """Do what a test wants done here."""
        if (action := self.before.get(name)) is not None:
            action()

    def init(self, entity: str, project: str, **_: Any) -> "Run":
        """Begin a run."""
        return Run(self, f"{entity}/{project}")

    def Api(self) -> SimpleNamespace:  # noqa: N802 - the library's name
        """Return what reads."""
        return SimpleNamespace(
            viewer=SimpleNamespace(username="me"),
            artifact=self._artifact,
            artifact_exists=lambda path: self._find(path) is not None,
            artifact_collection_exists=lambda path, _: path in self.versions,
            artifacts=lambda _, path: [copy.copy(found).seen() for found in reversed(self.versions[path])],
        )

    def _find(self, path: str) -> "Version | None":
        collection, _, alias = path.partition(":")
        numbered = {found.version: found for found in self.versions.get(collection, [])}
        return numbered.get(alias) or self.aliases.get(collection, {}).get(alias)

    def _artifact(self, path: str) -> "Version":
        if (found := self._find(path)) is None:
            raise wandb.errors.CommError(f"artifact {path} not found")
        return copy.copy(found).seen()


class Run:
    """A run, as far as it logs artifacts."""

    def __init__(self, service: Service, project: str) -> None:
        self._service, self._project = service, project

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""

    def log_artifact(self, artifact: Any) -> Any:
        """Keep what an artifact holds now as a version."""
        service, collection = self._service, f"{self._project}/{artifact.name.partition(':')[0]}"
        service.step("log")
        with service.lock:
            versions = service.versions.setdefault(collection, [])
            made = Version(service, collection, f"v{len(versions)}", artifact)
            versions.append(made)
            service.aliases.setdefault(collection, {})["latest"] = made
        service.step("logged")
        return SimpleNamespace(wait=lambda: made)


class Version:
    """A version, as the public part of the library shows it."""

    state = "COMMITTED"

    def __init__(self, service: Service, collection: str, version: str, artifact: Any) -> None:
        self._service, self._collection, self.version = service, collection, version
        self.name, self.metadata, self.digest = f"{artifact.name}:{version}", dict(artifact.metadata), artifact.digest
        entries = {name: Entry(service, name, entry) for name, entry in artifact.manifest.entries.items()}
        self.manifest = SimpleNamespace(entries=entries)
        self.aliases: list[str] = []

    def seen(self) -> "Version":
        """Return it with the aliases that it has now."""
        with self._service.lock:
            there = self._service.aliases.get(self._collection, {})
            self.aliases = [alias for alias, found in there.items() if found.version == self.version]
        return self

    def save(self) -> None:
        """Move its aliases onto it."""
        self._service.step("alias")
        with self._service.lock:
            for alias in self.aliases:
                self._service.aliases[self._collection][alias] = self

    def download(self, root: str, skip_cache: bool) -> str:
        """Write all its files."""
        for entry in self.manifest.entries.values():
            entry.download(root, skip_cache)
        return root


class Entry:
    """A file of a version."""

    def __init__(self, service: Service, path: str, entry: Any) -> None:
        self.path, self.digest, self.size, self.ref, self.extra = path, entry.digest, entry.size, None, entry.extra
        self.content = Path(entry.local_path).read_bytes()
        if service.spoil == path:
            self.content = self.content[:-1] + bytes([self.content[-1] ^ 1])

    def download(self, root: str, skip_cache: bool = False) -> str:
        """Write it below a directory."""
        place = Path(root) / self.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.content)
        return str(place)
