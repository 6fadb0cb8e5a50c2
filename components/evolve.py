"""evolve: a champion out of base models; goes on where it was, never cached."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def evolve(
    base_models: str,
    base: str,
    eval_dataset: str,
    gens: int,
    population: int,
    publish_to: str,
    state_path: str,
    bake_when: str,
    nodes: int,
    config: str,
    evolution: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    champion_uri: dsl.OutputPath(str),
    champion_digest: dsl.OutputPath(str),
    verdict: dsl.OutputPath(str),
    bake: dsl.OutputPath(str),
    bake_config: dsl.OutputPath(str),
):
    """Search for the best merge of models of one architecture, and measure it on questions that chose nothing.

    Args:
        base_models: What is merged: references such as hf://owner/name, s3:// or mounted directories; by commas.
        base: What the base models were fine-tuned from; empty for none.
        eval_dataset: Tasks that merges are scored on.
        gens: Generations.
        population: Merges per generation.
        publish_to: Publication root of the champion; empty for the volume alone.
        state_path: Directory of a mounted volume for what outlives a pod.
        bake_when: better, always or never.
        nodes: Machines that score merges, this one among them.
        config: Further fields of evolution and bake as a JSON object.

    Returns:
        evolution: Everything that was found, JSON.
        page: The same to read.
        metrics: Accuracies, difference, p-value, seconds.
        champion_uri: Where the champion is.
        champion_digest: sha256 of its files.
        verdict: better, not_better or inconclusive; base_model when no merge did better.
        bake: true when the champion is to be baked.
        bake_config: The bake's fields, JSON.
    """
    return run_stage("evolve")
