"""prepare-questions: load the tasks, split them by id, drop leaks, write the three splits and the exemplars."""

import json
from collections.abc import Sequence
from pathlib import Path

from agent_forge.config import QuietSTaRConfig
from agent_forge.questions.corpora import open_corpora
from agent_forge.questions.exemplars import FewShot, check_stops
from agent_forge.questions.sources import load_task
from agent_forge.questions.sources.exemplar_file import read_exemplars
from agent_forge.questions.split import Splits, split_questions
from agent_forge.records import SelectedQuestion
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.storage.origin import read_selection
from agent_forge.storage.question_files import cell_names, write_questions


def prepare_questions(context: StageContext) -> StageOutcome:
    """Write the splits; the cells to evaluate and the shards to collect go out as parameters."""
    meter = Meter()
    config = context.config
    drawn = context.drawn or draw_questions(config, read_selection(context.parameters.get("champion_selection", "{}")))
    write_questions(context.outputs["questions"], drawn.questions, drawn.report, drawn.exemplars)
    shards = [str(index) for index in range(config.shards)]
    parameters = {
        "cells": json.dumps(cell_names(config.ab_test_rounds, config.shards, config.gate_looks)),
        "shards": json.dumps(shards),
    }
    return StageOutcome(cost=meter.cost(questions=sum(drawn.report.counts.values())), parameters=parameters)


def draw_questions(config: QuietSTaRConfig, selected_on: Sequence[SelectedQuestion] = ()) -> Splits:
    """Load and split the configured tasks; the same configuration and files always give the same splits.

    Args:
        config: of the stage.
        selected_on: questions that the champion was chosen by, which are kept out.
    """
    corpora = open_corpora(config.also_exclude)
    targets = [load_task(name, config.dataset_path, config.allow_code_execution) for name in config.eval_dataset]
    guards = [load_task(name, config.dataset_path, config.allow_code_execution) for name in config.guard_datasets]
    drawn = split_questions(
        targets,
        guards,
        config.eval_samples,
        config.verify_samples or config.eval_samples,
        config.bake_samples,
        corpora,
        config.allow_code_execution,
        wanted_exemplars(config, targets[0].task),
        selected_on,
    )
    check_stops(drawn.exemplars, config.stop_strings)
    return drawn


def wanted_exemplars(config: QuietSTaRConfig, task: str) -> FewShot:
    """Return what exemplars a configuration asks for; those of the user's own are of `task`."""
    if config.few_shot_file is None:
        return FewShot(config.few_shot, config.few_shot_style)
    path = Path(config.few_shot_file)
    own = read_exemplars(path, task, bare=config.few_shot_style == "reference")
    return FewShot(config.few_shot, config.few_shot_style, own, str(path))


STAGE = Stage("prepare-questions", prepare_questions, inputs=(), outputs=("questions",))
