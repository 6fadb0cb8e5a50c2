"""References to champions: a local directory or GGUF file, `file://`, or a name on the Hugging Face hub."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent_forge.errors import ChampionError

_LATER = ("s3", "gs", "wandb")


def local_path(reference: str) -> Path | None:
    """Return the local path that a reference stands for, None when it is no local one.

    Raises:
        ChampionError: for a scheme that cannot be read.
    """
    scheme = urlsplit(reference).scheme if "://" in reference else ""
    if scheme == "file":
        return Path(unquote(urlsplit(reference).path))
    if scheme in _LATER:
        raise ChampionError(
            f"{reference}: {scheme}:// cannot be read by this version; download it and give the directory"
        )
    if scheme and scheme != "hf":
        raise ChampionError(f"{reference}: unknown scheme {scheme}://; give a directory, a .gguf file or a hub name")
    path = Path(reference).expanduser()
    return path if not scheme and (path.exists() or _looks_local(reference)) else None


def hub_name(reference: str) -> str:
    """Return the hub's name for a reference that is not local."""
    return reference.removeprefix("hf://")


def _looks_local(reference: str) -> bool:
    return reference.startswith((".", "/", "~")) or reference.count("/") != 1 or reference.endswith(".gguf")
