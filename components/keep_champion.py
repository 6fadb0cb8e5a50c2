"""keep-champion: nothing is published; say why. Never cached."""

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
    trace_set: dsl.Input[dsl.Dataset] = None,
    baked: dsl.Input[dsl.Model] = None,
    bake_report: dsl.Input[dsl.Artifact] = None,
    verification: dsl.Input[dsl.Artifact] = None,
    verification_results: dsl.Input[dsl.Dataset] = None,
):
    """Leave the champion as it is and record why; a rejected bake is kept aside, labelled rejected.

    Args:
        config: The whole configuration, JSON.
        champion: What resolve-champion found.
        extension: What was added to the champion.
        questions: The splits.
        evaluation: The gate's rows, for the report.
        gate: The gate's report.
        trace_set: What a rejected bake was baked from.
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
