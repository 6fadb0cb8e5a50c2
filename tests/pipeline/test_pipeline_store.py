"""The compiled pipeline with a bucket at both ends: the champion is read from one, the bake is published to it."""

from pathlib import Path

import pytest
from local_cluster import Cluster
from small_bake import SmallBake
from test_pipeline_run import arguments

from agent_forge.records import Manifest, read_record
from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.s3 import Location
from agent_forge.storage.s3_download import fetch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def cluster(root: Path) -> Cluster:
    """A cluster whose pods share nothing: each has a home of its own, and what it fetches is gone with it."""
    homes = iter(range(1000))
    return Cluster(root / "root", surroundings=lambda: {"FORGE_HOME": str(root / f"home-{next(homes)}")})


def upload(client, directory: Path, uri: str) -> None:
    place = Location.parse(uri)
    for file in directory.iterdir():
        client.upload_file(str(file), place.bucket, (place / file.name).key)


def test_a_champion_in_a_bucket_is_published_to_it_once(tmp_path, monkeypatch, bucket):
    client, place = bucket
    upload(client, SmallBake.CHAMPION, f"{place}/champions/first")
    given = {**arguments(), "model_path": f"{place}/champions/first", "output_path": place}
    first, second = cluster(tmp_path / "first"), cluster(tmp_path / "second")
    first.run(monkeypatch, **given)
    assert first.stages()[-1] == "push-artifact"
    manifest = read_record(Manifest, first.one("push-artifact").artifact("manifest"))
    assert manifest.champion.uri == f"{place}/champions/first"
    assert verify_artifact(fetch(f"{place}/baked/{manifest.bake_id}")) == manifest
    # The same again finds the manifest before anything is spent.
    second.run(monkeypatch, **given)
    assert second.stages() == ["resolve-champion"]
    assert second.one("resolve-champion").parameter("already_published") == "true"
