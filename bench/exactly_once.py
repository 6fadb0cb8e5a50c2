"""Exactly once: many runs of one bake, and publishers killed at random moments, in a directory and in a bucket.

    PYTHONPATH=tests python bench/exactly_once.py runs  --processes 100 --store directory|s3
    PYTHONPATH=tests python bench/exactly_once.py leases --processes 100 --store directory|s3
    PYTHONPATH=tests python bench/exactly_once.py kills --kills 50      --store directory|s3|hub

`runs` forks processes that each make the whole run of the bundled champion made small, with a run directory of their
own and one place to publish to. One is to train, all are to end alike.

`leases` does the same with everything but the stages: the lease, the wait, publishing and reading back are real, a line
in a file stands for training. So a hundred processes fit on two cores that others share.

`kills` forks processes that publish a model of 40 MB and kills them after a random time, until each of several models
is published. After every kill a manifest that can be read must describe files that are there; at the end all must be
what an undisturbed publisher leaves. `hub` is a server that stands for it, see tests/storage/hub_server.py, and the
model there a tenth as large.

Needs the packages of the tests, for their S3 server. Prints JSON.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from object_store import BUCKET, object_store
from report.sample_run import RUNS
from small_bake import DEMO, SMALL
from storage.hub_server import Hub, serve

from agent_forge.artifact_commands import fetched
from agent_forge.config import load_config
from agent_forge.quietstar_baker import QuietSTaRBaker
from agent_forge.records import FileRecord, Manifest
from agent_forge.storage import lease
from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.directory_publication import DirectoryPublication
from agent_forge.storage.files import list_files
from agent_forge.storage.hub import api
from agent_forge.storage.hub_publication import HubPublication
from agent_forge.storage.leftovers import find_leftovers
from agent_forge.storage.manifest import bake_id_of
from agent_forge.storage.publication import Publication, publication
from agent_forge.storage.s3_publication import S3Publication

FORK = multiprocessing.get_context("fork")
MODEL_BYTES = 40_000_000


@contextlib.contextmanager
def store(kind: str, base: Path) -> Iterator[str]:
    """Give a place to publish to."""
    if kind == "directory":
        yield str(base / "root")
        return
    if kind == "hub":
        with hub_in_a_process() as address:
            from huggingface_hub import constants

            constants.ENDPOINT = address
            constants.HUGGINGFACE_CO_URL_TEMPLATE = address + "/{repo_id}/resolve/{revision}/{filename}"
            constants.HF_HUB_CACHE, constants.HF_HUB_DISABLE_XET = str(base / "cache"), True
            yield "hf://org/models"
        return
    (base / "server").mkdir()
    with object_store(base / "server") as environment:
        os.environ.update(environment, FORGE_HOME=str(base / "home"))
        yield f"s3://{BUCKET}/root"


@contextlib.contextmanager
def hub_in_a_process() -> Iterator[str]:
    """Serve a hub with one empty repository from a process of its own; give its address."""
    ours, theirs = FORK.Pipe()

    def run() -> None:
        hub = Hub()
        hub.commit("org/models", {".gitattributes": b""})
        with serve(hub) as address:
            theirs.send(address)
            theirs.recv()

    server = FORK.Process(target=run, daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        server.kill()


def run_once(out: Path, root: str) -> None:
    """Make the whole run; a process of its own."""
    arguments = {**SMALL, "model_path": str(DEMO / "champion"), "output_path": str(out), "publish_to": root}
    try:
        QuietSTaRBaker(load_config(arguments, file=DEMO / "bake.yaml")).run()
    except BaseException as failure:
        print(f"{out.name}: {failure!r}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def count_runs(base: Path, root: str, processes: int) -> dict[str, object]:
    """Start all processes at once; count who trained and how they ended."""
    # The one that trains imports torch itself; the others never do.
    assert "torch" not in sys.modules
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.monotonic()
    outs = [base / f"run-{number}" for number in range(processes)]
    children = [FORK.Process(target=run_once, args=(out, root)) for out in outs]
    for child in children:
        child.start()
    most = 0
    while alive := [child for child in children if child.is_alive()]:
        most = max(most, sum(private_megabytes(child.pid) for child in alive))
        time.sleep(5)
    events = {out: (out / "events.jsonl").read_text() for out in outs if (out / "events.jsonl").exists()}
    results = [json.loads((out / "results.json").read_text()) for out in outs if (out / "results.json").exists()]
    same = {json.dumps({**found, "run_dir": "", "report_path": ""}, sort_keys=True) for found in results}
    whole = whole_model(publication(root), root, results[0]["bake_id"])
    return {
        "processes": processes,
        "exit_0": sum(child.exitcode == 0 for child in children),
        "trained": sum('"began", "stage": "bake"' in text for text in events.values()),
        "sampled": sum('"began", "stage": "evaluate-round' in text for text in events.values()),
        "different_results": len(same),
        "published": sum(found["published"] for found in results),
        "manifests": manifests(root),
        "model_whole": whole is not None,
        "most_private_megabytes": most,
        "seconds": round(time.monotonic() - began, 1),
    }


def private_megabytes(pid: int | None) -> int:
    """Return the memory that a process shares with no other, MB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) // 1000


