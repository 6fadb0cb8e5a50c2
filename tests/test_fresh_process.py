"""A process that waits runs one command as a new one would, and never outlives whoever keeps it."""

import os
import signal
import sys
from types import SimpleNamespace

import pytest

from agent_forge import fresh_process
from agent_forge.fresh_process import Waiting, standing_by


def say(arguments):
    """Stand in for the command line: say what came, and end with the number given last."""
    print("forge: " + " ".join(arguments), file=sys.stderr)
    return int(arguments[-1])


@pytest.fixture
def waiting():
    found = fresh_process._fork(say)
    yield found
    found.dismiss()
    with pytest.raises(ChildProcessError):
        os.waitpid(found.pid, 0)


def test_it_runs_one_command_and_is_heard(waiting: Waiting):
    assert waiting.begin(["stage", "7"])
    assert list(waiting.said) == ["forge: stage 7\n"]
    assert waiting.wait() == 7 and not waiting.begin(["stage", "0"])


def test_it_ends_when_nobody_wants_it_any_more(waiting: Waiting):
    waiting.orders.close()
    assert waiting.wait() == 0 and list(waiting.said) == []


def test_an_error_ends_it_and_never_returns_into_this_process(waiting: Waiting):
    assert waiting.begin(["stage", "no number"])
    assert "ValueError" in waiting.said.read() and waiting.wait() == 1


def test_one_that_is_gone_is_not_given_work(waiting: Waiting):
    os.kill(waiting.pid, signal.SIGKILL)
    os.waitid(os.P_PID, waiting.pid, os.WEXITED | os.WNOWAIT)
    assert not waiting.begin(["stage", "0"])
    assert waiting.wait() == -signal.SIGKILL


def test_it_is_forked_only_where_a_copy_of_this_process_works(monkeypatch):
    monkeypatch.setattr(fresh_process.threading, "active_count", lambda: 1)
    for cuda, forks in ((None, True), ("13.0", False)):
        version = SimpleNamespace(cuda=cuda, hip=None)
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=version))
        with standing_by(say) as found:
            assert (found is not None) == forks
    monkeypatch.setattr(fresh_process.threading, "active_count", lambda: 2)
    with standing_by(say) as found:
        assert found is None
