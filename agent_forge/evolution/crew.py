"""Scoring several merges side by side, in processes of their own: one per GPU, or as many as a machine has room for.

    with Crew.of(scorer) as crew:
        crew.score_ahead(recipes, "evolve")      # afterwards scorer.score(recipe, "evolve") finds them

Processes write scores where the evolution's own process looks for them, and nowhere else. So what they leave undone,
for one of them was killed for memory, is done by that process, with the same result.
"""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Self

from agent_forge.errors import ForgeError
from agent_forge.evolution.nodes import Nodes
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution.scoring import CANDIDATE, Scorer
from agent_forge.evolution_records import EvolutionSplit
from agent_forge.models.device import resolve_device
from agent_forge.stages.context import Silent

_own: list[Scorer] = []


@dataclass
class Crew:
    """The processes of one evolution.

    Attributes:
        pool: None where its own process does everything.
        nodes: the machines that share its scores, None where there is only this one.
    """

    scorer: Scorer
    pool: ProcessPoolExecutor | None
    nodes: Nodes | None = None

    @classmethod
    def of(cls, scorer: Scorer, nodes: Nodes | None = None) -> Self:
        """Return as many processes as configured, none of which has started yet."""
        count = scorer.settings.evolution.processes
        if count == 1:
            return cls(scorer, None, nodes)
        context = multiprocessing.get_context("spawn")
        numbers = context.SimpleQueue()
        for number in range(count):
            numbers.put(number)
        # Progress stays here; it may hold a terminal.
        given = replace(scorer, progress=Silent(), warnings=[])
        pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(given, numbers, count))
        return cls(scorer, pool, nodes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is None:
            return
        # Whoever ends an evolution does not wait for merges that nobody will look at.
        for process in multiprocessing.active_children():
            process.terminate()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def score_ahead(self, recipes: Sequence[Recipe], split: EvolutionSplit) -> None:
        """Score those of the recipes that have no score yet, side by side; leave out what does not work."""
        unknown = list({recipe.digest: recipe for recipe in recipes if not self._known(recipe, split)}.values())
        if self.nodes is not None:
            at_once = 1 if self.pool is None else self.scorer.settings.evolution.processes
            self.nodes.share(
                *(unknown, split, lambda recipe: self._known(recipe, split)),
                *(lambda taken: self._score_here(taken, split), at_once),
            )
        elif self.pool is not None and len(unknown) > 1:
            self._side_by_side(self.pool, unknown, split)

    def _known(self, recipe: Recipe, split: EvolutionSplit) -> bool:
        return self.scorer.known(recipe, split) is not None

    def _score_here(self, recipes: Sequence[Recipe], split: EvolutionSplit) -> None:
        if self.pool is not None:
            self._side_by_side(self.pool, recipes, split)
        for recipe in recipes:
            # The evolution will meet it too, and say so.
            with contextlib.suppress(ForgeError):
                self.scorer.score(recipe, split)

    def _side_by_side(self, pool: ProcessPoolExecutor, recipes: Sequence[Recipe], split: EvolutionSplit) -> None:
        try:
            futures = [pool.submit(_score, recipe, split) for recipe in recipes]
            for number, future in enumerate(as_completed(futures), start=1):
                self._take(future)
                self.scorer.progress.note(f"{split}: {number} of {len(futures)} merges scored")
        except BrokenProcessPool:
            self.scorer.warn("a process that scored merges was killed; one process goes on alone")
            self.pool = None

    def _take(self, future: "Future[list[str]]") -> None:
        try:
            warnings = future.result()
        except ForgeError:
            # This process will meet it too, and say so.
            return
        for text in warnings:
            self.scorer.warn(text)


def _begin(scorer: Scorer, numbers: "multiprocessing.SimpleQueue[int]", count: int) -> None:
    """Make a process ready: its own device, its own place for merged models, and an end with its parent's."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    number = numbers.get()
    device = _device_of(scorer.settings.bake.device, number)
    _leave_room(count)
    bake = scorer.settings.bake.model_copy(update={"device": device})
    settings = scorer.settings.model_copy(update={"bake": bake})
    _own.append(replace(scorer, settings=settings, place=f"{CANDIDATE}-{number}"))


def _score(recipe: Recipe, split: EvolutionSplit) -> list[str]:
    (scorer,) = _own
    scorer.warnings.clear()
    scorer.score(recipe, split)
    return list(scorer.warnings)


def _device_of(wanted: str, number: int) -> str:
    """Return the device of the n-th process: where any GPU will do, the next one of the machine."""
    import torch

    if resolve_device(wanted).type != "cuda" or ":" in wanted:
        return wanted
    return f"cuda:{number % torch.cuda.device_count()}"


def _leave_room(count: int) -> None:
    """Share the processor: sums of small models on more threads than there are cores take longer than on one."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // count))


def _end_with_parent(end: Callable[[int], None] = os._exit) -> None:
    """End this process when its parent is gone, however that happens; its queues would never tell."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
    end(1)
