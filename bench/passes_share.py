"""Measure what share of a whole run's time is spent outside of the model's forward and backward passes.

    python bench/passes_share.py                               # what `make run` does
    python bench/passes_share.py --set bake_samples=120 ...    # the same, smaller

Runs `forge bake-quietstar` as it is, in processes whose interpreter times the outermost call of any PyTorch module
(forward) and of torch.autograd.backward; verify's own process, started or forked, is one of them. Outside is everything
else: imports, reading and writing, drawing and grading questions, choosing tokens, thought states, optimizer steps,
digests, publishing, the report, and what the system does for the processes from their start to their end. Printed are
seconds of wall time, of which verify's process is a part, and of processor time over all processes, which tells more
where other programs run beside. Our own modules are compiled beforehand, as `make install` does.
"""

import argparse
import compileall
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import agent_forge

DEMO = Path(agent_forge.__file__).parent / "demo"

# Imported by every Python process that the run starts.
TIMING = '''
import atexit, importlib.machinery, json, os, sys, threading, time

spent = {"forward": [0.0, 0.0], "backward": [0.0, 0.0]}
depth = threading.local()


def timed(kind, call):
    def outermost(*args, **kwargs):
        if getattr(depth, "inside", False):
            return call(*args, **kwargs)
        depth.inside = True
        wall, work = time.perf_counter(), time.process_time()
        try:
            return call(*args, **kwargs)
        finally:
            depth.inside = False
            spent[kind][0] += time.perf_counter() - wall
            spent[kind][1] += time.process_time() - work

    return outermost


class Patch:
    """Finds the two modules of torch as usual and patches them once they are there."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in ("torch.nn.modules.module", "torch.autograd"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def patched(module):
            execute(module)
            if name == "torch.autograd":
                module.backward = timed("backward", module.backward)
            else:
                module.Module.__call__ = timed("forward", module.Module.__call__)

        spec.loader.exec_module = patched
        return spec


def report():
    with open(os.path.join(os.environ["PASSES_SHARE_TIMES"], f"{os.getpid()}.json"), "w") as stream:
        json.dump({"argv": sys.argv, **spent}, stream)


def forked():
    for kind in spent:
        spent[kind] = [0.0, 0.0]


def leave(code, end=os._exit):
    report()
    end(code)


os._exit = leave
os.register_at_fork(after_in_child=forked)
sys.meta_path.insert(0, Patch)
atexit.register(report)
'''


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(DEMO / "champion"))
    parser.add_argument("--config", default=str(DEMO / "bake.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as of forge bake-quietstar")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        wall, work, rows = timed_run(Path(place), given)
    forward, backward = (
        {unit: sum(row[kind][k] for row in rows) for k, unit in enumerate(("wall", "work"))}
        for kind in ("forward", "backward")
    )
    for unit, total in (("wall", wall), ("work", work)):
        inside = forward[unit] + backward[unit]
        name = "wall time" if unit == "wall" else "processor time"
        print(
            f"{name:<15} {total:8.1f} s: forward {forward[unit]:.1f}, backward {backward[unit]:.1f}, "
            f"outside {total - inside:.1f} = {1 - inside / total:.1%}"
        )
    return 0


def timed_run(place: Path, given: argparse.Namespace) -> tuple[float, float, list[dict]]:
    compileall.compile_dir(DEMO.parent, quiet=1)
    (place / "sitecustomize.py").write_text(TIMING, encoding="utf-8")
    (place / "times").mkdir()
    path = os.pathsep.join(
        filter(None, (str(place), str(Path(agent_forge.__file__).parents[1]), os.getenv("PYTHONPATH")))
    )
    environment = os.environ | {"PYTHONPATH": path, "PASSES_SHARE_TIMES": str(place / "times")}
    command = [sys.executable, "-m", "agent_forge.cli", "bake-quietstar", "--model", given.model]
    command += ["--config", given.config, "--out", str(place / "run")]
    command += [part for change in given.set for part in ("--set", change)]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stages = [json.loads(line) for line in (place / "run/events.jsonl").read_text().splitlines()]
    print(f"stages: {', '.join(dict.fromkeys(row['stage'] for row in stages))}", file=sys.stderr)
    return wall, work, [json.loads(file.read_text()) for file in (place / "times").iterdir()]


if __name__ == "__main__":
    sys.exit(main())
