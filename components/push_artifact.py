"""push-artifact: publish, the manifest last; never cached."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def push_artifact(
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
    model: dsl.Output[dsl.Model],
    manifest: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    model_path: dsl.OutputPath(str),
    manifest_path: dsl.OutputPath(str),
):
    """Publish the verified model with the manifest that makes it real.

    Args:
        config: The whole configuration, JSON.
        champion: What resolve-champion found.
        extension: What was added to the champion.
        questions: The splits.
        evaluation: The gate's rows, for the report.
        gate: The gate's report.
        trace_set: What was baked from.
        baked: The model.
        bake_report: How the bake went.
        verification: The verification's report.
        verification_results: Its rows, for the report.

    Returns:
        model: The published model with its manifest.
        manifest: The manifest alone.
        report: The run as a page.
        metrics: Seconds spent.
        model_path: Where the model is.
        manifest_path: Where its manifest is.
    """
    return run_stage("push-artifact")
