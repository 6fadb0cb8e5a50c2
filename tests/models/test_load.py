import json
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import KINDS, tiny_champion, tiny_model, tiny_tokenizer
from transformers import AutoConfig

from agent_forge.errors import ChampionError, ConfigError
from agent_forge.models.device import choose_attention, resolve_device, resolve_dtype
from agent_forge.models.load import context_length, load_champion, outline

IDS = torch.tensor([[7, 3, 250, 9, 41]])
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def champion(tmp_path):
    return tiny_champion(tmp_path / "champion")


def refusal(path) -> str:
    with pytest.raises(ChampionError) as caught:
        load_champion(str(path))
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message
    return message


def edit_json(path: Path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def as_pickle(directory: Path, **save) -> Path:
    state = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save(state, directory / "pytorch_model.bin", **save)
    return directory


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_answers_as_the_saved_one(tmp_path, kind, tied):
    loaded = load_champion(str(tiny_champion(tmp_path / "c", kind, tied=tied)))
    assert not loaded.model.training
    assert loaded.warnings == ()
    assert loaded.context_length == 256
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(IDS).logits, tiny_model(kind, tied=tied)(IDS).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_checkpoint_dtype_is_read_from_the_weights_and_arithmetic_is_float32_on_a_cpu(tmp_path, dtype):
    directory = tiny_champion(tmp_path / "c", dtype=dtype)
    edit_json(directory / "config.json", dtype=None)
    loaded = load_champion(str(directory))
    assert (loaded.checkpoint_dtype, loaded.dtype, loaded.model.dtype) == (dtype, torch.float32, torch.float32)


def test_arithmetic_can_be_asked_for(champion):
    assert load_champion(str(champion), dtype="bfloat16").model.dtype == torch.bfloat16


def test_sharded_checkpoints_load(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    with torch.no_grad():
        assert torch.equal(load_champion(str(tmp_path)).model(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_of_tensors_load(champion, zipped):
    expected = load_champion(str(champion)).model(IDS).logits
    loaded = load_champion(str(as_pickle(champion, _use_new_zipfile_serialization=zipped)))
    assert torch.equal(loaded.model(IDS).logits, expected)


def test_sharded_pickles_load_and_a_missing_shard_is_refused(champion):
    state = load_file(champion / "model.safetensors")
    (champion / "model.safetensors").unlink()
    names = sorted(state)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: state[name] for name in part}, champion / shard)
        weight_map |= dict.fromkeys(part, shard)
    (champion / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert load_champion(str(champion)).checkpoint_dtype == torch.float32
    (champion / "pytorch_model-00002-of-00002.bin").unlink()
    assert "pytorch_model-00002-of-00002.bin, which is missing" in refusal(champion)


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_nothing_of_it_runs(champion, tmp_path, zipped):
    as_pickle(champion)
    target = tmp_path / "executed"
    state = {"model.norm.weight": Malicious(target)}
    torch.save(state, champion / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert "nothing of it was executed" in refusal(champion)
    assert not target.exists()
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.exists()


def test_safetensors_beside_a_malicious_pickle_are_what_loads(champion, tmp_path):
    target = tmp_path / "executed"
    torch.save(Malicious(target), champion / "pytorch_model.bin")
    load_champion(str(champion))
    assert not target.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.ckpt", "pytorch_model.bin"])
def test_a_lone_pickle_says_how_to_convert(tmp_path, name):
    torch.save({"a": torch.zeros(1)}, tmp_path / name)
    assert "save_pretrained" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda d: shutil.rmtree(d), "does not exist"),
        (lambda d: (d / "config.json").unlink(), "not a model directory"),
        (lambda d: (d / "config.json").write_text('{"model_type": "lla'), "not valid JSON"),
        (lambda d: (d / "config.json").write_text("[1]"), "a JSON object is expected"),
        (lambda d: (d / "config.json").write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
        (lambda d: edit_json(d / "config.json", model_type="never-heard-of"), "model_type is 'never-heard-of'"),
        (lambda d: edit_json(d / "config.json", model_type=None), "model_type is None"),
        (lambda d: edit_json(d / "config.json", model_type="mine", auto_map={"AutoConfig": "x.Y"}), "never executed"),
        (lambda d: edit_json(d / "config.json", model_type="t5", architectures=["T5Model"]), "not a causal"),
        (lambda d: edit_json(d / "config.json", architectures=["LlamaForSequenceClassification"]), "not a causal"),
        (lambda d: edit_json(d / "config.json", quantization_config={"quant_method": "gptq"}), "quantised (gptq)"),
        (lambda d: edit_json(d / "config.json", hidden_size="wide"), "cannot be loaded"),
        (lambda d: edit_json(d / "config.json", hidden_size=64), "cannot be loaded"),
        (lambda d: edit_json(d / "config.json", num_hidden_layers=3), "lacks 9 weights"),
        (lambda d: (d / "adapter_config.json").write_text("{}"), "merge it"),
        (lambda d: (d / "model.safetensors").unlink(), "found none"),
        (lambda d: (d / "model.safetensors").rename(d / "model.fp16.safetensors"), "found model.fp16.safetensors"),
        (lambda d: (d / "model.safetensors").rename(d / "model.pt"), "model.pt is a pickle"),
        (lambda d: (d / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "cannot be loaded"),
        (lambda d: tiny_tokenizer(eos=False).save_pretrained(d), "no end-of-sequence token"),
        (lambda d: tiny_model(vocabulary=280).save_pretrained(d), "embedding has 280 rows"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(champion, break_it, expected):
    break_it(champion)
    assert expected in refusal(champion)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, struct.pack("<Q", 2) + b"{}x", b"\0" * 16])
def test_a_corrupt_safetensors_file_is_refused(champion, content):
    (champion / "model.safetensors").write_bytes(content)
    refusal(champion)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_refused(champion, share):
    weights = champion / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: int(len(whole) * share)])
    try:
        assert str(weights) in refusal(champion)
    finally:
        weights.write_bytes(whole)


def test_an_index_must_name_files_that_are_there_and_hold_what_it_says(tmp_path):
    tiny_model().save_pretrained(tmp_path, max_shard_size="40KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    first, last = sorted(set(content["weight_map"].values()))[:2]
    moved = dict.fromkeys(content["weight_map"], first)
    index.write_text(json.dumps(content | {"weight_map": moved}))
    assert "but it does not" in refusal(tmp_path)
    index.write_text(json.dumps(content | {"weight_map": {"a": "../secret.safetensors"}}))
    assert "in the same directory" in refusal(tmp_path)
    index.write_text(json.dumps({"weight_map": []}))
    assert "no weight_map" in refusal(tmp_path)
    index.write_text(json.dumps(content))
    (tmp_path / last).unlink()
    assert f"names {last}, which is missing" in refusal(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(champion, value):
    state = load_file(champion / "model.safetensors")
    state["model.norm.weight"][3] = value
    save_file(state, champion / "model.safetensors", metadata={"format": "pt"})
    assert "model.norm.weight holds NaN or infinity" in refusal(champion)


def test_a_missing_output_layer_is_refused_not_made_up(champion):
    state = load_file(champion / "model.safetensors")
    del state["lm_head.weight"]
    save_file(state, champion / "model.safetensors", metadata={"format": "pt"})
    assert "lm_head.weight" in refusal(champion)


def test_weights_that_do_not_belong_are_a_warning(champion):
    state = load_file(champion / "model.safetensors")
    save_file(state | {"model.extra.weight": torch.zeros(2)}, champion / "model.safetensors", {"format": "pt"})
    (warning,) = load_champion(str(champion)).warnings
    assert "model.extra.weight" in warning


@pytest.mark.parametrize("name", ["missing/model", "./missing", "/missing/model/here"])
def test_a_path_that_is_not_there_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse_network)
    assert name.removeprefix("./") in refusal(name)


def refuse_network(name, **_):
    raise OSError(f"no network for {name}")


def test_a_hub_name_is_downloaded_without_pickles_when_it_has_safetensors(champion, tmp_path, monkeypatch):
    asked = []

    def snapshot(name, ignore_patterns, **_):
        asked.append((name, "*.bin" in ignore_patterns))
        return str(champion)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert load_champion("owner/model").checkpoint_dtype == torch.float32
    assert asked == [("owner/model", True)]


def test_loading_says_nothing_and_leaves_the_global_generator_alone(champion, capfd):
    state = load_file(champion / "model.safetensors")
    save_file(state | {"model.extra.weight": torch.zeros(2)}, champion / "model.safetensors", {"format": "pt"})
    before = torch.random.get_rng_state()
    load_champion(str(champion))
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_tokenizer_is_left_as_the_checkpoint_has_it(tmp_path):
    loaded = load_champion(str(tiny_champion(tmp_path / "c", tokenizer=tiny_tokenizer(pad=False))))
    assert loaded.tokenizer.pad_token is None


def test_mixed_checkpoints_remember_which_weights_are_wider(tmp_path):
    directory = tiny_champion(tmp_path / "c", dtype=torch.bfloat16)
    state = load_file(directory / "model.safetensors")
    state["model.norm.weight"] = torch.rand(32)
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    loaded = load_champion(str(directory), dtype="exact")
    assert loaded.checkpoint_dtype == torch.bfloat16
    assert loaded.stored_dtypes == {"model.norm.weight": torch.float32}
    assert torch.equal(loaded.model.model.norm.weight, state["model.norm.weight"])


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("llama", {"max_position_embeddings": 4096}, 4096),
        ("gpt2", {"n_positions": 1024}, 1024),
        ("mpt", {"max_seq_len": 2048}, None),
        ("bloom", {}, None),
        ("mamba", {}, None),
        ("gemma3", {"text_config": {"max_position_embeddings": 512}}, 512),
    ],
)
def test_context_length_of_architectures(kind, fields, expected):
    assert context_length(AutoConfig.for_model(kind, **fields)) == expected


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "", "cpu:1"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device(name)


def test_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    for name in ("cuda", "cuda:0"):
        with pytest.raises(ConfigError, match="use device cpu"):
            resolve_device(name)


def test_a_cuda_index_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1").index == 1
    with pytest.raises(ConfigError, match="only cuda:0 to cuda:1"):
        resolve_device("cuda:2")


def test_arithmetic_by_device():
    assert resolve_dtype("auto", torch.bfloat16, CUDA) == torch.bfloat16
    assert resolve_dtype("auto", torch.bfloat16, CPU) == torch.float32
    assert resolve_dtype("auto", torch.float64, CUDA) == torch.float32
    assert resolve_dtype("float16", torch.bfloat16, CPU) == torch.float16
    with pytest.raises(ConfigError, match="expected auto, float32"):
        resolve_dtype("int8", torch.bfloat16, CPU)


def test_attention_by_model_class():
    llama, gemma2 = type(tiny_model("llama")), type(tiny_model("gemma2"))
    assert choose_attention("auto", llama, CPU, torch.float32) == "sdpa"
    # sdpa has no soft cap on attention logits, which Gemma 2 needs.
    assert choose_attention("auto", gemma2, CPU, torch.float32) == "eager"
    assert choose_attention("auto", llama, CPU, torch.float32, soft_cap=True) == "eager"
    for name, expected in (("sdpa", "does not support it"), ("flash_attention_2", "needs a CUDA device")):
        with pytest.raises(ConfigError, match=expected):
            choose_attention(name, gemma2, CPU, torch.float32)
    with pytest.raises(ConfigError, match="expected auto, eager"):
        choose_attention("best", llama, CPU, torch.float32)


def test_an_outline_needs_no_weights_and_refuses_what_loading_refuses(champion):
    assert outline(champion) == load_champion(str(champion)).context_length
    edit_json(champion / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ChampionError, match="end-of-sequence"):
        outline(champion)
    assert "end-of-sequence" in refusal(champion)
