"""prepare-questions: load the tasks, split them by id, drop leaks, write the three splits."""

import json

from agent_forge.config import QuietSTaRConfig
from agent_forge.questions.corpora import open_corpora
from agent_forge.questions.sources import load_task
from agent_forge.questions.split import split_questions
from agent_forge.records import Question, SplitName, SplitReport
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.storage.question_files import cell_names, write_questions

SPLITS: tuple[SplitName, ...] = ("bake", "gate", "verify")


def prepare_questions(context: StageContext) -> StageOutcome:
    """Write the splits; the cells to evaluate and the shards to collect go out as parameters."""
    meter = Meter()
    config = context.config
    splits, report = draw_questions(config)
    write_questions(context.outputs["questions"], splits, report)
    shards = [str(index) for index in range(config.shards)]
    parameters = {
        "cells": json.dumps(cell_names(config.ab_test_rounds, config.shards)),
        "shards": json.dumps(shards),
    }
    return StageOutcome(cost=meter.cost(questions=sum(report.counts.values())), parameters=parameters)


def draw_questions(config: QuietSTaRConfig) -> tuple[dict[SplitName, tuple[Question, ...]], SplitReport]:
    """Load and split the configured tasks; the same configuration and files always give the same splits."""
    corpora = open_corpora(config.also_exclude)
    drawn = split_questions(
        [load_task(name, config.dataset_path, config.allow_code_execution) for name in config.eval_dataset],
        [load_task(name, config.dataset_path, config.allow_code_execution) for name in config.guard_datasets],
        config.eval_samples,
        config.verify_samples or config.eval_samples,
        config.bake_samples,
        corpora,
        config.allow_code_execution,
    )
    return {name: drawn.questions[name] for name in SPLITS}, drawn.report


STAGE = Stage("prepare-questions", prepare_questions, inputs=(), outputs=("questions",))
