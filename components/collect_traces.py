"""collect-traces: thoughts that led to right answers, one shard."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def collect_traces(
    config: str,
    shard: str,
    code_digest: str,
    extended: dsl.Input[dsl.Model],
    questions: dsl.Input[dsl.Dataset],
    traces: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
):
    """Sample thoughts on one shard of the bake questions and keep those worth training on.

    Args:
        config: Configuration of this stage, JSON.
        shard: Index of the shard.
        code_digest: sha256 of the code in the image; part of the cache key.
        extended: The extended model.
        questions: The splits.

    Returns:
        traces: Traces, replayed answers, and how many samples were rejected for which reason.
        metrics: Traces kept, tokens, seconds.
    """
    return run_stage("collect-traces")
