"""An evolution, from base models to a champion: search, select, confirm, hand over.

    generation 0    the base models, each scored on `evolve`
    generation 1..  merges that CMA-ES asks for, scored likewise
    select          the best merges and all base models; the best of them is the champion
    confirm         the champion against the base models, by the gate's own test, unless it is one of them

Everything is a function of the settings, the models and the scores, and scores are kept. So a resume does all of it
again and only pays for the scores that are missing: the search is told the known ones, and asks what it asked before.
"""

import gc
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_forge.comparison import Criteria
from agent_forge.errors import ConfigError
from agent_forge.evolution.base_models import BaseModels, find_base_models
from agent_forge.evolution.choosing import choose_elites, choose_winner, measure_gain
from agent_forge.evolution.crew import Crew
from agent_forge.evolution.nodes import Nodes
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution.scoring import CANDIDATE, PARTIAL, Scorer
from agent_forge.evolution.search import Search
from agent_forge.evolution.space import Space
from agent_forge.evolution_config import EvolutionSettings
from agent_forge.evolution_records import GENERATIONS, Candidate, EvolutionSplit, Gain, GenerationRecord, QuestionSet
from agent_forge.models.device import resolve_device
from agent_forge.questions.corpora import open_corpora
from agent_forge.questions.evolution_split import SPLITS, EvolutionQuestions, split_for_evolution
from agent_forge.questions.sources import load_task
from agent_forge.records import SelectedQuestion, rows_text, text_sha256
from agent_forge.stages.bench import require_room
from agent_forge.stages.context import Progress
from agent_forge.stages.prepare_questions import wanted_exemplars
from agent_forge.storage.code import source_sha256
from agent_forge.storage.files import write_atomic, writing_to
from agent_forge.storage.minisign import read_secret_key

QUESTIONS = "questions"


