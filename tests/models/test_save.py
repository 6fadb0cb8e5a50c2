"""Laws of saving: what loads is what was in memory, in the dtypes it came in, and it is there whole or not at all."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import files_up_to
from safetensors.torch import load_file
from tiny import CHAT_TEMPLATE, EOS, tiny_champion, tiny_tokenizer
from tiny_extended import (
    BOTH_TIES,
    DTYPES,
    EVERY_ARCHITECTURE,
    SIZE,
    TEXT,
    all_entries,
    as_mixed,
    edit_json,
    exact,
    extended_at,
    logits,
    weights,
)

from agent_forge.errors import OutputError
from agent_forge.models.adapters import LoraShape, attach
from agent_forge.models.extend import save_extended
from agent_forge.models.save import save_model
from agent_forge.storage.files import list_files


@pytest.fixture
def champion(tmp_path):
    return tiny_champion(tmp_path / "champion")


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_a_saved_extended_model_loads_with_the_same_logits(tmp_path, kind, tied):
    champion = tiny_champion(tmp_path / "c", kind, tied=tied)
    files = all_entries(champion)
    extended = extended_at(champion)
    save_extended(extended, tmp_path / "e")
    loaded = exact(tmp_path / "e")
    ids = loaded.tokenizer.encode(TEXT)
    assert [index for index in ids if index in extended.ids] == list(extended.ids)
    assert torch.equal(logits(loaded.model, ids), logits(extended.model, ids))
    assert loaded.warnings == ()
    assert all_entries(champion) == files


def test_licences_come_along_from_champion_to_bake(champion, tmp_path):
    (champion / "LICENSE").write_text("terms")
    save_extended(extended_at(champion), tmp_path / "e")
    save_model(exact(tmp_path / "e"), tmp_path / "baked")
    assert (tmp_path / "baked" / "LICENSE").read_text() == "terms"


def bake(extended):
    """Train nothing, but move every adapter and both token rows, and merge."""
    trainable = attach("lora", extended.model, extended.ids, LoraShape(rank=2, alpha=4.0, dropout=0.0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in trainable.parameters.values():
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    trainable.merge()


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_a_merged_bake_loads_with_the_same_logits(tmp_path, kind, tied):
    extended = extended_at(tiny_champion(tmp_path / "c", kind, tied=tied))
    ids = extended.tokenizer.encode(TEXT)
    before = logits(extended.model, ids)
    bake(extended)
    merged = logits(extended.model, ids)
    save_model(extended.loaded, tmp_path / "baked")
    assert (merged - before).abs().max() > 1e-2
    assert torch.equal(logits(exact(tmp_path / "baked").model, ids), merged)


@BOTH_TIES
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_merged_bake_is_rounded_once_to_what_the_checkpoint_stores(tmp_path, tied, dtype):
    champion = as_mixed(tiny_champion(tmp_path / "c", tied=tied, dtype=dtype), "model.norm.weight")
    extended = extended_at(champion)
    bake(extended)
    save_model(extended.loaded, tmp_path / "baked")
    baked = weights(exact(tmp_path / "baked").model)
    for name, value in weights(extended.model).items():
        stored = torch.float32 if name == "model.norm.weight" else dtype
        assert torch.equal(baked[name], value.to(stored).float())


@BOTH_TIES
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wider", [(), ("model.norm.weight",), ("model.embed_tokens.weight", "model.norm.weight")])
def test_every_tensor_is_stored_in_its_dtype_and_bit_for_bit(tmp_path, tied, dtype, wider):
    champion = as_mixed(tiny_champion(tmp_path / "c", tied=tied, dtype=dtype), *wider)
    extended = extended_at(champion, pad_to_multiple=64)
    save_extended(extended, tmp_path / "e")
    old, new = (load_file(directory / "model.safetensors") for directory in (champion, tmp_path / "e"))
    assert {name: value.dtype for name, value in new.items()} == {name: value.dtype for name, value in old.items()}
    assert all(torch.equal(new[name][: len(value)], value) for name, value in old.items())
    loaded = exact(tmp_path / "e")
    ids = loaded.tokenizer.encode(TEXT)
    assert torch.equal(logits(loaded.model, ids), logits(extended.model, ids))
    assert loaded.checkpoint_dtype == extended.loaded.checkpoint_dtype
    assert json.loads((tmp_path / "e/config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize(
    "settings_of_generation",
    [
        {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
        {"do_sample": False, "temperature": 0.6},
        {"eos_token_id": [0, 1, 7]},
        {"eos_token_id": [0, 1], "do_sample": False, "top_k": 3, "top_p": 0.5, "a_field_of_their_own": [1, {"b": 2}]},
    ],
)
def test_generation_settings_are_kept_byte_for_byte(tmp_path, champion, settings_of_generation):
    edit_json(champion / "generation_config.json", **settings_of_generation)
    save_extended(extended_at(champion), tmp_path / "e")
    name = "generation_config.json"
    assert (tmp_path / "e" / name).read_bytes() == (champion / name).read_bytes()
    kept = exact(tmp_path / "e").model.generation_config.eos_token_id
    assert kept == settings_of_generation.get("eos_token_id", tiny_tokenizer().eos_token_id)


def test_configuration_and_chat_template_are_kept(tmp_path):
    champion = tiny_champion(tmp_path / "c", tokenizer=tiny_tokenizer(chat_template=True, pad=False))
    edit_json(champion / "config.json", a_field_of_their_own="kept", rope_theta=12345.0)
    (champion / "generation_config.json").unlink()
    extended = extended_at(champion)
    save_extended(extended, tmp_path / "e")
    loaded = exact(tmp_path / "e")
    assert loaded.model.config.to_diff_dict() | {"vocab_size": SIZE} == exact(champion).model.config.to_diff_dict()
    assert (loaded.tokenizer.chat_template, loaded.tokenizer.eos_token) == (CHAT_TEMPLATE, EOS)
    assert loaded.tokenizer.pad_token is None
    assert loaded.tokenizer.get_vocab() == extended.tokenizer.get_vocab()
    assert all(loaded.tokenizer.added_tokens_decoder[index].special for index in extended.ids)


def test_shards_hold_what_one_file_would(tmp_path, champion):
    extended = extended_at(champion)
    save_extended(extended, tmp_path / "e", max_shard_size="40KB")
    assert len(list((tmp_path / "e").glob("model-*.safetensors"))) > 1
    assert torch.equal(logits(exact(tmp_path / "e").model), logits(extended.model))


def test_saving_leaves_the_model_in_memory_as_it_was(tmp_path):
    extended = extended_at(tiny_champion(tmp_path / "c", tied=True, dtype=torch.bfloat16))
    model = extended.model
    before, generation, config = weights(model), model.generation_config, model.config.to_dict()
    save_extended(extended, tmp_path / "e")
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert model.generation_config is generation and model.config.to_dict() == config
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_saving_replaces_what_was_there(tmp_path, champion):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "stale.safetensors").write_text("old")
    (tmp_path / ".e.preparing").mkdir()
    (tmp_path / ".e.preparing" / "half.safetensors").write_text("killed")
    save_extended(extended_at(champion), tmp_path / "e")
    assert not (tmp_path / "e" / "stale.safetensors").exists()
    assert not (tmp_path / "e" / "half.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["champion", "e"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An extended model and the directory that it was saved into."""
    place = tmp_path_factory.mktemp("saved")
    extended = extended_at(tiny_champion(place / "champion"))
    save_extended(extended, place / "extended")
    return extended, place / "extended"


