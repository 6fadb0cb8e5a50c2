"""Move a model to and from a bucket, beside what boto3's own transfers reach in the same run.

    PYTHONPATH=tests python bench/transfer.py [--bytes 2000000000] [--rounds 1]

Every transfer is a process of its own. `publish` is everything that publishing does: digests of the file, the lease,
the upload, the look at what is there, the manifest. `fetch` is listing, download and the digest of what arrived.
boto3's transfers (defaults: 8 MiB parts, 10 threads) check nothing of that. Prints JSON: MB/s of each, the ratio, and
the largest resident memory of each process. Needs the packages of the tests, for their S3 server.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def fill(path: Path, size: int) -> None:
    """Write bytes that do not compress."""
    block = random.Random(0).randbytes(1 << 20)
    with path.open("wb") as stream:
        for number in range(-(-size // len(block))):
            stream.write(number.to_bytes(8, "big") + block[8 : min(len(block), size - number * len(block))])


def boto3_up(model: Path, root: str) -> None:
    """Upload with boto3."""
    from agent_forge.storage.s3 import Location, connect

    place = Location.parse(root) / "boto3" / "model.safetensors"
    connect().upload_file(str(model / "model.safetensors"), place.bucket, place.key)


def boto3_down(model: Path, root: str) -> None:
    """Download with boto3."""
    from agent_forge.storage.s3 import Location, connect

    place, target = Location.parse(root) / "boto3" / "model.safetensors", model.parent / "boto3"
    connect().download_file(place.bucket, place.key, str(target))
    target.unlink()


def publish(model: Path, root: str) -> None:
    """Publish as a run does."""
    from agent_forge.records import Manifest, read_record
    from agent_forge.storage.files import list_files
    from agent_forge.storage.s3_publication import S3Publication

    manifest = read_record(Manifest, model.parent / "manifest.json")
    S3Publication(root).publish(model, manifest.model_copy(update={"files": list_files(model)}))


def fetch(model: Path, root: str) -> None:
    """Fetch as a run does."""
    from agent_forge.records import Manifest, read_record
    from agent_forge.storage import s3_download

    bake_id = read_record(Manifest, model.parent / "manifest.json").bake_id
    shutil.rmtree(s3_download.fetch(f"{root}/baked/{bake_id}"))


TASKS = {task.__name__: task for task in (boto3_up, publish, boto3_down, fetch)}


def measured(name: str, model: Path, root: str, size: int) -> dict[str, float]:
    """Run one transfer in a process of its own."""
    arguments = [sys.executable, __file__, "--task", name, "--model", str(model), "--root", root]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    seconds, kibibytes = json.loads(done.stdout)
    return {"MB/s": round(size / seconds / 1e6, 1), "resident_MB": round(kibibytes * 1024 / 1e6, 1)}


def compare(size: int, rounds: int, base: Path) -> dict[str, object]:
    """Run all transfers, one after the other, some rounds."""
    from object_store import BUCKET, object_store
    from report.sample_run import RUNS

    model = base / "model"
    model.mkdir()
    fill(model / "model.safetensors", size)
    sample = next(found for run in RUNS.values() if (found := run().manifest) is not None)
    (base / "manifest.json").write_text(sample.model_dump_json())
    (base / "server").mkdir()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in TASKS}
    with object_store(base / "server") as environment:
        os.environ.update(environment, FORGE_HOME=str(base / "home"))
        for number in range(rounds):
            for name in TASKS:
                found[name].append(measured(name, model, f"s3://{BUCKET}/round-{number}", size))
    best = {name: max(row["MB/s"] for row in rows) for name, rows in found.items()}
    ratios = {"up": best["publish"] / best["boto3_up"], "down": best["fetch"] / best["boto3_down"]}
    return {"bytes": size, **found, "ratio": {name: round(value, 2) for name, value in ratios.items()}}


def main() -> None:
    """Compare, or run one transfer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=2_000_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        began = time.monotonic()
        TASKS[given.task](given.model, given.root)
        print(json.dumps([time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
        return
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(compare(given.bytes, given.rounds, Path(directory))))


if __name__ == "__main__":
    main()
