"""Fetched models that need not wait for the disk: after the machine was started anew their bytes are checked again."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from agent_forge.errors import InputError
from agent_forge.records import FileRecord, Record, read_record
from agent_forge.storage.files import list_files, sync_tree

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Fetched(Record):
    """What a fetched model consists of.

    Attributes:
        boot: of the machine that has it in memory at least; None when it was forced to the disk.
        files: every file.
    """

    boot: str | None
    files: tuple[FileRecord, ...]


def keep_whole(prepared: Path, whole: Path, files: Sequence[FileRecord]) -> None:
    """Move a fetched model, every byte of which was checked, to its final name, where nothing may be."""
    boot = current_boot()
    if boot is None:
        sync_tree(prepared)
    _write(whole, Fetched(boot=boot, files=tuple(sorted(files, key=lambda file: file.path))))
    prepared.rename(whole)


def is_whole(whole: Path) -> bool:
    """Whether a fetched model is there with every byte; one that a crash of the machine has damaged is removed."""
    if not whole.exists():
        return False
    boot = current_boot()
    try:
        fetched = read_record(Fetched, _record(whole))
    except InputError:
        shutil.rmtree(whole)
        return False
    if fetched.boot in (None, boot):
        return True
    if list_files(whole) != fetched.files:
        shutil.rmtree(whole)
        return False
    _write(whole, fetched.model_copy(update={"boot": boot}))
    return True


def current_boot() -> str | None:
    """Return what names this boot of the machine, None where the system does not say."""
    return _BOOT.read_text().strip() if _BOOT.exists() else None


def _record(whole: Path) -> Path:
    """Return where the record is: beside the model, in which it would be a file that nobody published."""
    return whole.parent / f".{whole.name}.fetched.json"


def _write(whole: Path, fetched: Fetched) -> None:
    _record(whole).write_text(fetched.model_dump_json())
