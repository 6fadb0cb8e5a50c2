"""A stand-in for W&B's artifacts that are only read; what publishes is tested with `artifact_service`."""

import base64
import hashlib
from pathlib import Path
from types import SimpleNamespace


class Entry(SimpleNamespace):
    """A file of an artifact, as the library describes it."""

    def download(self, root: str) -> str:
        place = Path(root) / self.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.content)
        return str(place)


class Artifact:
    """An artifact as far as it is asked for here."""

    def __init__(self, files: dict[str, bytes], version: str = "v3") -> None:
        self.version, self.downloads = version, 0
        self.digest = hashlib.md5(repr(sorted(files.items())).encode()).hexdigest()
        entries = {name: _entry(name, content) for name, content in files.items()}
        self.manifest = SimpleNamespace(entries=entries)

    def download(self, root: str, skip_cache: bool = False) -> str:
        assert skip_cache
        self.downloads += 1
        for entry in self.manifest.entries.values():
            entry.download(root)
        return root


def _entry(name: str, content: bytes) -> Entry:
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    return Entry(path=name, content=content, digest=md5, size=len(content), ref=None, extra={})


def library(artifacts: dict[str, Artifact]) -> SimpleNamespace:
    """Return what stands in for the package wandb; artifacts are found by `entity/project/name:alias`."""

    def artifact(name: str) -> Artifact:
        if name not in artifacts:
            raise ValueError(f"artifact '{name}'\nnot found")
        return artifacts[name]

    return SimpleNamespace(Api=lambda: SimpleNamespace(artifact=artifact))