def lead_or_wait(base: Path, root: str, model: Path, sample: Manifest, number: int) -> None:
    """Train, as far as that is a line in a file, and publish, or wait; write down the manifest that is there then."""
    place = publication(root)
    assert place is not None
    manifest = sample.model_copy(update={"created_at": f"by process {number}"})

    def settled() -> bool:
        return place.published(manifest.bake_id) is not None

    with lease.leased(place.lease(manifest.bake_id), settled) as held:
        if held is not None:
            with (base / "trained").open("a") as file:
                file.write(f"{number}\n")
            time.sleep(2)
            place.publish(model, manifest, held)
    (base / f"result-{number}").write_text(place.manifest(manifest.bake_id).model_dump_json())
    os._exit(0)


def count_leases(base: Path, root: str, processes: int) -> dict[str, object]:
    """Start all processes at once; count who trained and what they found at the end."""
    began, model = time.monotonic(), base / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(random.Random(0).randbytes(20_000_000))
    sample = next(found for run in RUNS.values() if (found := run().manifest) is not None)
    sample = sample.model_copy(update={"files": list_files(model)})
    children = [
        FORK.Process(target=lead_or_wait, args=(base, root, model, sample, number)) for number in range(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return {
        "processes": processes,
        "exit_0": sum(child.exitcode == 0 for child in children),
        "trained": len((base / "trained").read_text().split()),
        "different_results": len({path.read_text() for path in base.glob("result-*")}),
        "manifests": manifests(root),
        "model_whole": whole_model(publication(root), root, sample.bake_id) is not None,
        "seconds": round(time.monotonic() - began, 1),
    }


def manifests(root: str) -> int:
    """Count the manifests at a place."""
    if root.startswith("hf://"):
        found = api().list_repo_tree(root.removeprefix("hf://"), "baked", recursive=True)
        return sum(entry.path.endswith("/manifest.json") for entry in found)
    if not root.startswith("s3://"):
        return len(list(Path(root).glob("baked/*/manifest.json")))
    from agent_forge.storage.s3 import connect

    found = connect().list_objects_v2(Bucket=BUCKET, Prefix="root/baked/").get("Contents", [])
    return sum(entry["Key"].endswith("/manifest.json") for entry in found)


def whole_model(root: Publication | None, place: str, bake_id: str) -> Manifest | None:
    """Return the manifest of a model after reading back every byte of it; None when it is not published."""
    if root is None or root.published(bake_id) is None:
        return None
    where = f"{place}/baked/{bake_id}"
    return verify_artifact(*fetched(where))


def opened(root: str) -> Publication:
    """Open a place with a lease that a dead publisher holds for a second only."""
    if root.startswith("hf://"):
        return HubPublication(root, 1.0)
    return S3Publication(root, 1.0) if root.startswith("s3://") else DirectoryPublication(Path(root))


def publish_once(root: str, model: Path, manifest: Manifest) -> None:
    """Publish under the lease that a run holds; a process of its own."""
    place = opened(root)

    def settled() -> bool:
        return place.published(manifest.bake_id) is not None

    with lease.leased(place.lease(manifest.bake_id), settled, 1.0) as held:
        if held is not None:
            place.publish(model, manifest, held)
    place.settle(manifest.bake_id)
    os._exit(0)


def count_kills(base: Path, root: str, kills: int, seed: int) -> dict[str, object]:
    """Kill publishers at random moments, with restarts; read everything back after each kill."""
    model, rng = base / "model", random.Random(seed)
    model.mkdir()
    for name, share in (("model.safetensors", 0.8), ("tokenizer.json", 0.1), ("config.json", 0.05), ("a", 0.05)):
        size = MODEL_BYTES / 10 if root.startswith("hf://") else MODEL_BYTES
        (model / name).write_bytes(rng.randbytes(int(size * share)))
    sample = next(found for run in RUNS.values() if (found := run().manifest) is not None)
    files = list_files(model)
    usual = undisturbed(root, model, numbered(sample, files, 2**32))
    done, moments, broken, differing, published = 0, [], 0, 0, 0
    while done < kills:
        manifest = numbered(sample, files, published)
        while True:
            wanted = rng.uniform(0, 1.1 * usual) if done < kills else None
            killed = interrupted(root, model, manifest, wanted)
            done += killed
            moments += [round(wanted or 0, 3)] if killed else []
            try:
                found = whole_model(opened(root), root, manifest.bake_id)
            except Exception as failure:
                print(f"broken after a kill: {failure!r}", file=sys.stderr)
                broken += 1
                break
            if not killed:
                # What an undisturbed publisher leaves: this manifest, and every byte of the files that it names.
                differing += found != manifest
                break
        published += 1
    return {
        "kills": done,
        "undisturbed_seconds": round(usual, 2),
        "killed_between_seconds": [min(moments), max(moments)],
        "models_published": published,
        "broken_models_seen": broken,
        "end_states_that_differ": differing,
        "manifests": manifests(root),
        "left_over": left_over(root),
    }


def numbered(sample: Manifest, files: tuple[FileRecord, ...], number: int) -> Manifest:
    """Return the manifest of a bake of its own: of another champion."""
    digest = f"{number:064x}"
    bake_id = bake_id_of(digest, sample.config, sample.question_digests, sample.code.source_sha256)
    champion = sample.champion.model_copy(update={"digest": digest, "bake_id": bake_id})
    return sample.model_copy(update={"files": files, "bake_id": bake_id, "champion": champion})


def undisturbed(root: str, model: Path, manifest: Manifest) -> float:
    """Publish once; return the seconds it took."""
    began = time.monotonic()
    assert not interrupted(root, model, manifest, None)
    return time.monotonic() - began


def interrupted(root: str, model: Path, manifest: Manifest, moment: float | None) -> bool:
    """Publish in a process of its own, killed after a moment (s); return whether it was killed before its end."""
    child = FORK.Process(target=publish_once, args=(root, model, manifest))
    began = time.monotonic()
    child.start()
    if moment is not None:
        # A predecessor's lease has to expire first: moments count from when this one has it.
        while child.is_alive() and not has_lease(root, manifest.bake_id, child.pid):
            time.sleep(0.005)
            began = time.monotonic()
        child.join(max(0.0, began + moment - time.monotonic()))
        if child.is_alive() and child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)
    child.join()
    return child.exitcode == -signal.SIGKILL


def has_lease(root: str, bake_id: str, pid: int | None) -> bool:
    """Whether a process holds the lease of a bake."""
    found = opened(root).lease(bake_id).read()
    return found is not None and found[0].who.startswith(f"process {pid} ")


def left_over(root: str) -> list[str]:
    """Return what dead publishers left: unfinished uploads, prepared directories, files without a manifest."""
    if root.startswith("hf://"):
        return [left.place for left in find_leftovers(root, 0) if left.kind == "no manifest"]
    if not root.startswith("s3://"):
        return sorted(path.name for path in Path(root).glob("*/.*.preparing"))
    from agent_forge.storage.s3 import connect

    return [upload["Key"] for upload in connect().list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("runs", "leases", "kills"))
    parser.add_argument("--store", choices=("directory", "s3", "hub"), default="directory")
    parser.add_argument("--processes", type=int, default=100)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, store(given.store, Path(directory)) as root:
        if given.what == "runs":
            found = count_runs(Path(directory), root, given.processes)
        elif given.what == "leases":
            found = count_leases(Path(directory), root, given.processes)
        else:
            found = count_kills(Path(directory), root, given.kills, given.seed)
    print(json.dumps({"what": given.what, "store": given.store, **found}))


if __name__ == "__main__":
    main()
