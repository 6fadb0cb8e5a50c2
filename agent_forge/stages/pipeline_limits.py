"""What only one machine can: said in a pipeline's first task, since later all cells would be paid for already."""

import os
from pathlib import Path

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ConfigError
from agent_forge.storage.directory_publication import DirectoryPublication
from agent_forge.storage.minisign import read_secret_key
from agent_forge.storage.publication import IN_THE_PIPELINE, publication_of

# What a fan-out leaves is told to one task of the pipeline in one argument of its command, and Linux takes 128 KiB of
# one: some 700 bytes for each artifact, more where names are long.
MOST_COLLECTED = 100
# Mounted into pods, and gone with them.
_SCRATCH = frozenset(map(Path, ("/", "/tmp", "/dev/shm", "/minio", "/s3", "/gcs")))


def refuse_what_pipelines_cannot(config: QuietSTaRConfig, artifacts_at: str) -> None:
    """Refuse what only one machine can.

    Args:
        config: of the run.
        artifacts_at: URI of one of the run's artifacts; where it has no scheme, the task is no pod.

    Raises:
        ConfigError: for looks, more cells than one task can be told of, a directory that is gone with its pod, or a
            signing key that no pod can read.
    """
    _refuse_cells(config)
    if config.signing_key_file:
        read_secret_key(Path(config.signing_key_file))
    if "://" in artifacts_at:
        _refuse_what_is_gone_with_the_pod(config)


def _refuse_cells(config: QuietSTaRConfig) -> None:
    if config.gate_looks > 1:
        raise ConfigError(
            f"gate_looks is {config.gate_looks}, but the pipeline evaluates all cells side by side and could "
            "not end early; set it to 1 here, or run `forge bake-quietstar` on one machine"
        )
    if (cells := config.ab_test_rounds * config.shards) > MOST_COLLECTED:
        raise ConfigError(
            f"ab_test_rounds {config.ab_test_rounds} times shards {config.shards} make {cells:,} cells, and the "
            f"pipeline can hand at most {MOST_COLLECTED} to the gate; lower one of them, or run `forge bake-quietstar`"
        )


def _refuse_what_is_gone_with_the_pod(config: QuietSTaRConfig) -> None:
    root = publication_of(config)
    if isinstance(root, DirectoryPublication) and not on_a_volume(root.root):
        raise ConfigError(
            f"{config.publish_to or config.output_path} is in the pod, which takes it along when it ends; give "
            f"{IN_THE_PIPELINE}, s3://bucket/prefix, or an absolute directory on a volume that the platform file mounts"
        )


def on_a_volume(place: Path) -> bool:
    """Whether a directory is below a mount that outlives its pod."""
    whole = Path(os.path.normpath(place))
    return whole.is_absolute() and any(os.path.ismount(part) for part in {whole, *whole.parents} - _SCRATCH)
