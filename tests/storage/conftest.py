"""A hub that huggingface_hub itself talks to."""

import hashlib
import time

import pytest
from storage.hub_server import Hub, serve

from agent_forge.storage.manifest import MANIFEST, parse_manifest


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub; at no commit that was ever made to it may a manifest stand without every byte of its files."""
    found = Hub()
    with serve(found) as address:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        found.address = address
        yield found
    for _, branch, commit in found.history:
        if branch == "main":
            assert_whole(found.commits[commit])


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
