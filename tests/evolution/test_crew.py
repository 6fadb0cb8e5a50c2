"""Processes that score side by side: what they leave undone is done; that they find the same, test_evolve says."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import pytest
from test_evolve import settings_of

from agent_forge.evolution.crew import Crew, _end_with_parent
from agent_forge.evolution.evolve import prepare
from agent_forge.evolution.scoring import Scorer
from agent_forge.stages.context import Silent


@dataclass
class Killed:
    """A pool one of whose processes was killed."""

    asked: int = 0

    def submit(self, *_: object) -> None:
        self.asked += 1
        raise BrokenProcessPool

    def shutdown(self, **_: object) -> None: ...


def test_a_process_that_is_killed_leaves_the_work_to_the_evolution_itself(small, tmp_path):
    prepared = prepare(settings_of(small, tmp_path / "out"), Silent())
    scorer = Scorer(prepared.settings, prepared.models, prepared.asked, tmp_path / "out", Silent())
    recipes = [prepared.space.alone(number) for number in range(2)]
    pool = Killed()
    with Crew(scorer, pool) as crew:
        crew.score_ahead(recipes[:1], "evolve")
        assert pool.asked == 0
        crew.score_ahead(recipes, "evolve")
        crew.score_ahead(recipes, "evolve")
    assert pool.asked == 1 and len(scorer.warnings) == 1 and "one process goes on alone" in scorer.warnings[0]


def test_one_process_starts_no_other(small, tmp_path):
    prepared = prepare(settings_of(small, tmp_path / "out"), Silent())
    scorer = Scorer(prepared.settings, prepared.models, prepared.asked, tmp_path / "out", Silent())
    assert Crew.of(scorer).pool is None


def test_a_process_ends_with_its_parent():
    read, write = os.pipe()
    # The parent of this test's child starts the watcher's process and is killed.
    if (parent := os.fork()) == 0:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        child = context.Process(
            target=_end_with_parent, args=(lambda code: (os.write(write, b"%d" % code), os._exit(code)),)
        )
        child.start()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    os.close(write)
    assert os.read(read, 8) == b"1"
    os.close(read)


@pytest.mark.parametrize("processes", [0, 65])
def test_a_number_of_processes_that_is_none_is_refused(refusal, processes):
    assert "processes" in refusal("evo", "--base-models", "a,b", "--out", "x", "--set", f"processes={processes}")
