"""Machines that share scores: every merge is scored once, by whoever takes it, and a dead machine's by another one."""

import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.evolution import nodes
from agent_forge.evolution.nodes import Nodes
from agent_forge.evolution.recipe import Parent, Recipe
from agent_forge.storage import directory_publication
from agent_forge.storage.directory_publication import DirectoryLease
from agent_forge.storage.lease import Watch

PARENTS = (Parent(model="a"), Parent(model="b"))
RECIPES = [Recipe(method="linear", parents=PARENTS, weights=(1.0, k / 10)) for k in range(9)]


class Machine:
    """A machine that scores by leaving a file."""

    def __init__(self, number: int, scores: Path, at_once: int = 1) -> None:
        self.nodes, self.scores, self.at_once = Nodes(number, scores), scores, at_once
        self.done: list[str] = []

    def known(self, recipe: Recipe) -> bool:
        return (self.scores / recipe.digest).exists()

    def score(self, recipes: list[Recipe]) -> None:
        for recipe in recipes:
            if not self.known(recipe):
                self.done.append(recipe.digest)
                (self.scores / recipe.digest).touch()

    def run(self) -> None:
        self.nodes.share(RECIPES, "evolve", self.known, self.score, self.at_once)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(nodes, "PAUSE", 0.01)
    monkeypatch.setattr(directory_publication, "LEASE_SECONDS", 0.4)


@settings(max_examples=3, deadline=None)
@given(at_once=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_every_merge_is_scored_once_and_all_go_on_when_all_are(tmp_path_factory, at_once):
    scores = tmp_path_factory.mktemp("scores")
    machines = [Machine(number, scores, count) for number, count in enumerate(at_once)]
    running = [threading.Thread(target=machine.run) for machine in machines]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert Counter(digest for machine in machines for digest in machine.done) == dict.fromkeys(
        (recipe.digest for recipe in RECIPES), 1
    )


def test_what_a_dead_machine_had_taken_is_scored_by_another(tmp_path):
    held = Watch().attempt(DirectoryLease(tmp_path / "evolve", RECIPES[3].digest))
    assert held is not None
    # Its heart stops, without a word.
    held._ended.set()
    alive = Machine(0, tmp_path)
    alive.run()
    assert alive.done[-1] == RECIPES[3].digest and len(alive.done) == len(RECIPES)


def test_what_a_living_machine_has_taken_is_left_to_it(tmp_path):
    held = Watch().attempt(DirectoryLease(tmp_path / "evolve", RECIPES[3].digest))
    assert held is not None
    other = Machine(0, tmp_path)
    running = threading.Thread(target=other.run)
    running.start()
    running.join(timeout=1.5)
    assert running.is_alive() and len(other.done) == len(RECIPES) - 1
    (tmp_path / RECIPES[3].digest).touch()
    running.join()
    held.release()
    assert RECIPES[3].digest not in other.done


def test_a_merge_that_cannot_be_scored_is_left_to_whoever_asked(tmp_path):
    machine = Machine(0, tmp_path)
    tried = []
    machine.nodes.share(RECIPES[:2], "evolve", machine.known, lambda taken: tried.extend(taken), 1)
    assert tried == RECIPES[:2]
