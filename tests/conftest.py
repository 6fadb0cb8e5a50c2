"""Runs of the real command line: one that is made once and copied, and those that are refused."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from refusals import the_line
from small_bake import SmallBake, forge

from agent_forge import cli

# Tests run side by side; models this small gain nothing from threads and would only fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> SmallBake:
    """A run that nothing disturbed; its directory stands beside the place it was made in, since results name that."""
    bake = SmallBake(tmp_path_factory.mktemp("small"))
    done = forge(*bake.arguments())
    assert done.returncode == 0, done.stderr
    bake.out.rename(bake.finished)
    return bake


@pytest.fixture
def bake(undisturbed):
    """The same bake with an empty place for a run."""
    shutil.rmtree(undisturbed.out, ignore_errors=True)
    return undisturbed


@pytest.fixture
def finished_bake(bake):
    """The same bake with a finished run in its place."""
    shutil.copytree(bake.finished, bake.out)
    return bake


@pytest.fixture
def champion_copy(tmp_path) -> Path:
    """A copy of the bundled champion to damage."""
    return Path(shutil.copytree(SmallBake.CHAMPION, tmp_path / "champion"))


@pytest.fixture
def out(tmp_path) -> Path:
    """Where a run to be refused would be written."""
    return tmp_path / "out"


@pytest.fixture
def refusal(monkeypatch, capsys):
    """Run the command line in this process; return the one line that it refuses with."""

    def run(*arguments: str, quiet: bool = True) -> str:
        monkeypatch.setattr(sys, "argv", ["forge", *arguments, *(["--quiet"] if quiet else [])])
        code = cli._run()
        return the_line(code, capsys.readouterr().err)

    return run
