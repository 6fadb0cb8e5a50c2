"""Tiny random models and a tiny real tokenizer, for tests that want the real parts without their size.

    champion = tiny_champion(tmp_path / "champion", "qwen2", tied=True, dtype=torch.bfloat16)
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()

Models have random weights from a fixed seed, large enough that logits spread and greedy decoding does not loop on
one token. The tokenizer is byte-level: every text encodes, and decodes to itself.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

EOS, PAD = "<|endoftext|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CORPUS = ("Question: what is 3 + 4?\nAnswer: 7\n", "The quick brown fox jumps over the lazy dog.\n", "0123456789 ")

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
GROUPED = SIZES | {"num_key_value_heads": 2, "head_dim": 8}
GPT2_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 4}
GEMMA3_SIZES = GROUPED | {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}

# model_type and sizes of every kind
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", GROUPED),
    "mistral": ("mistral", GROUPED),
    "qwen2": ("qwen2", SIZES | {"num_key_value_heads": 2}),
    "qwen3": ("qwen3", GROUPED),
    "gpt2": ("gpt2", GPT2_SIZES),
    "gpt_neox": ("gpt_neox", SIZES),
    "gemma": ("gemma", GROUPED),
    "gemma2": ("gemma2", GROUPED | {"query_pre_attn_scalar": 8}),
    "gemma3": ("gemma3_text", GEMMA3_SIZES | {"query_pre_attn_scalar": 8}),
    "phi": ("phi", SIZES),
}


def tiny_tokenizer(*, eos: bool = True, pad: bool = True, chat_template: bool = False) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of a few hundred entries, trained on three lines.

    Args:
        eos: whether it names an end-of-sequence token.
        pad: whether it names a padding token.
        chat_template: whether it carries `CHAT_TEMPLATE`.
    """
    named = {"eos_token": EOS} if eos else {}
    named |= {"pad_token": PAD} if pad else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_trained()), **named)
    if chat_template:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_model(
    kind: str = "llama",
    *,
    tied: bool = False,
    vocabulary: int | None = None,
    context: int = 256,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **changes: Any,
) -> PreTrainedModel:
    """Return a random model of one of `KINDS` in eval mode.

    Args:
        kind: which architecture.
        tied: whether input and output embeddings are one tensor.
        vocabulary: rows of the embedding; default: as many as `tiny_tokenizer` has entries.
        context: tokens it has positions for.
        dtype: of its weights.
        seed: of its weights; the global generator is left as it was.
        changes: further fields of its configuration.
    """
    model_type, sizes = KINDS[kind]
    tokenizer = tiny_tokenizer()
    values: dict[str, Any] = {
        "vocab_size": vocabulary or len(tokenizer),
        "n_positions" if kind == "gpt2" else "max_position_embeddings": context,
        "tie_word_embeddings": tied,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
    }
    config = AutoConfig.for_model(model_type, **(values | sizes | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        _randomise_biases(model)
    return model.to(dtype).eval()


def tiny_champion(
    directory: Path, kind: str = "llama", *, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any
) -> Path:
    """Save a tiny model and a tokenizer into a directory and return it; `changes` go to `tiny_model`."""
    tiny_model(kind, **changes).save_pretrained(directory)
    (tokenizer or tiny_tokenizer()).save_pretrained(directory)
    return directory


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([line * 20 for line in CORPUS], trainer)
    return tokenizer.to_str()


def _randomise_biases(model: PreTrainedModel) -> None:
    # Libraries start biases at zero, which would hide a forgotten output bias.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
