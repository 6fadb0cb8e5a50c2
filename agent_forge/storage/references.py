"""References to champions: a local directory or GGUF file, `file://`, `bundled://`, `s3://`, or a name on the hub.

`bundled://champion` is the champion that comes with this package, wherever that is installed.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import agent_forge
from agent_forge.errors import ChampionError

_BUNDLED = Path(agent_forge.__file__).parent / "demo"
_LATER = ("gs", "wandb")


def local_path(reference: str) -> Path | None:
    """Return the local path that a reference stands for, None when it is no local one.

    Raises:
        ChampionError: for a scheme that cannot be read.
    """
    scheme = urlsplit(reference).scheme if "://" in reference else ""
    if scheme == "file":
        return Path(unquote(urlsplit(reference).path))
    if scheme == "bundled":
        return _bundled(reference)
    if scheme in _LATER:
        raise ChampionError(
            f"{reference}: {scheme}:// cannot be read by this version; download it and give the directory"
        )
    if scheme and scheme not in ("hf", "s3", "minio"):
        raise ChampionError(
            f"{reference}: unknown scheme {scheme}://; give a directory, a .gguf file, s3://bucket/prefix or a hub name"
        )
    path = Path(reference).expanduser()
    return path if not scheme and (path.exists() or _looks_local(reference)) else None


def bundled_configuration(reference: str) -> Path | None:
    """Return the configuration file that comes with a bundled champion, None for any other champion."""
    return _BUNDLED / "bake.yaml" if reference.startswith("bundled://") else None


def hub_name(reference: str) -> str:
    """Return the hub's name for a reference that is not local."""
    return reference.removeprefix("hf://")


def _bundled(reference: str) -> Path:
    there = sorted(path.name for path in _BUNDLED.iterdir() if (path / "config.json").is_file())
    name = reference.removeprefix("bundled://")
    if name not in there:
        raise ChampionError(f"{reference}: there is no such bundled model; expected bundled://{there[0]}")
    return _BUNDLED / name


def _looks_local(reference: str) -> bool:
    return reference.startswith((".", "/", "~")) or reference.count("/") != 1 or reference.endswith(".gguf")
