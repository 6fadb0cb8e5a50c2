"""A hub that huggingface_hub itself talks to."""

import hashlib
import time

import pytest
from storage.published import publish_small

from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.manifest import MANIFEST, parse_manifest


@pytest.fixture
def hub(hub):
    """A hub; at no commit that was ever made to it may a manifest stand without every byte of its files."""
    yield hub
    for _, branch, commit in hub.history:
        if branch == "main":
            assert_whole(hub.commits[commit])


@pytest.fixture
def model(tmp_path):
    publish_small(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def manifest(model):
    return verify_artifact(model)


@pytest.fixture
def slept(monkeypatch):
    """Waits between attempts, in seconds, a hundred times shorter."""
    found, sleep = [], time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: found.append(seconds) or sleep(seconds / 100))
    return found


def assert_whole(files):
    for name in files:
        if name.startswith("baked/") and name.endswith(f"/{MANIFEST}"):
            for file in parse_manifest(files[name], name).files:
                content = files[f"{name.rpartition('/')[0]}/{file.path}"]
                assert hashlib.sha256(content).hexdigest() == file.sha256, f"{name}: {file.path}"
