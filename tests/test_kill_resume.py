"""A run that is killed or interrupted goes on where it stopped, to the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from small_bake import SmallBake, command, forge, small_arguments
from warm_forge import WarmRun

R = TypeVar("R", subprocess.Popen, WarmRun)

# Small batches, so that a stage takes long enough to be met in the middle; results do not depend on them.
SLOWLY = {"batch_size": 4, "checkpoint_every": 4}
# What is on disk once a stage is in the middle of its work.
MIDDLE = {
    "evaluate-round/0-0": "scratch/baseline-thought-0.jsonl",
    "collect-traces/0": "scratch/thought.jsonl",
    "bake": "scratch/checkpoints/step-*/state.json",
    "verify": "scratch/baked-0.jsonl",
}


def start(bake: SmallBake) -> subprocess.Popen:
    arguments = command(*bake.arguments("--resume", **SLOWLY))
    return subprocess.Popen(
        arguments,
        start_new_session=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Whoever runs the tests in the background has it ignored, and processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def start_to_be_killed(bake: SmallBake) -> WarmRun:
    """Start a run that no signal but the one that asks nobody will reach."""
    return WarmRun(tuple(bake.arguments("--resume", **SLOWLY)))


def wait_until(found: Callable[[], bool], run: subprocess.Popen | WarmRun) -> None:
    while not found():
        assert run.poll() is None, run.communicate()[1].decode()
        time.sleep(0.002)


def in_the_middle(bake: SmallBake, place: str) -> bool:
    return bool(list((bake.out / "partial" / place).glob(MIDDLE[place])))


def start_until_middle(bake: SmallBake, place: str, begin: Callable[[SmallBake], R] = start) -> R:
    run = begin(bake)
    wait_until(lambda: in_the_middle(bake, place), run)
    return run


def as_before(bake: SmallBake, place: str) -> None:
    """Make the run directory what a run that was killed just before this stage leaves."""
    shutil.copytree(bake.finished, bake.out)
    order = list(begun(bake))
    for stage in order[order.index(place) :]:
        shutil.rmtree(bake.out / "stages" / stage)
    for name in ("baked", "results.json", "report.html"):
        path = bake.out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def finished(bake: SmallBake) -> set[str]:
    stages = bake.out / "stages"
    return {path.parent.relative_to(stages).as_posix() for path in stages.rglob("receipt.json")}


def begun(bake: SmallBake) -> Counter[str]:
    return Counter(stage for event, stage in bake.events() if event == "began")


def test_a_run_killed_in_every_long_stage_ends_as_if_nothing_had_happened(bake):
    for place in MIDDLE:
        run = start_until_middle(bake, place, start_to_be_killed)
        children = psutil.Process(run.pid).children()
        run.kill()
        run.communicate()
        assert psutil.wait_procs(children, timeout=20)[1] == [], "a stage's own process must end with its parent"
        assert place not in finished(bake), f"{place} was over before it could be killed"
        assert not (bake.out / "results.json").exists()
    last = forge(*bake.arguments("--resume", **SLOWLY))
    assert last.returncode == 0, last.stderr
    assert bake.results(bake.out) == bake.results(bake.finished)
    # A stage begins again as often as it was killed, and never once it has ended.
    assert begun(bake) == {place: 2 if place in MIDDLE else 1 for place in finished(bake)}


def test_batches_done_before_a_kill_are_not_sampled_again(bake):
    as_before(bake, "collect-traces/0")
    run = start_until_middle(bake, "collect-traces/0", start_to_be_killed)
    run.kill()
    run.communicate()
    scratch = bake.out / "partial/collect-traces/0/scratch"
    direct, thought = (scratch / "direct.jsonl").read_bytes(), (scratch / "thought.jsonl").read_bytes()
    run = start_to_be_killed(bake)
    wait_until(lambda: (scratch / "thought.jsonl").stat().st_size > len(thought) + 1000, run)
    run.kill()
    run.communicate()
    whole = thought[: thought.rfind(b"\n") + 1]
    assert whole and (scratch / "thought.jsonl").read_bytes().startswith(whole)
    assert (scratch / "direct.jsonl").read_bytes() == direct


def test_a_finished_run_is_left_as_it_is(finished_bake):
    stages = {path: path.stat().st_mtime_ns for path in (finished_bake.out / "stages").rglob("*")}
    baked = {path: path.stat().st_mtime_ns for path in (finished_bake.out / "baked").rglob("*")}
    before = begun(finished_bake)
    again = forge(*finished_bake.arguments("--resume"))
    assert again.returncode == 0, again.stderr
    assert begun(finished_bake) == before
    assert finished_bake.results(finished_bake.out) == finished_bake.results(finished_bake.finished)
    assert {path: path.stat().st_mtime_ns for path in (finished_bake.out / "stages").rglob("*")} == stages
    assert {path: path.stat().st_mtime_ns for path in (finished_bake.out / "baked").rglob("*")} == baked


def test_a_copied_run_publishes_where_it_is_now(finished_bake, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished_bake.out, copy)
    before = [json.loads(line) for line in (copy / "events.jsonl").read_text().splitlines()]
    done = forge(*small_arguments(finished_bake.base, copy, "--resume"))
    assert done.returncode == 0, done.stderr
    results = json.loads((copy / "results.json").read_text())
    assert results["manifest_path"].startswith(str(copy)) and Path(results["manifest_path"]).is_file()
    after = [json.loads(line) for line in (copy / "events.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in after[len(before) :] if row["event"] == "began"] == ["push-artifact"]


# A terminal interrupts the whole group, a supervisor the process that it started.
@pytest.mark.parametrize(
    ("send", "number", "place"),
    [(os.killpg, signal.SIGINT, "verify"), (os.kill, signal.SIGTERM, "verify"), (os.kill, signal.SIGINT, "bake")],
)
def test_an_interrupted_run_says_how_to_go_on(bake, send, number, place):
    as_before(bake, place)
    run = start_until_middle(bake, place)
    send(run.pid, number)
    out, err = run.communicate()
    said = err.decode().splitlines()
    assert run.returncode == 130 and out == b""
    assert said[-1].startswith("forge: interrupted") and "--resume" in said[-1] and str(bake.out) in said[-1]
    assert [line for line in said if line.startswith(("forge: ", "Traceback"))] == said[-1:]
    assert not (bake.out / "results.json").exists() and place not in finished(bake)


def test_another_configuration_runs_what_it_changes_and_keeps_a_rejected_bake_aside(finished_bake):
    before = begun(finished_bake)
    # A bake that learns nothing: the trained model does not think and must not be published.
    done = forge(*finished_bake.arguments("--resume", learning_rate=1e-9, num_epochs=1))
    assert done.returncode == 0 and "bake, then reject" in done.stdout, done.stderr
    assert begun(finished_bake) - before == Counter(["bake", "verify", "keep-champion"])
    (rejected,) = (finished_bake.out / "rejected").iterdir()
    assert (rejected / "REJECTED.json").is_file() and not (rejected / "manifest.json").exists()
    (published,) = (path for path in (finished_bake.out / "baked").iterdir() if path.is_dir())
    assert published.name != rejected.name
    # Back again: only what the field feeds runs.
    again = forge(*finished_bake.arguments("--resume"))
    assert again.returncode == 0, again.stderr
    assert finished_bake.results(finished_bake.out) == finished_bake.results(finished_bake.finished)


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"batch_size": 7, "checkpoint_every": 50}, []),
        ({"alpha": 0.04}, ["significance-gate", "verify", "push-artifact"]),
        ({"min_well_formed_rate": 0.5}, ["verify", "push-artifact"]),
        ({"pause_text": ","}, ["evaluate-round/0-0", "significance-gate", "push-artifact"]),
    ],
)
def test_a_changed_field_runs_exactly_the_stages_it_feeds(finished_bake, changes, again):
    before = begun(finished_bake)
    done = forge(*finished_bake.arguments("--resume", **changes))
    assert done.returncode == 0, done.stderr
    assert begun(finished_bake) - before == Counter(again)
    assert Path(finished_bake.out / "report.html").is_file()
