"""Digests and atomic writes: something half-written is never readable under its final name."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent_forge.errors import InputError, OutputError
from agent_forge.records import FileRecord

_CHUNK = 1 << 20
_UNWRITABLE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file size limit is reached; raise it (ulimit -f) or choose another directory",
    errno.EROFS: "the file system is read-only; choose another directory",
    errno.EACCES: "permission denied; choose another directory",
    errno.EPERM: "permission denied; choose another directory",
    errno.ENOTDIR: "a file stands where a directory is needed; choose another directory",
    errno.EEXIST: "a file stands where a directory is needed; choose another directory",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def cache_home() -> Path:
    """Return where downloads are kept: FORGE_HOME, by default ~/.cache/agent-forge."""
    return Path(os.environ.get("FORGE_HOME") or "~/.cache/agent-forge").expanduser()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex, read a mebibyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def list_names(directory: Path) -> list[str]:
    """Return the path of every regular file below a directory, as POSIX writes it, sorted.

    Hidden files and directories (a hub's cache, an editor's leftovers) do not belong to a model and are left out.
    """
    relative = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts))


def list_files(directory: Path) -> tuple[FileRecord, ...]:
    """Return every regular file below a directory, sorted by path; hidden ones are left out."""
    paths = {name: directory / name for name in list_names(directory)}
    return tuple(
        FileRecord(path=name, sha256=file_sha256(path), size=path.stat().st_size) for name, path in paths.items()
    )


def files_digest(files: tuple[FileRecord, ...]) -> str:
    """Return one sha256 over names and contents: of the lines `<sha256>  <path>`, as sha256sum prints them."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def path_digest(path: Path) -> str:
    """Return the sha256 of a file, or of a directory's names and contents.

    Raises:
        InputError: when there is nothing there, or it cannot be read.
    """
    try:
        if path.is_dir():
            return files_digest(list_files(path))
        if path.is_file():
            return file_sha256(path)
    except OSError as cause:
        raise InputError(f"cannot read {cause.filename or path}: {cause.strerror}; make it readable") from cause
    raise InputError(f"{path} does not exist; a file or directory is expected there")


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that the name holds either the old content or the new, whole and on disk.

    Raises:
        OutputError: when the place cannot be written to.
    """
    write_parts_atomic(path, (text,))


def write_parts_atomic(path: Path, parts: Iterable[str]) -> None:
    """Write a text file part after part; see `write_atomic`."""
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(parts)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(directory: Path) -> None:
    """Make every file below a directory durable."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        elif path.is_dir():
            sync_directory(path)
    sync_directory(directory)


def move_into_place(prepared: Path, final: Path) -> None:
    """Rename a finished directory to its final name, replacing what is there.

    Between the two renames there is nothing under the final name, never a mixture.
    """
    sync_tree(prepared)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        old = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.old."))
        final.rename(old / final.name)
        prepared.rename(final)
        shutil.rmtree(old)
    else:
        prepared.rename(final)
    sync_directory(final.parent)


@contextlib.contextmanager
def writing_to(place: Path) -> Iterator[None]:
    """Turn the system's refusals to write into one clear line.

    Raises:
        OutputError: for a full or read-only disk, a missing permission, a file where a directory is needed.
    """
    try:
        yield
    except OSError as cause:
        if (advice := unwritable(cause)) is None:
            raise
        raise OutputError(f"cannot write to {place}: {advice}") from cause


def unwritable(error: BaseException) -> str | None:
    """Return what to do when an error means that a place cannot be written to, else None.

    Libraries written in Rust (safetensors, tokenizers) report the system's errors as text only.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return _UNWRITABLE.get(error.errno)
    named = re.search(r"\(os error (\d+)\)", str(error))
    return _UNWRITABLE.get(int(named[1])) if named else None
