"""Checking a published model, offline: its manifest, that what it says fits together, and every byte of every file."""

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent_forge.errors import CheckFailed, InputError
from agent_forge.evolution_records import ChampionManifest
from agent_forge.records import FileRecord, GateReport, Manifest, VerificationReport
from agent_forge.storage.files import file_sha256
from agent_forge.storage.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    bake_id_of,
    is_evolved,
    parse_champion_manifest,
    parse_manifest,
)
from agent_forge.storage.minisign import SIGNATURE, PublicKey, check_form, verify
from agent_forge.storage.s3 import safe_name

# Files that run code when somebody loads them, and archives, which nothing here ever unpacks.
_REFUSED = frozenset(
    {
        *(".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".msgpack", ".npy", ".npz", ".py"),
        *(".so", ".pyc", ".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".whl", ".keras", ".h5"),
    }
)


@dataclass(frozen=True)
class Checked:
    """A published model that is what its manifest says.

    Attributes:
        signed: whether there is a signature.
        signer: id of the key whose signature was checked; None when no key was given.
        sealed: whether the manifest carries its own digest; those of older versions do not.
    """

    manifest: Manifest
    signed: bool
    signer: str | None
    sealed: bool


def verify_artifact(directory: Path, blobs: Path | None = None) -> Manifest:
    """Check everything about a published model that needs no key; see `check_artifact`."""
    return check_artifact(directory, blobs=blobs).manifest


def check_artifact(directory: Path, key: PublicKey | None = None, blobs: Path | None = None) -> Checked:
    """Check everything about a published model.

    Args:
        directory: of the model.
        key: whose signature is required.
        blobs: the directory that links may lead into, as those of the hub's cache do; by default none may be.

    Raises:
        InputError: when there is no manifest.
        CheckFailed: naming the first file that is missing, differs, is not in the manifest or has no business in a
            model, or what in the manifest contradicts itself.
    """
    if not directory.is_dir() or not (directory / MANIFEST).exists():
        raise InputError(f"{directory} has no {MANIFEST}; it is not a published model")
    entries = tuple(_entries(directory, blobs))
    content = _read(directory / MANIFEST)
    manifest = parse_manifest(content, MANIFEST)
    check_claims(manifest)
    signer = _check_signature(directory, content, key)
    _check_files(directory, manifest.files, entries)
    signed = (directory / SIGNATURE).exists()
    return Checked(manifest, signed, signer, bool(manifest.content_sha256))


def check_evolved(directory: Path, key: PublicKey | None = None, blobs: Path | None = None) -> ChampionManifest:
    """Check every file of an evolved champion; see `check_artifact`."""
    entries = tuple(_entries(directory, blobs))
    content = _read(directory / MANIFEST)
    manifest = parse_champion_manifest(content, MANIFEST)
    _check_signature(directory, content, key)
    _check_names([file.path for file in manifest.files])
    _check_files(directory, manifest.files, entries)
    return manifest


def holds_evolved(directory: Path) -> bool:
    """Whether a directory says that it is an evolved champion."""
    return (directory / MANIFEST).is_file() and is_evolved(_read(directory / MANIFEST))


def check_claims(manifest: Manifest) -> None:
    """Check what can be checked of a manifest alone: its names, its bake id, its verdicts.

    Raises:
        CheckFailed: saying what contradicts what.
    """
    _check_names([file.path for file in manifest.files])
    _check_bake_id(manifest)
    _check_gate(manifest.gate)
    _check_verification(manifest.verification)


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(LARGEST_MANIFEST + 1)


def _entries(directory: Path, blobs: Path | None) -> Iterator[str]:
    """Return the names of all files, refusing whatever is neither a plain file nor a directory."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        inside = blobs is not None and path.resolve().is_relative_to(blobs.resolve())
        if path.is_symlink() and not inside:
            raise CheckFailed(f"{name} is a link; a published model holds plain files only: do not trust it")
        if path.is_dir():
            continue
        if not path.is_file():
            raise CheckFailed(f"{name} is no regular file; a published model holds plain files only: do not trust it")
        yield name


def _check_names(names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        # What some file systems take for the same name would lie on top of each other there.
        folded = unicodedata.normalize("NFC", name).casefold()
        if not safe_name(name):
            raise CheckFailed(f"{name!r} in the manifest leads outside the model; do not trust it")
        if folded in (MANIFEST, SIGNATURE):
            raise CheckFailed(f"{name} in the manifest describes the manifest itself; do not trust it")
        if folded in seen:
            raise CheckFailed(f"{name} in the manifest is the same file as {seen[folded]}; do not trust it")
        if PurePosixPath(folded).suffix in _REFUSED:
            raise CheckFailed(
                f"{name} may run code or hold other files; published models have safetensors and text only"
            )
        seen[folded] = name


def _check_bake_id(manifest: Manifest) -> None:
    if manifest.champion.bake_id != manifest.bake_id:
        raise CheckFailed(
            f"{MANIFEST}: bake {manifest.bake_id} is said to be of a champion resolved for {manifest.champion.bake_id}"
        )
    code = manifest.code.source_sha256
    found = bake_id_of(manifest.champion.digest, manifest.config, manifest.question_digests, code)
    if found != manifest.bake_id:
        raise CheckFailed(
            f"{MANIFEST}: champion, configuration, questions and code make bake {found}, not {manifest.bake_id}"
        )


def _check_gate(gate: GateReport) -> None:
    improved = any(task.role == "target" and task.passed for task in gate.per_task)
    if (
        gate.verdict != "bake"
        or not improved
        or any(task.role == "guard" and not task.passed for task in gate.per_task)
    ):
        raise CheckFailed(
            f"{MANIFEST}: the gate does not say bake, or not by its own figures; nothing may be published"
        )
    _check_difference("gate", gate.thought_accuracy, gate.baseline_accuracy, gate.difference)


def _check_verification(report: VerificationReport) -> None:
    harmed = any(task.role == "guard" and not task.passed for task in report.per_task)
    if report.verdict != "publish" or report.failed_checks or harmed:
        raise CheckFailed(f"{MANIFEST}: verification does not say publish, or not by its own figures; do not trust it")
    _check_difference("verification", report.baked_accuracy, report.champion_accuracy, report.difference)


def _check_difference(which: str, after: float, before: float, difference: float) -> None:
    if not math.isclose(after - before, difference, abs_tol=1e-9):
        raise CheckFailed(f"{MANIFEST}: the {which}'s difference {difference} is not {after} - {before}")


def _check_signature(directory: Path, content: bytes, key: PublicKey | None) -> str | None:
    path = directory / SIGNATURE
    if not path.exists():
        if key is not None:
            raise CheckFailed(f"{SIGNATURE} is missing: the model is not signed")
        return None
    signature = _read(path)
    if key is None:
        check_form(signature, SIGNATURE)
        return None
    verify(content, signature, key, SIGNATURE)
    return key.name


def _check_files(directory: Path, files: Sequence[FileRecord], entries: Iterable[str]) -> None:
    for file in files:
        _check_file(directory, file)
    known = {file.path for file in files} | {MANIFEST, SIGNATURE}
    for name in entries:
        if name not in known:
            raise CheckFailed(f"{name} is not in the manifest")


def _check_file(directory: Path, file: FileRecord) -> None:
    path = directory / file.path
    if not path.is_file():
        raise CheckFailed(f"{file.path} is missing")
    if path.stat().st_size != file.size:
        raise CheckFailed(f"{file.path} has {path.stat().st_size} bytes, the manifest says {file.size}")
    if (actual := file_sha256(path)) != file.sha256:
        raise CheckFailed(f"{file.path} has sha256 {actual}, the manifest says {file.sha256}")