@settings(deadline=None, max_examples=25)
@given(share=st.floats(0, 1, exclude_max=True), replacing=st.booleans())
def test_a_disk_that_fills_up_anywhere_leaves_what_was_there(saved, share, replacing):
    extended, directory = saved
    place = directory if replacing else directory.with_name("other")
    largest = max(file.size for file in list_files(directory))
    before = all_entries(directory.parent)
    with pytest.raises(OutputError) as caught, files_up_to(int(largest * share)):
        save_extended(extended, place)
    assert str(place) in str(caught.value) and "\n" not in str(caught.value)
    assert all_entries(directory.parent) == before


def test_once_there_is_room_the_same_model_is_saved(tmp_path, saved):
    extended, directory = saved
    with files_up_to(1 << 12), pytest.raises(OutputError, match="file size limit"):
        save_extended(extended, tmp_path / "e")
    save_extended(extended, tmp_path / "e")
    assert list_files(tmp_path / "e") == list_files(directory)


@pytest.mark.parametrize("place", ["file/below", "closed/e"])
def test_a_place_that_is_closed_is_named(tmp_path, saved, place):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "closed").mkdir(mode=0o500)
    before = all_entries(tmp_path)
    # No mode keeps the administrator out; the kernel's own file system does.
    closed = Path("/sys/e") if place == "closed/e" and os.geteuid() == 0 else tmp_path / place
    with pytest.raises(OutputError, match="choose another directory") as caught:
        save_extended(saved[0], closed)
    assert str(closed) in str(caught.value)
    assert all_entries(tmp_path) == before
