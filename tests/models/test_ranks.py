"""Two processes bake what one does, the first alone writes; when one is lost the others say so and nothing is baked."""

import json
import os
import re
import signal
import socket
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from baking_together import bake_tiny, main
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.errors import InputError
from agent_forge.models.ranks import ALONE, Ranks, _buckets, joined, torchrun_device
from agent_forge.records import BakeReport
from agent_forge.stages.context import Silent
from agent_forge.stages.executor import run_executor_input


def together(directory, method="lora", sharded=False, die_at=0, processes=2):
    """Fork processes as torchrun would start them; return how each ended and what it said."""
    directory.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
            # Rather killed than waited for without end.
            signal.alarm(300)
            os.environ.update(shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            with (directory / f"said-{rank}.txt").open("w") as said:
                os.dup2(said.fileno(), 2)
                sys.stderr = said
                code = 70
                try:
                    code = main(directory, method, sharded, die_at)
                finally:
                    # Nothing of pytest may run on in here.
                    os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return codes, [(directory / f"said-{rank}.txt").read_text() for rank in range(processes)]


@cache
def alone(method):
    import tempfile

    return bake_tiny(Path(tempfile.mkdtemp()), method)


@pytest.mark.parametrize(
    ("method", "sharded", "processes"),
    [("lora", False, 2), ("lora", True, 2), ("full", False, 2), ("full", True, 2), ("lora", False, 4)],
)
def test_several_processes_bake_what_one_does(tmp_path, method, sharded, processes):
    model, report = alone(method)
    codes, said = together(tmp_path, method, sharded, processes=processes)
    assert codes == [0] * processes, said
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)
    other = BakeReport.model_validate_json((tmp_path / "report.json").read_text())
    assert [point.tokens for point in other.curve] == [point.tokens for point in report.curve]
    for mine, theirs in zip(other.curve, report.curve, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, abs=1e-5)
        assert mine.heldout_loss == pytest.approx(theirs.heldout_loss, abs=1e-5)
    assert report.steps > 3 and report.best_step > 0 and other.best_step == report.best_step
    layers = sum(value.numel() for value in model.model.layers.parameters())
    held = json.loads((tmp_path / "rank-1.json").read_text())["held"]
    assert held == (layers // 2 if sharded else None)


@pytest.mark.parametrize(("method", "sharded"), [("lora", False), ("lora", True), ("full", True)])
def test_a_lost_process_ends_the_others_with_one_clear_line_and_the_checkpoint_is_continued(tmp_path, method, sharded):
    codes, said = together(tmp_path, method, sharded=sharded, die_at=3)
    assert codes == [1, -9]
    assert re.fullmatch(r"forge: another process of this bake is gone or silent \(.*\); nothing was baked.*\n", said[0])
    assert not (tmp_path / "weights.pt").exists()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    assert together(tmp_path, method, sharded=sharded)[0] == [0, 0]
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    for name, value in alone(method)[0].state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("alone_first", [True, False])
def test_one_process_continues_what_several_began_and_the_other_way_round(tmp_path, alone_first):
    if alone_first:
        with pytest.raises(InterruptedError):
            bake_tiny(tmp_path, "full", on_progress=interrupt_at(3))
        assert together(tmp_path, "full", sharded=True)[0] == [0, 0]
        weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    else:
        assert together(tmp_path, "full", sharded=True, die_at=3)[0] == [1, -9]
        weights = bake_tiny(tmp_path, "full")[0].state_dict()
    for name, value in alone("full")[0].state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)


def interrupt_at(step):
    def on_progress(event):
        if event.step == step:
            raise InterruptedError

    return on_progress


@given(rows=st.lists(st.integers(), min_size=1, max_size=9), count=st.integers(1, 5))
def test_every_row_counts_once_and_every_process_has_one(rows, count):
    shares = [Ranks(number, count).share(rows) for number in range(count)]
    assert sorted(row for share, counted in shares if counted for row in share) == sorted(rows)
    assert all(share for share, _ in shares)
    assert ALONE.share(rows) == (tuple(rows), True)


@given(sizes=st.lists(st.integers(1, 9), max_size=8), most=st.integers(1, 12))
def test_messages_hold_everything_in_order_and_are_no_larger_than_they_may_be(sizes, most):
    values = [torch.nn.Parameter(torch.zeros(size, dtype=torch.float32)) for size in sizes]
    buckets = list(_buckets(values, most))
    assert [id(value) for bucket in buckets for value in bucket] == [id(value) for value in values]
    assert all(len(bucket) == 1 or sum(value.numel() for value in bucket) <= most for bucket in buckets)


def test_a_process_alone_joins_nobody_and_adds_up_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as ranks:
        assert ranks is ALONE and ranks.add_up(0.1, 2) == (0.1, 2) and ranks.agree(lambda: "x") == "x"
    assert torchrun_device("auto") == "auto"


def test_only_the_bake_is_carried_out_by_several_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="stage evaluate-round runs in one process, and torchrun started 2"):
        run_executor_input("evaluate-round", "{}", Silent())
