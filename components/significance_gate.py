"""significance-gate: the verdict."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def significance_gate(
    config: str,
    code_digest: str,
    results: dsl.Input[list[dsl.Dataset]],
    questions: dsl.Input[dsl.Dataset],
    gate: dsl.Output[dsl.Artifact],
    evaluation: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    verdict: dsl.OutputPath(str),
):
    """Judge all cells together: bake, no_bake or inconclusive.

    Args:
        config: Configuration of this stage, JSON.
        code_digest: sha256 of the code in the image; part of the cache key.
        results: The rows of every cell, in any order.
        questions: The splits, for examples in the report.

    Returns:
        gate: Verdict and every figure that it rests on, JSON.
        evaluation: The rows of all cells in one file.
        report: The comparison as a page.
        metrics: Accuracies, difference, p-value.
        verdict: bake, no_bake or inconclusive.
    """
    return run_stage("significance-gate")