@dataclass(frozen=True)
class Prepared:
    """An evolution that has been looked at: what it asks, of which models, and what it is known by."""

    settings: EvolutionSettings
    models: BaseModels
    asked: EvolutionQuestions
    space: Space

    @property
    def question_sets(self) -> dict[EvolutionSplit, QuestionSet]:
        """How many questions of each set there are, and their digests."""
        return {
            split: QuestionSet(count=len(found), sha256=text_sha256(rows_text(found)))
            for split, found in self.asked.questions.items()
        }

    @property
    def evolution_id(self) -> str:
        """The sha256 (hex) over everything that decides the champion: settings, models, questions, code."""
        base = self.models.base
        content = {
            "settings": self.settings.values(),
            "models": [(model.name, model.digest) for model in self.models.parents],
            "base": (base.name, base.digest) if base else None,
            "questions": {split: found.sha256 for split, found in self.question_sets.items()},
            "exemplars": text_sha256(rows_text(self.asked.exemplars)),
            "code": source_sha256(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Evolved:
    """What an evolution found: everything but the champion's files."""

    winner: Candidate
    base_models: tuple[Candidate, ...]
    elites: tuple[Candidate, ...]
    best_base_model: Candidate
    gain: Gain | None
    generations: tuple[GenerationRecord, ...]


def prepare(settings: EvolutionSettings, progress: Progress) -> Prepared:
    """Look at everything that is read from outside; bad input shows here, before anything is written.

    Raises:
        InputError: for models that cannot be merged, questions that cannot be used, a device that is not there.
    """
    config = settings.bake
    resolve_device(config.device)
    if config.signing_key_file:
        read_secret_key(Path(config.signing_key_file))
    # Before any model is fetched: what is wrong with the questions shows at once.
    asked = draw_questions(settings)
    models = find_base_models(settings.evolution, progress)
    if models.selected_on:
        asked = draw_questions(settings, models.selected_on)
    _check_places(settings, models)
    base = models.base.parent if models.base else None
    parents = tuple(model.parent for model in models.parents)
    space = Space.of(settings.evolution, parents, base, models.layers, config.seed)
    return Prepared(settings, models, asked, space)


def draw_questions(settings: EvolutionSettings, selected_on: Sequence[SelectedQuestion] = ()) -> EvolutionQuestions:
    """Load the configured tasks and draw an evolution's questions from them.

    Args:
        settings: of the evolution.
        selected_on: questions that its base models were chosen by, which are not asked again.
    """
    own, config = settings.evolution, settings.bake
    corpora = open_corpora(config.also_exclude)
    targets = [load_task(name, config.dataset_path, config.allow_code_execution) for name in config.eval_dataset]
    guards = [load_task(name, config.dataset_path, config.allow_code_execution) for name in config.guard_datasets]
    samples: dict[EvolutionSplit, int] = {
        "evolve": own.evolve_samples,
        "select": own.select_samples,
        "confirm": own.confirm_samples,
    }
    few_shot = wanted_exemplars(config, targets[0].task)
    return split_for_evolution(targets, guards, samples, corpora, config.allow_code_execution, few_shot, selected_on)


def evolve(prepared: Prepared, scorer: Scorer, ended: Callable[[], None], nodes: Nodes | None = None) -> Evolved:
    """Search, select and confirm.

    Args:
        prepared: the evolution.
        scorer: scores recipes, and remembers.
        ended: called whenever a generation has been written down.
        nodes: the machines that score side by side, None for this one alone.
    """
    for split in SPLITS:
        path = scorer.directory / QUESTIONS / f"{split}.jsonl"
        write_atomic(path, rows_text(prepared.asked.questions[split]))
    # Every model that is given up is looked for by the garbage collector; what is here now need not be looked at.
    gc.freeze()
    try:
        with Crew.of(scorer, nodes) as crew:
            return _evolve(prepared, scorer, crew, ended)
    finally:
        gc.unfreeze()


def _evolve(prepared: Prepared, scorer: Scorer, crew: Crew, ended: Callable[[], None]) -> Evolved:
    generations = _search(prepared, scorer, crew, ended)
    own = prepared.settings.evolution
    came_up = [candidate for generation in generations for candidate in generation.candidates]
    base_models = generations[0].candidates
    scorer.progress.stage("select", "began")
    last = (*base_models, *choose_elites(came_up, own.elites))
    crew.score_ahead([_recipe(candidate) for candidate in last], "select")
    compared = tuple(
        candidate.model_copy(update={"select": scorer.score(_recipe(candidate), "select")}) for candidate in last
    )
    scorer.progress.stage("select", "ended")
    winner, best = choose_winner(compared), choose_winner(compared[: len(base_models)])
    gain = None if winner.base_model else _confirm(prepared, scorer, crew, winner, compared[: len(base_models)], best)
    return Evolved(winner, compared[: len(base_models)], compared[len(base_models) :], best, gain, generations)


def tidy(directory: Path, gens: int) -> None:
    """Remove what only an evolution that goes on needs, and what a longer one left."""
    with writing_to(directory):
        shutil.rmtree(directory / PARTIAL, ignore_errors=True)
        # Those of processes are numbered.
        for left in (*directory.glob(f"{CANDIDATE}*"), *directory.glob(f".{CANDIDATE}*.preparing")):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for path in (directory / GENERATIONS).glob("*.json"):
            if int(path.stem) > gens:
                path.unlink()


def _search(prepared: Prepared, scorer: Scorer, crew: Crew, ended: Callable[[], None]) -> tuple[GenerationRecord, ...]:
    own = prepared.settings.evolution
    search = Search(prepared.space, own.population, prepared.settings.bake.seed)
    alone = [prepared.space.alone(number) for number in range(len(prepared.models.parents))]
    names = [model.name for model in prepared.models.parents]
    known: dict[str, Candidate] = {}
    generations = [_generation(0, dict(zip(names, alone, strict=True)), known, scorer, crew, None)]
    ended()
    for number in range(1, own.gens + 1):
        points = search.ask()
        asked = {f"merge {number}.{place}": point.recipe for place, point in enumerate(points, start=1)}
        generation = _generation(number, asked, known, scorer, crew, generations[-1].best_so_far)
        search.tell(points, [candidate.evolve.score for candidate in generation.candidates])
        generations.append(generation)
        ended()
    return tuple(generations)


def _generation(
    number: int,
    recipes: Mapping[str, Recipe],
    known: dict[str, Candidate],
    scorer: Scorer,
    crew: Crew,
    best_before: float | None,
) -> GenerationRecord:
    """Score a generation and write it down; recipes that came up before keep their name and score."""
    place = f"generation-{number}"
    scorer.progress.stage(place, "began")
    before = len(known)
    crew.score_ahead([recipe for recipe in recipes.values() if recipe.digest not in known], "evolve")
    for name, recipe in recipes.items():
        if recipe.digest not in known:
            known[recipe.digest] = _candidate(name, number, recipe, scorer)
    candidates = tuple(known[recipe.digest] for recipe in recipes.values())
    scores = [score for candidate in candidates if (score := candidate.evolve.score) is not None]
    best = max(scores, default=None)
    record = GenerationRecord(
        number=number,
        candidates=candidates,
        best=best,
        mean=sum(scores) / len(scores) if scores else None,
        best_so_far=max((s for s in (best, best_before) if s is not None), default=None),
        new=len(known) - before,
    )
    path = scorer.directory / GENERATIONS / f"{number:04d}.json"
    write_atomic(path, record.model_dump_json(indent=2) + "\n")
    told = "all failed" if best is None else f"best {best:.1%}, mean {record.mean:.1%}, so far {record.best_so_far:.1%}"
    scorer.progress.stage(place, told)
    return record


def _candidate(name: str, number: int, recipe: Recipe, scorer: Scorer) -> Candidate:
    return Candidate(
        name=name,
        generation=number,
        base_model=number == 0,
        recipe=recipe.model_dump(mode="json", exclude_defaults=True),
        recipe_sha256=recipe.digest,
        evolve=scorer.score(recipe, "evolve"),
    )


def _confirm(
    prepared: Prepared,
    scorer: Scorer,
    crew: Crew,
    winner: Candidate,
    base_models: Sequence[Candidate],
    best: Candidate,
) -> Gain:
    config = prepared.settings.bake
    criteria = Criteria(config.alpha, config.min_improvement, config.non_inferiority_margin, config.power)
    scorer.progress.stage("confirm", "began")
    recipes = [_recipe(candidate) for candidate in (winner, *base_models)]
    crew.score_ahead(recipes, "confirm")
    for recipe in recipes:
        scorer.score(recipe, "confirm")
    champion, *others = (scorer.confirmed_rows(recipe) for recipe in recipes)
    named = {candidate.name: rows for candidate, rows in zip(base_models, others, strict=True)}
    gain = measure_gain(champion, named, best.name, criteria)
    scorer.progress.stage("confirm", gain.verdict)
    return gain


def _recipe(candidate: Candidate) -> Recipe:
    return Recipe.model_validate(candidate.recipe)


def _check_places(settings: EvolutionSettings, models: BaseModels) -> None:
    """Refuse to write into a base model, and a thought and an answer that leave no room for a question."""
    for model in (*models.parents, *([models.base] if models.base else [])):
        if settings.directory.resolve().is_relative_to(model.path.resolve()):
            raise ConfigError(
                f"output_path {settings.directory} is inside the base model {model.path}, which is never changed; "
                "choose another"
            )
    for length in models.context_lengths:
        require_room(settings.bake, length)
