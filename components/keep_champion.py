"""keep-champion: nothing is published; say why. Never cached.

One stage, declared twice: after the gate there is no bake yet, after a rejected verification there is one to keep
aside.
"""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def keep_champion(
    config: str,
    champion: dsl.Input[dsl.Artifact],
    extension: dsl.Input[dsl.Artifact],
    questions: dsl.Input[dsl.Dataset],
    evaluation: dsl.Input[dsl.Dataset],
    gate: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    reason: dsl.OutputPath(str),
):
    """Leave the champion as it is and record why.

    Args:
        config: The whole configuration, JSON.
        champion: What resolve-champion found.
        extension: What was added to the champion.
        questions: The splits.
        evaluation: The gate's rows, for the report.
        gate: The gate's report.

    Returns:
        decision: Why the champion stays, JSON.
        report: The run as a page.
        metrics: Seconds spent.
        reason: The same in a sentence.
    """
    return run_stage("keep-champion")


@dsl.container_component
def keep_rejected(
    config: str,
    champion: dsl.Input[dsl.Artifact],
    extension: dsl.Input[dsl.Artifact],
    questions: dsl.Input[dsl.Dataset],
    evaluation: dsl.Input[dsl.Dataset],
    gate: dsl.Input[dsl.Artifact],
    trace_set: dsl.Input[dsl.Dataset],
    baked: dsl.Input[dsl.Model],
    bake_report: dsl.Input[dsl.Artifact],
    verification: dsl.Input[dsl.Artifact],
    verification_results: dsl.Input[dsl.Dataset],
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    reason: dsl.OutputPath(str),
):
    """Leave the champion as it is; keep the rejected bake aside, labelled rejected.

    Args:
        config: The whole configuration, JSON.
        champion: What resolve-champion found.
        extension: What was added to the champion.
        questions: The splits.
        evaluation: The gate's rows, for the report.
        gate: The gate's report.
        trace_set: What the rejected bake was baked from.
        baked: The rejected model.
        bake_report: How its bake went.
        verification: Why it was rejected.
        verification_results: The rows behind that.

    Returns:
        decision: Why the champion stays, JSON.
        report: The run as a page.
        metrics: Seconds spent.
        reason: The same in a sentence.
    """
    return run_stage("keep-champion")
