"""Scoring one recipe on one set of questions: merge, load, sample, grade; and remember it.

A score is kept under the digest of everything that decides it, so an evolution that is run again, after a kill or with
other settings, takes over whatever still holds and asks the rest. One merged model lies on disk at a time.
"""

import gc
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_forge.errors import ChampionError, ForgeError
from agent_forge.evolution.base_models import BaseModels
from agent_forge.evolution.merge import merge
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution_config import EvolutionSettings
from agent_forge.evolution_records import EvolutionSplit, Score
from agent_forge.models.device import resolve_device, resolve_dtype
from agent_forge.models.extend import extend, save_extended
from agent_forge.models.load import LoadedModel, load_champion
from agent_forge.questions.evolution_split import EvolutionQuestions
from agent_forge.records import Question, ResultRow, read_record, read_rows, rows_text, text_sha256
from agent_forge.stages.bench import Bench, bench_of
from agent_forge.stages.context import Progress, StageContext
from agent_forge.stages.rows import Asked, grading, require_fit, sample_rows
from agent_forge.storage.code import source_sha256
from agent_forge.storage.files import write_atomic, writing_to
from agent_forge.thoughts import Script, direct_script, elicited_script

SCORES, PARTIAL, CANDIDATE = "scores", "partial", "candidate"


