"""The DAG: evolve a champion out of base models, then have it baked by the other pipeline.

    evolve (GPU, goes on where it was), help-evolve beside it where the platform has more machines for it
    -> If a champion is to be baked: submit-bake

The bake is a run of its own: it is cached, repeated and looked at as any other bake of that champion.
"""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from agent_forge.errors import ConfigError
from components.evolve import evolve
from components.help_evolve import help_evolve
from components.submit_bake import submit_bake
from pipelines.placement import place
from pipelines.platform import Platform

NAME = "evomerge"
HOST = "http://ml-pipeline.kubeflow:8888"


def define(platform: Platform) -> BaseComponent:
    """Return the pipeline for a platform, ready to be compiled.

    Raises:
        ConfigError: when the platform has no volume, without which an evolution that is stopped would be lost.
    """
    if platform.volume is None:
        raise ConfigError(
            f"platform {platform.name} has no volume; an evolution keeps its state there: give volume: {{claim: ...}}"
        )
    state = f"{platform.volume.mount}/evolutions"

    @dsl.pipeline(name=NAME, display_name="EvoMerge", description=_description(platform))
    def evomerge(
        base_models: str = "",
        base: str = "",
        eval_dataset: str = "gsm8k",
        gens: int = 10,
        population: int = 8,
        publish_to: str = "",
        state_path: str = state,
        bake_when: str = "better",
        bake_output_path: str = "pipeline://",
        config: str = "",
        host: str = HOST,
        namespace: str = "kubeflow",
        service_account: str = "",
    ):
        """Evolve a champion out of models of one architecture and submit its bake.

        Args:
            base_models: What is merged: hf://owner/name, s3://bucket/prefix or mounted directories; by commas.
            base: What the base models were fine-tuned from; empty for none.
            eval_dataset: Tasks that merges are scored on and the champion is baked for; several by commas.
            gens: Generations.
            population: Merges per generation.
            publish_to: Publication root of the champion, s3://bucket/prefix or mounted; empty for the volume alone.
            state_path: Directory of the mounted volume for what outlives a pod.
            bake_when: better (shown to beat the best base model), always or never.
            bake_output_path: Publication root of the bake.
            config: Further fields of evolution and bake as a JSON object.
            host: URL of Kubeflow Pipelines, as seen from its pods.
            namespace: Namespace of the bake's run.
            service_account: Account that the bake's pods run as; empty for the installation's own.
        """
        asked = {
            "base_models": base_models,
            "base": base,
            "eval_dataset": eval_dataset,
            "gens": gens,
            "population": population,
            "publish_to": publish_to,
            "state_path": state_path,
            "config": config,
        }
        evolved = evolve(**asked, bake_when=bake_when, nodes=platform.parallelism.evolve)
        place(evolved, "evolve", platform)
        for number in range(1, platform.parallelism.evolve):
            helping = help_evolve(**asked, node=number)
            place(helping, "evolve", platform).set_display_name(f"help-evolve {number}")
        with dsl.If(evolved.outputs["bake"] == "true", name="bake-the-champion"):
            submitted = submit_bake(
                champion_uri=evolved.outputs["champion_uri"],
                champion_digest=evolved.outputs["champion_digest"],
                bake_config=evolved.outputs["bake_config"],
                output_path=bake_output_path,
                host=host,
                namespace=namespace,
                service_account=service_account,
            )
            place(submitted, "submit-bake", platform)

    return evomerge


def _description(platform: Platform) -> str:
    return f"Merges models of one architecture into a better one and has it baked. {platform.description}"
