"""prepare-questions: the three splits, and the pieces that the work is cut into."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def prepare_questions(
    config: str,
    champion_selection: str,
    question_digests: str,
    code_digest: str,
    questions: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    cells: dsl.OutputPath(list),
    shards: dsl.OutputPath(list),
):
    """Split the questions by id into bake, gate and verify, without leaks between them.

    Args:
        config: Configuration of this stage, JSON.
        champion_selection: Where the questions that the champion was chosen by are named, JSON; `{}` for none.
        question_digests: sha256 of each split and excluded corpus; other content is another task.
        code_digest: sha256 of the code in the image; part of the cache key.

    Returns:
        questions: JSON lines per split, and the report of how they came about.
        metrics: Questions in all splits.
        cells: One ROUND-SHARD for each task of the evaluation.
        shards: One index for each task of the trace collection.
    """
    return run_stage("prepare-questions")
