"""bake: train the thinking in."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def bake(
    config: str,
    code_digest: str,
    extended: dsl.Input[dsl.Model],
    questions: dsl.Input[dsl.Dataset],
    traces: dsl.Input[list[dsl.Dataset]],
    baked: dsl.Output[dsl.Model],
    bake_report: dsl.Output[dsl.Artifact],
    trace_set: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
):
    """Fine-tune the extended model on the traces and merge what was learnt.

    Args:
        config: Configuration of this stage, JSON.
        code_digest: sha256 of the code in the image; part of the cache key.
        extended: The extended model.
        questions: The splits.
        traces: The traces of every shard, in any order.

    Returns:
        baked: The baked model, not verified yet.
        bake_report: Loss curve and settings, JSON.
        trace_set: All traces and replayed answers in one place.
        metrics: Steps, held-out loss, tokens, seconds.
    """
    return run_stage("bake")
