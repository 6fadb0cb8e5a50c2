"""What every refusal of bad input must look like, a run to spoil, and a disk that fills up."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from small_bake import small_arguments

from agent_forge.records import Receipt, read_record
from agent_forge.storage.files import path_digest


def the_line(code: int, stderr: str) -> str:
    assert code == 2, stderr
    assert stderr.startswith("forge: ") and stderr.endswith("\n") and stderr.count("\n") == 1, stderr
    assert "Traceback" not in stderr
    return stderr.strip()


def run_arguments(tmp_path: Path, **changes: object) -> list[str]:
    """Return the arguments of a run that would end without a bake, were its input good."""
    return small_arguments(tmp_path, tmp_path / "out", scenario="baseline_wins", **changes)


def nothing_half_written(out: Path) -> None:
    """Whatever is under a final name is whole: stages with receipts that hold, and no result of the run."""
    assert not (out / "results.json").exists()
    assert not (out / "baked").exists() and not (out / "rejected").exists()
    for receipt in out.glob("stages/**/receipt.json"):
        outputs = read_record(Receipt, receipt).outputs
        assert all(path_digest(receipt.parent / name) == digest for name, digest in outputs.items())
    for file in (path for path in out.glob("stages/**/*") if path.is_file()):
        assert any((parent / "receipt.json").is_file() for parent in file.parents), file
    assert not list(out.rglob("*.preparing"))


def mentions(line: str, words: list[str]) -> None:
    assert [word for word in words if word not in line] == [], line


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file grow past a size: what the system refuses then fails as on a full disk, for any user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
