"""evaluate-round: one cell, all arms."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def evaluate_round(
    config: str,
    cell: str,
    code_digest: str,
    extended: dsl.Input[dsl.Model],
    questions: dsl.Input[dsl.Dataset],
    results: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
):
    """Answer one round of one shard of the gate questions directly, after a thought, and after a pause.

    Args:
        config: Configuration of this stage, JSON.
        cell: ROUND-SHARD.
        code_digest: sha256 of the code in the image; part of the cache key.
        extended: The extended model.
        questions: The splits.

    Returns:
        results: One graded completion a line.
        metrics: Accuracy of each arm, tokens, seconds.
    """
    return run_stage("evaluate-round")
