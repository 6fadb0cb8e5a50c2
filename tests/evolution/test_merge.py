"""Whole models merged on disk: tensors, dtypes, embeddings, tokenizers, stacks, and models that cannot be merged."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from refusals import files_up_to
from safetensors.torch import load_file, save_file
from tiny import tiny_champion, tiny_model, tiny_tokenizer
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_forge.errors import ForgeError, InputError, OutputError
from agent_forge.evolution.merge import MergeRecord, merge
from agent_forge.evolution.methods.dare import dare, drop_mask
from agent_forge.evolution.methods.linear import linear
from agent_forge.evolution.methods.slerp import slerp
from agent_forge.evolution.methods.task_arithmetic import task_arithmetic
from agent_forge.evolution.methods.ties import ties
from agent_forge.evolution.recipe import Recipe, load_recipe, parse_recipe
from agent_forge.records import read_record

CHAT = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A base and two parents of four layers."""
    root = tmp_path_factory.mktemp("family")
    return [tiny_champion(root / f"m{seed}", seed=seed, num_hidden_layers=4) for seed in range(3)]


def recipe(method, models, **fields):
    base, *parents = models
    named = {"base": str(base)} if method in ("task_arithmetic", "ties", "dare_linear", "dare_ties") else {}
    return parse_recipe({"method": method, "parents": [str(path) for path in parents], **named, **fields})


