"""Where models are published: a directory, a bucket, the hub or W&B, behind the same calls."""

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ConfigError
from agent_forge.evolution_records import ChampionManifest
from agent_forge.records import Manifest, Verdict, VerificationReport
from agent_forge.storage.directory_publication import DirectoryPublication
from agent_forge.storage.hub import on_the_hub
from agent_forge.storage.hub_publication import HubPublication
from agent_forge.storage.lease import Held, LeaseFile
from agent_forge.storage.moving import Watcher
from agent_forge.storage.s3 import in_a_bucket
from agent_forge.storage.s3_publication import S3Publication
from agent_forge.storage.weights_and_biases import at_weights_and_biases
from agent_forge.storage.weights_and_biases_publication import ArtifactPublication

# Where a pipeline keeps what it made: in the run's own artifacts, so nothing is published below a root.
IN_THE_PIPELINE = "pipeline://"


class Publication(Protocol):
    """A publication root."""

    def published(self, bake_id: str) -> str | None:
        """Return where the manifest of this bake is, None when it is not published."""
        ...

    def check(self) -> None:
        """Refuse a root that cannot be published to, before anything is spent."""
        ...

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake."""
        ...

    def verdict(self, bake_id: str) -> Verdict | None:
        """Return what a run of this bake found that published nothing, None when there was none."""
        ...

    def lease(self, bake_id: str) -> LeaseFile:
        """Return the place of a bake's lease."""
        ...

    def publish(self, model: Path, manifest: Manifest, held: Held | None = None, watcher: Watcher | None = None) -> str:
        """Publish a verified model, once; return where its manifest is."""
        ...

    def publish_champion(
        self, model: Path, manifest: ChampionManifest, digest: str, watcher: Watcher | None = None
    ) -> str:
        """Publish an evolved champion, once; return where its manifest is."""
        ...

    def settle(self, bake_id: str) -> None:
        """Do what a publisher that was killed after writing its manifest may have left undone."""
        ...

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str, held: Held | None = None) -> str:
        """Keep a rejected model aside, labelled; return where."""
        ...

    def keep_verdict(self, verdict: Verdict, report: str, held: Held | None = None) -> None:
        """Leave what a run found that published nothing, with its report (HTML), for other runs of this bake."""
        ...


def publication_of(config: QuietSTaRConfig) -> Publication | None:
    """Return where a configuration publishes, None when the pipeline keeps the model itself; see `publication`."""
    return publication(config.publish_to or config.output_path)


def shared(config: QuietSTaRConfig) -> bool:
    """Whether a configuration publishes to a place that is not its run directory alone."""
    return config.publish_to is not None or _remote(config.output_path)


def publication(output_path: str) -> Publication | None:
    """Return the publication root that a configuration names, None when the pipeline keeps the model itself.

    Raises:
        ConfigError: for a scheme that cannot be published to.
    """
    if output_path == IN_THE_PIPELINE:
        return None
    if in_a_bucket(output_path):
        return S3Publication(output_path)
    if on_the_hub(output_path):
        return HubPublication(output_path)
    if at_weights_and_biases(output_path):
        return ArtifactPublication(output_path)
    return DirectoryPublication(directory_of(output_path))


def require_signable(config: QuietSTaRConfig) -> None:
    """Refuse to sign what is published where no signature can stand beside a manifest.

    Raises:
        ConfigError: for a key, and a place at Weights & Biases.
    """
    if config.signing_key_file and at_weights_and_biases(config.publish_to or config.output_path):
        raise ConfigError(
            "signing_key_file: a version at Weights & Biases cannot be added to once it is there, so no signature can "
            "stand beside its manifest; leave it out, or publish elsewhere"
        )


def _remote(place: str) -> bool:
    return in_a_bucket(place) or on_the_hub(place) or at_weights_and_biases(place)


def directory_of(output_path: str) -> Path:
    """Return the directory that an output path names.

    Raises:
        ConfigError: when it names something else.
    """
    scheme = urlsplit(output_path).scheme if "://" in output_path else ""
    if scheme == "file":
        return Path(unquote(urlsplit(output_path).path))
    if scheme:
        raise ConfigError(
            f"{output_path} is no directory, which a run on this machine needs; elsewhere, and with --publish-to, "
            f"s3://, hf:// and wandb:// will do, and {IN_THE_PIPELINE} in a pipeline"
        )
    return Path(output_path).expanduser()
