"""The one contract of all containers: `forge stage NAME --executor-input JSON`, nothing else.

The executor input holds every parameter, every artifact and where every output goes, and `forge stage` is the only
place that reads it. The image named here stands in until the platform that the pipeline is compiled for chooses one.
"""

from kfp import dsl

IMAGE = "agent-forge:cpu"


def run_stage(name: str) -> dsl.ContainerSpec:
    """Return what the container of a stage runs."""
    arguments = ["stage", name, "--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
    return dsl.ContainerSpec(image=IMAGE, command=["forge"], args=arguments)
