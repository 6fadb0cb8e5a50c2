"""Places that cannot be written to: one line on standard error, exit code 2, and nothing half-written."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from refusals import files_up_to, mentions, nothing_half_written, run_arguments
from small_bake import SmallBake, forge


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_where_the_run_directory_would_be(tmp_path, refusal, place):
    (tmp_path / "file").write_text("precious")
    mentions(refusal(*run_arguments(tmp_path), "--out", str(tmp_path / place), quiet=False), ["file", "another"])
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("place", ["/proc/forge-run", "/sys/forge-run"])
def test_places_of_the_system(tmp_path, refusal, place):
    mentions(refusal(*run_arguments(tmp_path), "--out", place, quiet=False), [place, "another"])


@contextmanager
def mounted(place: Path, options: str) -> Iterator[bool]:
    """Mount an empty disk in memory, and say whether that was permitted."""
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            # Weights that were loaded from it may still be mapped into memory.
            subprocess.run(["umount", "--lazy", place], check=True)


def test_read_only_disk(tmp_path, refusal):
    with mounted(tmp_path / "disk", "ro") as permitted:
        # Without the right to mount, a user's own directory can be closed to that user.
        (tmp_path / "disk").chmod(0o500) if not permitted else None
        line = refusal(*run_arguments(tmp_path), "--out", str(tmp_path / "disk" / "out"), quiet=False)
    mentions(line, [str(tmp_path / "disk"), "another"])


WEIGHTS = (SmallBake.CHAMPION / "model.safetensors").stat().st_size


# Bytes that there is room for, and the stages that can end there: none, all before the extended model, that one too.
@pytest.mark.parametrize(("size", "stages"), [(4096, 0), (WEIGHTS // 2, 2), (WEIGHTS + 124 * 1024, 3)])
def test_full_disk(tmp_path, refusal, size, stages):
    place = tmp_path / "disk"
    arguments = [*run_arguments(tmp_path), "--out", str(place / "out")]
    with mounted(place, f"size={size}") as permitted:
        # Without the right to mount, no file grows past half the weights.
        with nullcontext() if permitted else files_up_to(min(size, WEIGHTS // 2)):
            line = refusal(*arguments)
        mentions(line, ["cannot write", str(place)])
        nothing_half_written(place / "out")
        assert not permitted or len(list(place.glob("out/stages/*/receipt.json"))) == stages


def test_run_goes_on_once_there_is_room(tmp_path, out, refusal):
    with files_up_to(WEIGHTS // 2):
        refusal(*run_arguments(tmp_path))
    assert forge(*run_arguments(tmp_path), "--resume").returncode == 0
    assert (out / "results.json").exists()


def test_file_size_limit(tmp_path, out, refusal):
    with files_up_to(1 << 20):
        mentions(refusal(*run_arguments(tmp_path)), ["cannot write", "ulimit"])
    nothing_half_written(out)
