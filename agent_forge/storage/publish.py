"""A published model in a directory: writing one, files first and the manifest last, and checking one."""

import shutil
from pathlib import Path

from agent_forge.errors import CheckFailed, InputError, OutputError
from agent_forge.records import FileRecord, Manifest, read_record
from agent_forge.storage.files import (
    file_sha256,
    list_files,
    sync_directory,
    sync_tree,
    write_atomic,
    writing_to,
)
from agent_forge.storage.moving import Moving, Watcher

MANIFEST = "manifest.json"


def publish_into(model: Path, manifest: Manifest, final: Path, watcher: Watcher | None = None) -> Path:
    """Make `final` a published model: files first, each checked after the copy, the manifest last.

    Nobody else may write there.

    Args:
        model: directory of the baked model.
        manifest: its `files` must describe exactly what is in `model`.
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
        write_atomic(final / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return final / MANIFEST


def verify_artifact(directory: Path) -> Manifest:
    """Recompute every digest of a published model.

    Raises:
        InputError: when there is no manifest that can be read.
        CheckFailed: naming the first file that is missing, differs, or is not in the manifest.
    """
    manifest_path = directory / MANIFEST
    if not manifest_path.is_file():
        raise InputError(f"{directory} has no {MANIFEST}; it is not a published model")
    manifest = read_record(Manifest, manifest_path)
    for file in manifest.files:
        _check_file(directory, file)
    known = {file.path for file in manifest.files} | {MANIFEST}
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory).as_posix()
        if not path.is_dir() and relative not in known:
            raise CheckFailed(f"{relative} is not in the manifest")
    return manifest


def _copy(model: Path, final: Path, files: tuple[FileRecord, ...], watcher: Watcher | None) -> None:
    if list_files(model) != files:
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


def _check_file(directory: Path, file: FileRecord) -> None:
    path = directory / file.path
    if ".." in Path(file.path).parts or Path(file.path).is_absolute() or path.is_symlink():
        raise CheckFailed(f"{file.path} in the manifest leads outside the model; the manifest is not to be trusted")
    if not path.is_file():
        raise CheckFailed(f"{file.path} is missing")
    if path.stat().st_size != file.size:
        raise CheckFailed(f"{file.path} has {path.stat().st_size} bytes, the manifest says {file.size}")
    if (actual := file_sha256(path)) != file.sha256:
        raise CheckFailed(f"{file.path} has sha256 {actual}, the manifest says {file.sha256}")
