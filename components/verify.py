"""verify: the baked model, left to itself."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def verify(
    config: str,
    code_digest: str,
    extended: dsl.Input[dsl.Model],
    baked: dsl.Input[dsl.Model],
    questions: dsl.Input[dsl.Dataset],
    verification: dsl.Output[dsl.Artifact],
    verification_results: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    verdict: dsl.OutputPath(str),
):
    """Compare the baked model with the champion on questions that nothing else has seen: publish or reject.

    Args:
        config: Configuration of this stage, JSON.
        code_digest: sha256 of the code in the image; part of the cache key.
        extended: The extended model, which answers as the champion does.
        baked: The baked model.
        questions: The splits.

    Returns:
        verification: Verdict and every check, JSON.
        verification_results: One graded completion a line.
        metrics: Accuracies, p-value, tokens, seconds.
        verdict: publish or reject.
    """
    return run_stage("verify")
