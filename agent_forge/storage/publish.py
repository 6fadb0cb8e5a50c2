"""A published model in a directory: writing one, files first and the manifest last, and checking one."""

import shutil
from pathlib import Path

from agent_forge.errors import OutputError
from agent_forge.records import FileRecord
from agent_forge.storage.files import (
    file_sha256,
    list_files,
    sync_directory,
    sync_tree,
    write_atomic,
    writing_to,
)
from agent_forge.storage.manifest import MANIFEST, AnyManifest, manifest_text
from agent_forge.storage.minisign import SIGNATURE
from agent_forge.storage.moving import Moving, Watcher


def publish_into(model: Path, manifest: AnyManifest, final: Path, watcher: Watcher | None = None) -> Path:
    """Make `final` a published model: files first, each checked after the copy, the manifest last.

    Nobody else may write there.

    Args:
        model: directory of the baked model.
        manifest: its `files` must describe exactly what is in `model`, beside a manifest.
        final: what is there is replaced.
        watcher: is told how much is there.

    Returns:
        The manifest's path.

    Raises:
        OutputError: when a copied file differs from the manifest, or the place cannot be written to.
    """
    with writing_to(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            shutil.rmtree(final)
        _copy(model, final, manifest.files, watcher)
        write_atomic(final / MANIFEST, manifest_text(manifest))
    return final / MANIFEST


def model_files(model: Path) -> tuple[FileRecord, ...]:
    """Return what a manifest describes: every file but the manifest itself and its signature."""
    return tuple(file for file in list_files(model) if file.path not in (MANIFEST, SIGNATURE))


def _copy(model: Path, final: Path, files: tuple[FileRecord, ...], watcher: Watcher | None) -> None:
    if model_files(model) != files:
        raise OutputError(f"{model} changed while it was being published; run again")
    moving = Moving(watcher, "publishing", sum(file.size for file in files))
    for file in files:
        target = final / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model / file.path, target)
        if file_sha256(target) != file.sha256:
            raise OutputError(f"{target} differs from what was copied; check the disk and run again")
        moving.add(file.size)
    sync_tree(final)
    sync_directory(final.parent)
