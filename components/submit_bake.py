"""submit-bake: start the bake pipeline for a champion; never cached, and starts one run however often it is asked."""

from kfp import dsl

IMAGE = "agent-forge:submit"


@dsl.container_component
def submit_bake(
    champion_uri: str,
    champion_digest: str,
    bake_config: str,
    output_path: str,
    host: str,
    namespace: str,
    service_account: str,
    run_id: dsl.OutputPath(str),
):
    """Submit the bake of a champion.

    Args:
        champion_uri: Where the champion is.
        champion_digest: sha256 of its files.
        bake_config: The bake's fields, JSON.
        output_path: Publication root of the bake.
        host: URL of Kubeflow Pipelines.
        namespace: Namespace of the runs.
        service_account: Account that the bake's pods run as; empty for the installation's own.

    Returns:
        run_id: The run that bakes it.
    """
    # Not `forge stage`: the image that submits has a client of the pipelines and no torch; the contract is the same.
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python", "-m", "pipelines.submit_bake"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
