"""Publishing to a local directory: files first, each checked after the copy, the manifest last.

ROOT/baked/<bake id>/model files ..., manifest.json      real: the manifest is there
ROOT/rejected/<bake id>/model files ..., REJECTED.json   kept aside: no manifest, another name
"""

import shutil
from pathlib import Path

from agent_forge.errors import OutputError
from agent_forge.records import FileRecord, Manifest, VerificationReport
from agent_forge.storage.files import (
    file_sha256,
    list_files,
    move_into_place,
    sync_directory,
    sync_tree,
    write_atomic,
    writing_to,
)
from agent_forge.storage.manifest import MANIFEST, manifest_text


def published_path(root: Path, bake_id: str) -> Path:
    """Return where a bake is published."""
    return root / "baked" / bake_id


def published_manifest(root: Path, bake_id: str) -> Path | None:
    """Return the manifest's path when this bake is published, else None."""
    manifest = published_path(root, bake_id) / MANIFEST
    return manifest if manifest.is_file() else None


def publish(model: Path, manifest: Manifest, root: Path) -> Path:
    """Publish a verified model; a no-op when the same bake is there already.

    Args:
        model: directory of the baked model.
        manifest: its `files` must describe exactly what is in `model`.
        root: publication root.

    Returns:
        The manifest's path.

    Raises:
        OutputError: when a copied file differs from the manifest, or the place cannot be written to.
    """
    if (there := published_manifest(root, manifest.bake_id)) is not None:
        return there
    return publish_into(model, manifest, published_path(root, manifest.bake_id))


def publish_into(model: Path, manifest: Manifest, final: Path) -> Path:
    """Make `final` a published model: files, then the manifest; see `publish`."""
    with writing_to(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            shutil.rmtree(final)
        _copy(model, final, manifest.files)
        write_atomic(final / MANIFEST, manifest_text(manifest))
    return final / MANIFEST


def keep_rejected(model: Path, report: VerificationReport, root: Path, bake_id: str) -> Path:
    """Keep a rejected model aside, labelled, never under the published name; return its directory."""
    final = root / "rejected" / bake_id
    prepared = root / "rejected" / f".{bake_id}.preparing"
    with writing_to(root):
        shutil.rmtree(prepared, ignore_errors=True)
        shutil.copytree(model, prepared)
        write_atomic(prepared / "REJECTED.json", report.model_dump_json(indent=2) + "\n")
        move_into_place(prepared, final)
    return final


def _copy(model: Path, final: Path, files: tuple[FileRecord, ...]) -> None:
    if list_files(model) != files:
        raise OutputError(f"{model} changed while it was being published; run again")
    for file in files:
        target = final / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model / file.path, target)
        if file_sha256(target) != file.sha256:
            raise OutputError(f"{target} differs from what was copied; check the disk and run again")
    sync_tree(final)
    sync_directory(final.parent)
