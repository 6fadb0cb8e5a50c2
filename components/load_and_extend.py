"""load-and-extend: the champion plus two thought tokens."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def load_and_extend(
    config: str,
    champion_uri: str,
    champion_digest: str,
    code_digest: str,
    extended: dsl.Output[dsl.Model],
    extension: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
):
    """Add the thought tokens to the champion; its logits over the old vocabulary stay as they are.

    Args:
        config: Configuration of this stage, JSON.
        champion_uri: What the champion is found by.
        champion_digest: sha256 that its files must have.
        code_digest: sha256 of the code in the image; part of the cache key.

    Returns:
        extended: The extended model.
        extension: What was added, and by how much logits moved, JSON.
        metrics: Seconds spent.
    """
    return run_stage("load-and-extend")
