"""help-evolve: scores merges for an evolution beside its own task, over the same volume; never cached."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def help_evolve(
    base_models: str,
    base: str,
    eval_dataset: str,
    gens: int,
    population: int,
    publish_to: str,
    state_path: str,
    node: int,
    config: str,
):
    """Score merges that nobody has taken yet, until the evolution is over.

    Args:
        base_models: As the evolution's own task has it, and so on.
        base: What the base models were fine-tuned from; empty for none.
        eval_dataset: Tasks that merges are scored on.
        gens: Generations.
        population: Merges per generation.
        publish_to: Publication root of the champion, which the evolution's own task publishes.
        state_path: Directory of a mounted volume that all machines of the evolution share.
        node: Number of this machine, from 1.
        config: Further fields of evolution and bake as a JSON object.
    """
    return run_stage("help-evolve")
