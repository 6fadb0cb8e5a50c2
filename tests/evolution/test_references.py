"""Parents that lie elsewhere: a bucket of a real S3 server, stand-ins for the hub and for W&B."""

import pytest
from safetensors.torch import load_file
from storage.fixed_artifacts import Artifact
from tiny import tiny_champion

from agent_forge.errors import ForgeError
from agent_forge.evolution.base_models import find_base_models
from agent_forge.evolution.merge import merge
from agent_forge.evolution.recipe import load_recipe
from agent_forge.evolution_config import EvolutionConfig
from agent_forge.stages.context import Silent
from agent_forge.storage.files import path_digest
from agent_forge.storage.s3 import Location

ARTIFACT = "wandb://team/project/base:best"


@pytest.fixture
def places(bucket, hub, service, tmp_path):
    """Three models, each here and in another store: their directories and their references."""
    client, root = bucket
    here = [tiny_champion(tmp_path / f"m{seed}", seed=seed) for seed in range(3)]
    files = [{path.name: path.read_bytes() for path in model.iterdir()} for model in here]
    at = Location.parse(root)
    for name, content in files[0].items():
        client.put_object(Bucket=at.bucket, Key=f"{at.key}/one/{name}", Body=content)
    commit = hub.commit("org/two", files[1])
    service["team/project/base:best"] = service["team/project/base:v3"] = Artifact(files[2])
    pinned = (f"{root}/one", f"hf://org/two@{commit}", "wandb://team/project/base:v3")
    return here, (f"{root}/one", "hf://org/two", ARTIFACT), pinned


def recipe(path, parents, base):
    path.write_text(f"method: task_arithmetic\nparents: [{', '.join(map(str, parents))}]\nbase: {base}\n")
    return load_recipe(path)


def test_parents_that_lie_elsewhere_are_merged_and_named_by_what_pins_them(places, tmp_path):
    here, references, pinned = places
    merge(recipe(tmp_path / "here.yaml", here[:2], here[2]), tmp_path / "here")
    record = merge(recipe(tmp_path / "there.yaml", references[:2], references[2]), tmp_path / "there")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("here", "there"))
    assert one.keys() == two.keys() and all(tensor.equal(two[name]) for name, tensor in one.items())
    named = (*record.recipe.parents, record.recipe.base)
    assert tuple(parent.model for parent in named) == pinned
    assert [parent.sha256 for parent in named] == [path_digest(model) for model in here]
    # Neither where they were fetched to nor how they were asked for is part of what was merged.
    assert str(tmp_path) not in (tmp_path / "there/merge.json").read_text()
    again = merge(recipe(tmp_path / "again.yaml", pinned[:2], pinned[2]), tmp_path / "again")
    assert again.recipe_sha256 == record.recipe_sha256


def test_an_evolution_begins_with_models_that_lie_elsewhere(places):
    here, references, pinned = places
    named = {"two": references[1]}
    config = EvolutionConfig(base_models=(references[0], "two"), base=references[2], model_references=named)
    found = find_base_models(config, Silent())
    models = (*found.parents, found.base)
    assert tuple(model.uri for model in models) == pinned
    assert [model.digest for model in models] == [path_digest(model) for model in here]
    assert [model.name for model in models] == [references[0], "two", references[2]]


@pytest.mark.parametrize("reference", ["s3:///none", "hf://org/none", "wandb://team/project/none:v1", "ftp://x/y"])
def test_a_parent_that_is_not_there_is_one_line(places, tmp_path, reference):
    here, references, _ = places
    wanted = reference.replace("s3:///none", f"{references[0]}/none")
    with pytest.raises(ForgeError) as refusal:
        merge(recipe(tmp_path / "recipe.yaml", [here[0], wanted], here[2]), tmp_path / "out")
    assert "\n" not in str(refusal.value) and wanted.removeprefix("hf://") in str(refusal.value)
    assert not (tmp_path / "out").exists()
