"""Giving a task what its platform says: image, resources, nodes, retries, secrets."""

from kfp import kubernetes
from kfp.dsl import PipelineTask

from agent_forge.train_job import VARIABLE, TrainJobSettings
from pipelines.platform import Needs, Platform

# Set for every container: the root file system may be read-only, and any user may run it.
ENVIRONMENT = {"HOME": "/tmp", "HF_HOME": "/tmp/huggingface", "MPLCONFIGDIR": "/tmp/matplotlib"}
UNCACHED = frozenset({"resolve-champion", "push-artifact", "keep-champion", "evolve", "submit-bake"})


def place(task: PipelineTask, stage: str, platform: Platform) -> PipelineTask:
    """Place one task.

    Args:
        task: of the pipeline that is being defined.
        stage: the node of the DAG that it runs.
        platform: what the pipeline is compiled for.
    """
    needs = platform.needs(stage)
    image = platform.image(stage)
    task.set_display_name(stage)
    task.set_container_image(image)
    task.set_caching_options(stage not in UNCACHED)
    for name, value in {**ENVIRONMENT, "FORGE_IMAGE": image, **platform.environment}.items():
        task.set_env_variable(name, value)
    if needs.train_job is not None:
        task.set_env_variable(VARIABLE, _train_job(stage, platform))
        # The task itself only waits.
        needs = platform.needs("default").model_copy(update={"retries": needs.retries, "timeout": needs.timeout})
    _resources(task, needs)
    _nodes(task, needs)
    _surroundings(task, stage, platform)
    return task


def _train_job(stage: str, platform: Platform) -> str:
    """Return what a task is told about the TrainJob that it starts."""
    needs, volume, image = platform.needs(stage), platform.volume, platform.image(stage)
    assert needs.train_job is not None and volume is not None, "checked when the platform was read"
    resources = {"cpu": needs.cpu, "memory": needs.memory}
    if needs.accelerators:
        resources[needs.accelerator_type] = str(needs.accelerators)
    return TrainJobSettings(
        **needs.train_job.model_dump(),
        image=image,
        claim=volume.claim,
        mount=volume.mount,
        resources=resources,
        node_selector=needs.node_selector,
        tolerations=tuple(taint.model_dump(exclude_none=True) for taint in needs.tolerations),
        pull_secrets=platform.pull_secrets,
        environment={**ENVIRONMENT, "FORGE_IMAGE": image, **platform.environment},
        timeout=needs.timeout,
    ).model_dump_json()


def _resources(task: PipelineTask, needs: Needs) -> None:
    task.set_cpu_request(needs.cpu).set_cpu_limit(needs.cpu)
    task.set_memory_request(needs.memory).set_memory_limit(needs.memory)
    if needs.accelerators:
        # As text: a number here is dropped on the way to the backend.
        task.set_accelerator_type(needs.accelerator_type).set_accelerator_limit(str(needs.accelerators))
    if needs.retries:
        task.set_retry(needs.retries, needs.retry_after, float(needs.retry_factor), needs.retry_for)
    if needs.timeout is not None:
        kubernetes.set_timeout(task, needs.timeout)
    if needs.shared_memory is not None:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", needs.shared_memory)


def _nodes(task: PipelineTask, needs: Needs) -> None:
    for label, value in sorted(needs.node_selector.items()):
        kubernetes.add_node_selector(task, label, value)
    for taint in needs.tolerations:
        kubernetes.add_toleration(task, taint.key, taint.operator, taint.value, taint.effect)


def _surroundings(task: PipelineTask, stage: str, platform: Platform) -> None:
    kubernetes.set_image_pull_policy(task, platform.pull_policy)
    if platform.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(platform.pull_secrets))
    for secret in platform.secrets:
        if secret.stages and stage not in secret.stages:
            continue
        kubernetes.use_secret_as_env(task, secret.name, secret.keys, optional=secret.optional)
    if platform.volume is not None:
        kubernetes.mount_pvc(task, platform.volume.claim, platform.volume.mount)
