"""Where models are published: a directory or a bucket, behind the same four calls."""

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from agent_forge.errors import ConfigError
from agent_forge.records import Manifest, VerificationReport, read_record
from agent_forge.storage import publish as directory
from agent_forge.storage.manifest import MANIFEST
from agent_forge.storage.s3 import SCHEME
from agent_forge.storage.s3_publication import S3Publication

# Where a pipeline keeps what it made: in the run's own artifacts, so nothing is published below a root.
IN_THE_PIPELINE = "pipeline://"


class Publication(Protocol):
    """A publication root."""

    def published(self, bake_id: str) -> str | None:
        """Return where the manifest of this bake is, None when it is not published."""
        ...

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake."""
        ...

    def publish(self, model: Path, manifest: Manifest) -> str:
        """Publish a verified model, once; return where its manifest is."""
        ...

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str) -> str:
        """Keep a rejected model aside, labelled; return where."""
        ...


class DirectoryPublication:
    """A publication root that is a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def published(self, bake_id: str) -> str | None:
        """Return the manifest's path when this bake is published, else None."""
        found = directory.published_manifest(self.root, bake_id)
        return str(found) if found else None

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake."""
        return read_record(Manifest, directory.published_path(self.root, bake_id) / MANIFEST)

    def publish(self, model: Path, manifest: Manifest) -> str:
        """Publish a verified model; see `publish.publish`."""
        return str(directory.publish(model, manifest, self.root))

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str) -> str:
        """Keep a rejected model aside; see `publish.keep_rejected`."""
        return str(directory.keep_rejected(model, report, self.root, bake_id))


def publication(output_path: str) -> Publication | None:
    """Return the publication root that a configuration names, None when the pipeline keeps the model itself.

    Raises:
        ConfigError: for a scheme that cannot be published to.
    """
    if output_path == IN_THE_PIPELINE:
        return None
    if output_path.startswith(SCHEME):
        return S3Publication(output_path)
    return DirectoryPublication(directory_of(output_path))


def directory_of(output_path: str) -> Path:
    """Return the directory that an output path names.

    Raises:
        ConfigError: when it names something else.
    """
    scheme = urlsplit(output_path).scheme if "://" in output_path else ""
    if scheme == "file":
        return Path(unquote(urlsplit(output_path).path))
    if scheme:
        raise ConfigError(f"output_path {output_path} is no directory; a run on this machine needs one")
    return Path(output_path).expanduser()
