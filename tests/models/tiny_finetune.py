"""Tiny random causal language models of the architectures a bake is tested on, and examples to train them with."""

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from agent_forge.models.packing import TrainingExample

VOCABULARY = 48
TOKEN_IDS = (VOCABULARY - 2, VOCABULARY - 1)
CONTEXT = 64
ARCHITECTURES = ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma3", "gpt2", "gpt_neox", "phi")

_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    **_SPECIAL,
}
_NEOX = {name: value for name, value in _LLAMA.items() if name != "num_key_value_heads"}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT, **_SPECIAL}

_CONFIGS = {
    "llama": lambda tied: LlamaConfig(**_LLAMA, tie_word_embeddings=tied),
    "qwen2": lambda tied: Qwen2Config(**_LLAMA, tie_word_embeddings=tied),
    "qwen3": lambda tied: Qwen3Config(**_LLAMA, head_dim=8, tie_word_embeddings=tied),
    "mistral": lambda tied: MistralConfig(**_LLAMA, sliding_window=CONTEXT, tie_word_embeddings=tied),
    "gemma": lambda tied: GemmaConfig(**_LLAMA, head_dim=8, tie_word_embeddings=tied),
    "gemma3": lambda tied: Gemma3TextConfig(**_LLAMA, head_dim=8, sliding_window=CONTEXT, tie_word_embeddings=tied),
    "gpt2": lambda tied: GPT2Config(**_GPT2, tie_word_embeddings=tied),
    "gpt_neox": lambda tied: GPTNeoXConfig(**_NEOX, tie_word_embeddings=tied),
    "phi": lambda tied: PhiConfig(**_LLAMA, tie_word_embeddings=tied),
    "mamba": lambda tied: MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, tie_word_embeddings=tied, **_SPECIAL
    ),
}


def tiny_model(architecture="llama", tied=False, seed=0, dtype=torch.float32, **overrides):
    """A random model in eval mode; weights are spread wide enough for attention and biases to matter."""
    config = _CONFIGS[architecture](tied)
    for name, value in overrides.items():
        setattr(config, name, value)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.to(dtype).eval()


def random_examples(count, seed=0, longest=12):
    """Examples of 3 to `longest` random tokens, the first two not supervised; every third is a replay."""
    generator = np.random.default_rng(seed)
    examples = []
    for index in range(count):
        length = int(generator.integers(3, longest + 1))
        ids = tuple(int(token) for token in generator.integers(3, VOCABULARY, length))
        supervised = (False, False) + (True,) * (length - 2)
        examples.append(TrainingExample(ids, supervised, "replay" if index % 3 == 2 else "trace"))
    return examples


def counting_examples(count, seed=0, length=10):
    """Examples that can be learnt: each token is its predecessor plus one, between the two thought tokens."""
    generator = np.random.default_rng(seed)
    examples = []
    for _ in range(count):
        start = int(generator.integers(3, VOCABULARY - 2 - length))
        ids = (TOKEN_IDS[0], *range(start, start + length - 2), TOKEN_IDS[1])
        examples.append(TrainingExample(ids, (False,) + (True,) * (length - 1)))
    return examples


@torch.no_grad()
def logits_of(model, ids):
    """Logits of one text alone, (T, V)."""
    return model(torch.tensor([ids], device=model.device), use_cache=False).logits[0]