def weights(directory: Path):
    files = sorted(directory.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def masks(shape, name):
    return [drop_mask(shape, 0.5, 3, name, number) for number in range(2)]


METHODS = {
    "linear": ({"weights": [0.7, 0.4]}, lambda n, b, p: linear(p, [0.7, 0.4])),
    "slerp": ({"t": 0.3}, lambda n, b, p: slerp(*p, 0.3)),
    "task_arithmetic": (
        {"weights": [0.7, -0.4], "scale": 0.9},
        lambda n, b, p: task_arithmetic(b, p, [0.7, -0.4], 0.9),
    ),
    "ties": (
        {"weights": [0.7, 0.4], "densities": [0.5, 0.8]},
        lambda n, b, p: ties(b, p, [0.7, 0.4], [0.5, 0.8]),
    ),
    "dare_linear": (
        {"densities": [0.5, 0.5], "seed": 3},
        lambda n, b, p: dare(b, p, masks(b.shape, n), [1, 1], [0.5, 0.5]),
    ),
    "dare_ties": (
        {"densities": [0.5, 0.5], "seed": 3, "rescale": "density"},
        lambda n, b, p: dare(b, p, masks(b.shape, n), [1, 1], [0.5, 0.5], rescale="density", elect=True),
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_tensor_is_merged_by_the_method(family, tmp_path, method):
    fields, expected = METHODS[method]
    merge(recipe(method, family, **fields), tmp_path / "out")
    base, *parents = map(weights, family)
    merged = weights(tmp_path / "out")
    assert merged.keys() == base.keys()
    for name, tensor in merged.items():
        assert torch.equal(tensor, expected(name, base[name], [parent[name] for parent in parents])), name


def test_groups_give_layers_and_parts_their_own_weights(family, tmp_path):
    groups = [{"layers": [0, 2], "containing": "mlp", "weights": [1, 0]}, {"layers": [3, 4], "weights": [0, 1]}]
    merge(recipe("linear", family, weights=[1, 1], groups=groups), tmp_path / "out")
    _, first, second = map(weights, family)
    for name, tensor in weights(tmp_path / "out").items():
        if "mlp" in name and (".layers.0." in name or ".layers.1." in name):
            assert torch.equal(tensor, first[name]), name
        elif ".layers.3." in name:
            assert torch.equal(tensor, second[name]), name
        else:
            assert torch.equal(tensor, (first[name] + second[name]) / 2), name


def test_shards_hold_the_same_tensors_and_load(family, tmp_path):
    merge(recipe("linear", family), tmp_path / "whole")
    merge(recipe("linear", family), tmp_path / "sharded", shard_bytes=40_000)
    index = json.loads((tmp_path / "sharded" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    whole, sharded = weights(tmp_path / "whole"), weights(tmp_path / "sharded")
    assert whole.keys() == sharded.keys() and all(torch.equal(whole[name], sharded[name]) for name in whole)
    # A sharded model is read as well as written.
    merge(recipe("linear", [None, tmp_path / "sharded"]), tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "whole/model.safetensors"
    ).read_bytes()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "sharded")
    assert all(torch.equal(parameter, whole[name]) for name, parameter in model.named_parameters())


def test_the_record_beside_it_tells_how_it_was_made(family, tmp_path):
    made = merge(recipe("linear", family), tmp_path / "out")
    assert read_record(MergeRecord, tmp_path / "out" / "merge.json") == made
    assert made.recipe_sha256 == made.recipe.digest and made.speaker == 0


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_tied_embeddings_stay_tied(tmp_path, kind):
    parents = [tiny_champion(tmp_path / f"p{seed}", kind, tied=True, seed=seed) for seed in range(2)]
    merge(recipe("linear", [None, *parents]), tmp_path / "out")
    assert not [name for name in weights(tmp_path / "out") if "lm_head" in name]
    model, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_dtypes_are_the_parents_own_or_the_recipes(tmp_path):
    parents = [tiny_champion(tmp_path / f"p{seed}", seed=seed, dtype=torch.bfloat16) for seed in range(2)]
    one, two = map(weights, parents)
    for dtype in (None, "float32"):
        merge(recipe("linear", [None, *parents], dtype=dtype), tmp_path / f"{dtype}")
        expected = getattr(torch, dtype or "bfloat16")
        for name, tensor in weights(tmp_path / f"{dtype}").items():
            # The arithmetic is in float32 whatever is stored, and rounds once.
            assert torch.equal(tensor, ((one[name].float() + two[name].float()) / 2).to(expected)), name
        assert json.loads((tmp_path / f"{dtype}" / "config.json").read_text())["dtype"] == (dtype or "bfloat16")


def test_stacked_layers_come_from_where_the_slices_say(family, tmp_path):
    slices = [{"parent": 0, "layers": [0, 3]}, {"parent": 1, "layers": [1, 4]}]
    merge(recipe("stack", family, slices=slices), tmp_path / "out")
    _, first, second = map(weights, family)
    model, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"] and model.config.num_hidden_layers == 6
    merged = dict(model.named_parameters())
    for layer, (origin, taken) in enumerate(
        [(first, 0), (first, 1), (first, 2), (second, 1), (second, 2), (second, 3)]
    ):
        name = "model.layers.{}.mlp.up_proj.weight"
        assert torch.equal(merged[name.format(layer)], origin[name.format(taken)])
    assert torch.equal(merged["model.embed_tokens.weight"], first["model.embed_tokens.weight"])
    assert torch.equal(merged["lm_head.weight"], second["lm_head.weight"])


def test_stacking_keeps_what_kind_each_layer_is(tmp_path):
    parent = tiny_champion(tmp_path / "p", "gemma3", tied=True)
    slices = [{"parent": 0, "layers": [0, 2]}, {"parent": 0, "layers": [1, 2]}]
    merge(recipe("stack", [None, parent], slices=slices), tmp_path / "out")
    config = AutoModelForCausalLM.from_pretrained(tmp_path / "out").config
    assert config.layer_types == ["sliding_attention", "full_attention", "full_attention"]


def with_tokens(directory, seed, *tokens, chat=None, rows=0):
    """Save a model whose tokenizer has further tokens, and rows for them."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=True) for token in tokens])
    tokenizer.chat_template = chat
    return tiny_champion(directory, seed=seed, tokenizer=tokenizer, vocabulary=len(tokenizer) + rows)


def rows_by_token(directory, name):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    table = weights(directory)[name]
    return {token: table[index] for token, index in tokenizer.get_vocab().items()}


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "lm_head.weight"])
def test_vocabularies_unite_by_token(tmp_path, name):
    one = with_tokens(tmp_path / "one", 1, "<|a|>", "<|both|>", rows=3)
    two = with_tokens(tmp_path / "two", 2, "<|both|>", "<|b|>")
    made = merge(recipe("linear", [None, one, two], weights=[3, 1]), tmp_path / "out")
    first, second, merged = (rows_by_token(path, name) for path in (one, two, tmp_path / "out"))
    assert made.added_tokens == ("<|b|>",) and merged.keys() == first.keys() | second.keys()
    for token, row in merged.items():
        # Whoever lacks a token is given the other's row for it.
        expected = (3 * first.get(token, second.get(token)) + second.get(token, first.get(token))) / 4
        torch.testing.assert_close(row, expected)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.encode("x<|b|>y")[1:-1] == [tokenizer.convert_tokens_to_ids("<|b|>")]
    assert tokenizer.decode(tokenizer.encode("x<|b|>y"), skip_special_tokens=True) == "xy"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.vocab_size == model.get_input_embeddings().weight.shape[0] > max(tokenizer.get_vocab().values())


def test_a_token_the_base_lacks_keeps_its_parents_row(tmp_path):
    base = tiny_champion(tmp_path / "base", seed=0)
    one, two = with_tokens(tmp_path / "one", 1, "<|a|>"), tiny_champion(tmp_path / "two", seed=2)
    merge(recipe("task_arithmetic", [base, one, two], weights=[0.5, 0.5]), tmp_path / "out")
    name = "model.embed_tokens.weight"
    first, merged = rows_by_token(one, name), rows_by_token(tmp_path / "out", name)
    torch.testing.assert_close(merged["<|a|>"], first["<|a|>"])


def test_the_model_with_the_chat_template_speaks(tmp_path):
    plain = tiny_champion(tmp_path / "plain", seed=0)
    chat = with_tokens(tmp_path / "chat", 1, chat=CHAT)
    (chat / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 7]}))
    made = merge(recipe("linear", [None, plain, chat]), tmp_path / "out")
    assert made.speaker == 1
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == CHAT
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"] == [0, 7]
    merge(recipe("linear", [None, plain, chat], speaker=0), tmp_path / "silent")
    assert AutoTokenizer.from_pretrained(tmp_path / "silent").chat_template is None


def change_config(directory, **fields):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def other_model(path, **changes):
    shutil.rmtree(path)
    tiny_champion(path, num_hidden_layers=4, **changes)


def other_tokenizer(path):
    content = json.loads((path / "tokenizer.json").read_text())
    content["model"]["merges"].pop()
    (path / "tokenizer.json").write_text(json.dumps(content))


def untied(path):
    change_config(path, tie_word_embeddings=True)


def chatty(path, text):
    (path / "chat_template.jinja").write_text(text)


# What is done to the second parent (the first one speaks CHAT), and what the refusal must name.
MISMATCHES = {
    "kind": (lambda p: other_model(p, kind="qwen3"), ["model_type", "'llama'", "'qwen3'"]),
    "width": (lambda p: other_model(p, intermediate_size=64), ["intermediate_size", "48", "64"]),
    "rope": (
        lambda p: change_config(p, rope_parameters={"rope_theta": 5.0, "rope_type": "default"}),
        ["rope_theta", "5.0"],
    ),
    "depth": (lambda p: other_model(p) or change_config(p, num_hidden_layers=3), ["num_hidden_layers", "4", "3"]),
    "tensor": (lambda p: other_model(p, attention_bias=True), ["attention_bias"]),
    "shape": (
        lambda p: (
            (change := p / "config.json", kept := change.read_text())
            and (other_model(p, intermediate_size=64), change.write_text(kept))
        ),
        ["model.layers.0.mlp.down_proj.weight", "[32, 48]", "[32, 64]"],
    ),
    "tied by name only": (untied, ["tie_word_embeddings", "lm_head.weight"]),
    "dtype": (lambda p: other_model(p, dtype=torch.float16), ["float32", "float16", "set dtype"]),
    "tokenizer": (other_tokenizer, ["tokenizers", "model", "added tokens"]),
    "chat template": (lambda p: chatty(p, "other"), ["chat templates", "speaker"]),
    "no directory": (shutil.rmtree, ["not a directory"]),
    "not finite": (lambda p: spoil_head(p, poisoned), ["NaN", "lm_head.weight"]),
    "a head cut short": (lambda p: spoil_head(p, lambda head: head[:-5].clone()), ["unequal", "lm_head.weight", "295"]),
}


def spoil_head(path, change):
    tensors = weights(path)
    tensors["lm_head.weight"] = change(tensors["lm_head.weight"])
    save_file(tensors, path / "model.safetensors", {"format": "pt"})


def poisoned(head):
    head[3, 3] = float("nan")
    return head


@pytest.mark.parametrize("case", MISMATCHES)
def test_what_cannot_be_merged_is_refused_in_one_line(family, tmp_path, case):
    change, words = MISMATCHES[case]
    first, second = (Path(shutil.copytree(family[n], tmp_path / f"p{n}")) for n in (1, 2))
    chatty(first, CHAT)
    change(second)
    with pytest.raises(InputError) as refused:
        merge(recipe("linear", [None, first, second]), tmp_path / "out")
    assert "\n" not in str(refused.value) and all(word in str(refused.value) for word in words), refused.value
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_pickles_and_models_other_than_named_are_refused(family, tmp_path):
    parent = Path(shutil.copytree(family[1], tmp_path / "p"))
    (parent / "model.safetensors").unlink()
    torch.save(tiny_model().state_dict(), parent / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickle"):
        merge(recipe("linear", [None, parent]), tmp_path / "out")
    named = parse_recipe({"method": "linear", "parents": [{"model": str(family[1]), "sha256": "0" * 64}]})
    with pytest.raises(InputError, match="digest"):
        merge(named, tmp_path / "out")


def test_a_disk_that_fills_up_leaves_nothing_behind(family, tmp_path):
    with files_up_to(50_000), pytest.raises(OutputError, match="cannot write"):
        merge(recipe("linear", family), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_stacks_must_agree_in_all_but_their_layers(tmp_path):
    deep, other = (
        tiny_champion(tmp_path / name, "gpt2", tied=True, n_layer=layers, layer_norm_epsilon=epsilon)
        for name, layers, epsilon in (("deep", 3, 1e-5), ("other", 2, 1e-3))
    )
    slices = [{"parent": 0, "layers": [1, 3]}, {"parent": 1, "layers": [0, 2]}]
    with pytest.raises(InputError, match="layer_norm_epsilon"):
        merge(recipe("stack", [None, deep, other], slices=slices), tmp_path / "out")
    change_config(other, layer_norm_epsilon=1e-5)
    merge(recipe("stack", [None, deep, other], slices=slices), tmp_path / "out")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.n_layer == 4


def test_a_place_that_is_taken_is_left_alone(family, tmp_path):
    (tmp_path / "kept").write_text("x")
    with pytest.raises(InputError, match="exists"):
        merge(recipe("linear", family), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "linear", "t": 0.5}, "reads no t"),
        ({"method": "linear", "groups": [{"layers": [0, 1], "t": 0.5}]}, "reads no groups.0.t"),
        ({"method": "ties"}, "needs base"),
        ({"method": "slerp"}, "needs t"),
        ({"method": "slerp", "t": 1.5}, "t: "),
        ({"method": "slerp", "t": 0.5, "parents": ["a"]}, "2 parents"),
        ({"method": "linear", "weights": [1]}, "1 values for 2 parents"),
        ({"method": "linear", "weights": [1, -1]}, "sum to 0"),
        ({"method": "linear", "weights": [1, float("inf")]}, "weights.1"),
        ({"method": "ties", "base": "b", "densities": [0, 1]}, "densities.0"),
        ({"method": "linear", "groups": [{"weights": [1, 2]}]}, "needs layers or containing"),
        ({"method": "linear", "groups": [{"layers": [2, 2]}]}, "are none"),
        ({"method": "stack"}, "needs slices"),
        ({"method": "stack", "slices": [{"parent": 2, "layers": [0, 1]}]}, "counted from 0"),
        ({"method": "linear", "speaker": 2}, "speaker"),
        ({"method": "linear", "speaker": "base"}, "speaker"),
        ({"method": "average"}, "method"),
        ({"method": "linear", "weigths": [1, 2]}, "weigths"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(ForgeError) as refused:
        parse_recipe({"parents": ["a", "b"], **fields})
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "linear", "groups": [{"layers": [4, 5]}]}, "no tensor belongs to group 0"),
        ({"method": "linear", "groups": [{"containing": "nonesuch"}]}, "no tensor belongs to group 0"),
        ({"method": "stack", "slices": [{"parent": 0, "layers": [0, 5]}]}, "slice 0 ends at layer 5"),
    ],
)
def test_recipes_that_do_not_fit_the_models_are_refused(family, tmp_path, fields, words):
    fields = dict(fields)
    with pytest.raises(InputError, match=words):
        merge(recipe(fields.pop("method"), family, **fields), tmp_path / "out")


def test_a_recipe_is_known_by_what_it_merges():
    def made(model, **fields):
        return parse_recipe({"method": "linear", "parents": [{"model": model, **fields}]}).digest

    assert made("a") != made("b")
    assert made("a", sha256="1" * 64) == made("b", sha256="1" * 64) != made("a", sha256="2" * 64)
    again = Recipe.model_validate_json(parse_recipe({"method": "linear", "parents": ["a"]}).model_dump_json())
    assert again.digest == made("a")


def test_the_command_reads_paths_beside_the_recipe(family, tmp_path, refusal, monkeypatch, capsys):
    import sys

    from agent_forge import cli

    file = tmp_path / "recipe.yaml"
    shutil.copytree(family[1], tmp_path / "p1")
    file.write_text(f"method: slerp\nparents: [p1, {family[2]}]\nt: 0.5\n")
    monkeypatch.setattr(sys, "argv", ["forge", "merge", str(file), "--out", str(tmp_path / "out")])
    assert cli._run() == 0 and load_recipe(file).digest in capsys.readouterr().out
    assert (tmp_path / "out" / "merge.json").is_file()
    file.write_text("method: slerp\nparents: [p1]\n")
    assert "2 parents" in refusal("merge", str(file), "--out", str(tmp_path / "other"), quiet=False)
