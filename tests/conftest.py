"""Runs of the real command line: one that is made once and copied, and those that are refused."""

import gc
import os
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from refusals import the_line
from small_bake import SECRETS, SmallBake, forge

from agent_forge import cli

# A machine that is busy is no failure: speed is measured by bench/.
settings.register_profile("forge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forge")
# Tests run side by side; models this small gain nothing from threads and would only fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish(session):
    """Leave what was imported to itself: every collection of garbage would look through all of it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory) -> Path:
    """A directory that every process of these tests has, for what is made once and by whoever needs it first."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, of_all_workers) -> SmallBake:
    """A run that nothing disturbed; its directory stands beside the place it was made in, since results name that."""
    bake = SmallBake(tmp_path_factory.mktemp("small"))
    with FileLock(of_all_workers / "bake.lock"):
        first = of_all_workers / "bake"
        if first.exists():
            bake.take_over(SmallBake(Path(first.read_text())))
        done = forge(*bake.arguments("--resume"), env=os.environ | SECRETS)
        assert done.returncode == 0, done.stderr
        bake.out.rename(bake.finished)
        if not first.exists():
            bake.said.write_text(done.stderr + done.stdout)
            first.write_text(str(bake.base))
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


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real S3 server; the environment in which clients find it."""
    from object_store import object_store

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            patch.setenv(name, "")
        with object_store(tmp_path_factory.mktemp("server")) as environment:
            yield environment


@pytest.fixture
def bucket(server, tmp_path, monkeypatch, request):
    """A client, and a prefix in the bucket that no other test writes below; downloads go below tmp_path."""
    from object_store import BUCKET

    from agent_forge.storage.s3 import connect

    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    return connect(), f"s3://{BUCKET}/{abs(hash((request.node.name, str(tmp_path)))):x}"


@pytest.fixture
def reader(bucket, monkeypatch):
    """From here on the credentials are those of somebody who may read only."""
    from object_store import READER

    for name, value in READER.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that huggingface_hub asks; repositories are committed to it."""
    from storage.hub_server import Hub, serve

    found = Hub()
    with serve(found) as address:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        found.address = address
        yield found


@pytest.fixture
def service(tmp_path, monkeypatch):
    """The artifacts that W&B holds, by entity/project/name:alias."""
    from storage.fixed_artifacts import library

    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    artifacts = {}
    monkeypatch.setitem(sys.modules, "wandb", library(artifacts))
    return artifacts