@dataclass
class Scorer:
    """Scores recipes in one directory.

    Attributes:
        settings: of the evolution.
        models: its base models.
        asked: its questions.
        directory: that scores and the merged model are kept in.
        warnings: what did not go as configured.
        place: what the merged model is called in the directory.
        scores: where scores are kept instead, for machines that share them.
    """

    settings: EvolutionSettings
    models: BaseModels
    asked: EvolutionQuestions
    directory: Path
    progress: Progress
    warnings: list[str] = field(default_factory=list)
    place: str = CANDIDATE
    scores: Path | None = None

    def known(self, recipe: Recipe, split: EvolutionSplit) -> Score | None:
        """Return a recipe's score if it is known."""
        key = self._key(recipe, split)
        return _read(self._file(key, split, ".json"), key)

    def warn(self, text: str) -> None:
        """Note once what did not go as configured."""
        if text not in self.warnings:
            self.warnings.append(text)

    def score(self, recipe: Recipe, split: EvolutionSplit) -> Score:
        """Return a recipe's score, taken over if it is known.

        A recipe that no usable model comes of, such as one whose weights overflow, has the score None.
        """
        key = self._key(recipe, split)
        if (known := _read(self._file(key, split, ".json"), key)) is not None:
            return known
        partial = self.directory / PARTIAL / key[:16]
        try:
            rows = self._rows(recipe, split, partial)
        except ChampionError as cause:
            if len(recipe.parents) == 1:
                raise
            # The base models can be used, so it is what this recipe makes of them.
            score = Score(key=key, recipe_sha256=recipe.digest, split=split, score=None, failure=str(cause))
        else:
            score = _scored(rows, key, recipe, split, self.settings.evolution.fitness_aggregate)
            if split == "confirm":
                write_atomic(self._file(key, split, ".jsonl"), rows_text(rows))
        write_atomic(self._file(key, split, ".json"), score.model_dump_json(indent=2) + "\n")
        shutil.rmtree(partial, ignore_errors=True)
        return score

    def confirmed_rows(self, recipe: Recipe) -> list[ResultRow]:
        """Return the graded answers behind a score on `confirm`."""
        return list(read_rows(ResultRow, self._file(self._key(recipe, "confirm"), "confirm", ".jsonl")))

    def make(self, recipe: Recipe) -> Path:
        """Return the directory of a recipe's model, in the place of the last one.

        Raises:
            ChampionError: when no model comes of it.
        """
        place = self.directory / self.place
        made, known = place.with_name(f"{self.place}.sha256"), f"{recipe.digest} {source_sha256()}"
        if place.is_dir() and made.is_file() and made.read_text(encoding="utf-8") == known:
            return place
        with writing_to(self.directory):
            made.unlink(missing_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            merge(self.models.local(recipe), place)
            write_atomic(made, known)
        return place

    def rounds(self, split: EvolutionSplit) -> int:
        """Return how often each question is asked; the search can do with one, since many candidates answer it."""
        return 1 if split == "evolve" else self.settings.bake.ab_test_rounds

    def _key(self, recipe: Recipe, split: EvolutionSplit) -> str:
        content = {
            "recipe": recipe.digest,
            "questions": text_sha256(rows_text(self.asked.questions[split])),
            "exemplars": text_sha256(rows_text(self.asked.exemplars)),
            "rounds": self.rounds(split),
            "aggregate": self.settings.evolution.fitness_aggregate,
            "config": self.settings.answering(),
            "code": source_sha256(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _file(self, key: str, split: EvolutionSplit, suffix: str) -> Path:
        return (self.scores or self.directory / SCORES) / split / f"{key[:32]}{suffix}"

    def _rows(self, recipe: Recipe, split: EvolutionSplit, scratch: Path) -> list[ResultRow]:
        scratch.mkdir(parents=True, exist_ok=True)
        context = StageContext(
            self.settings.bake, inputs={}, parameters={}, outputs={}, scratch=scratch, progress=self.progress
        )
        loaded = self._load(self.make(recipe), scratch)
        bench = bench_of(context, loaded, self.asked.exemplars)
        questions = self.asked.questions[split]
        if len(recipe.parents) == 1:
            # What would be too long later is better refused now.
            require_fit(bench, [question for asked in self.asked.questions.values() for question in asked])
        rows = [row for number in range(self.rounds(split)) for row in self._ask(context, bench, questions, number)]
        self.warnings += [text for text in context.warnings if text not in self.warnings]
        del bench, loaded
        _free()
        return rows

    def _ask(self, context: StageContext, bench: Bench, questions: Sequence[Question], number: int) -> list[ResultRow]:
        arm = self.settings.evolution.fitness_arm
        asked = [Asked(question, number, arm, _script(bench, arm)) for question in questions]
        log = context.scratch / f"{arm}-{number}.jsonl"
        return list(sample_rows(context, bench, asked, log, ResultRow, grading(context)))

    def _load(self, model: Path, scratch: Path) -> LoadedModel:
        """Load a model and extend it as the bake's first stage does; through the disk only for another arithmetic."""
        config = self.settings.bake
        loaded = load_champion(str(model), config.device, dtype="exact", attention=config.attention)
        extended = extend(
            loaded,
            config.start_thought_token,
            config.end_thought_token,
            config.thought_token_init,
            config.pad_vocabulary_to,
        )
        if resolve_dtype(config.dtype, loaded.checkpoint_dtype, resolve_device(config.device)) == loaded.dtype:
            return extended.loaded
        place = scratch / "extended"
        save_extended(extended, place)
        del loaded, extended
        _free()
        try:
            return load_champion(str(place), config.device, config.dtype, config.attention)
        finally:
            shutil.rmtree(place)


def aggregate(per_task: Mapping[str, float], how: str) -> float:
    """Put the accuracies of tasks together: their mean, every task counting the same, or the worst."""
    return min(per_task.values()) if how == "worst" else sum(per_task.values()) / len(per_task)


def _read(path: Path, key: str) -> Score | None:
    """Return the score that a file holds, None when there is none of this key."""
    if not path.is_file():
        return None
    try:
        score = read_record(Score, path)
    except ForgeError:
        return None
    return score if score.key == key else None


def _scored(rows: Sequence[ResultRow], key: str, recipe: Recipe, split: EvolutionSplit, how: str) -> Score:
    right: dict[str, list[bool]] = {}
    for row in rows:
        right.setdefault(row.task, []).append(row.correct)
    per_task = {task: sum(graded) / len(graded) for task, graded in right.items()}
    return Score(
        key=key,
        recipe_sha256=recipe.digest,
        split=split,
        score=aggregate(per_task, how),
        per_task=per_task,
        questions=len({row.question_id for row in rows}),
        rounds=len({row.round for row in rows}),
        truncated=sum(row.truncated for row in rows) / len(rows),
        tokens=sum(row.tokens for row in rows),
    )


def _script(bench: Bench, arm: str) -> Script:
    prompting = bench.prompting
    if arm == "baseline":
        return direct_script(prompting.cue_ids)
    return elicited_script(bench.rules, prompting.elicit_ids, prompting.cue_ids)


def _free() -> None:
    """Give the memory of a model back before the next one is loaded."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
