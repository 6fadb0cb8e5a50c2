"""Kill evolutions at random moments; every resumed one must end with the champion of the undisturbed one.

    PYTHONPATH=tests/evolution python bench/evo_kills.py [--kills 10] [--processes 1] [--seed 0] [--out DIR]

Evolves three noisy copies of the bundled champion (the models and settings of the tests), once undisturbed. Then, for
every kill: the same evolution in an empty directory, SIGKILL up to two seconds after a number of scores is there that
is drawn uniformly (by the clock alone, most kills on a busy machine would meet it while it still imports), and
`--resume`. With `--processes` above 1 only the evolution's own process is killed; those beside it must end with it, or
they would write into the resumed run. Exits 1 when a champion's digest, recomputed from its files, or what
evolution.json says beside its places differs.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from small_evolution import SmallEvolution, noisy_copies

from agent_forge.storage.files import path_digest

PLACES = ("model_path", "manifest_path")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1, help="merges scored side by side (the setting `processes`)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to run; default: a temporary directory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = given.out or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        small = SmallEvolution(base, tuple(noisy_copies(base)))
        return measure(small, given.kills, random.Random(given.seed), given.processes)


def measure(small: SmallEvolution, kills: int, source: random.Random, processes: int) -> int:
    run, expected = small.root / "run", small.root / "undisturbed"
    store = small.root / "store"
    options = ("--resume", "--quiet", "--publish-to", str(store))
    arguments = small.arguments(run, *options, processes=processes)
    command = [sys.executable, "-m", "agent_forge.cli", *arguments]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    length, total = time.monotonic() - began, scores(run)
    run.rename(expected)
    champion = path_digest(expected / "best_model")
    winner = ended(expected)["winner"]["name"]
    print(f"undisturbed: {length:.1f} s, {total} scores, {winner}, champion {champion[:12]}", flush=True)
    same = 0
    for number in range(kills):
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(store, ignore_errors=True)
        before = kill(command, run, source.randint(0, total), source.uniform(0, 2))
        code = subprocess.run(command, capture_output=True, check=False).returncode
        good = code == 0 and path_digest(run / "best_model") == champion and ended(run) == ended(expected)
        good = good and path_digest(store / "champions" / champion) == champion
        same += good
        told = "the same champion" if good else f"exit code {code}, another end"
        print(f"kill {number + 1}: at {before} of {total} scores: {told}", flush=True)
    print(f"{same} of {kills} resumed evolutions end with champion {champion[:12]}")
    return 0 if same == kills else 1


def kill(command: list[str], run: Path, after: int, delay: float) -> int:
    """Kill an evolution some seconds after it has a number of scores; return how many it has then."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (scores(run) < after or not run.is_dir()):
        time.sleep(0.01)
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    return scores(run)


def scores(run: Path) -> int:
    return len(list((run / "scores").rglob("*.json")))


def ended(run: Path) -> dict[str, object]:
    report = json.loads((run / "evolution.json").read_text())
    return {name: value for name, value in report.items() if name not in PLACES}


if __name__ == "__main__":
    sys.exit(main())
