"""Train the bundled champion: a small Llama that adds reliably only when it writes its steps down.

    python -m agent_forge.demo.train_champion --out DIR [--seed 0]

Everything follows from the seed: on one machine, with one version of torch, a second run writes the same bytes.
Elsewhere sums are rounded in another order and the weights differ slightly; the figures in the model card are what
to compare.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agent_forge.demo.card import Recipe, write_card
from agent_forge.demo.corpus import Document, documents, evaluation_questions
from agent_forge.demo.measure import Figures, measure
from agent_forge.errors import ForgeError, OutputError
from agent_forge.questions.arithmetic import POOL_SIZE

STEPS = 1000
WARMUP_STEPS = 50
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
# The order in which a sum is added up depends on the number of threads, and with it the last bits of the weights.
THREADS = 2

CONTEXT_LENGTH = 512
VOCABULARY_LIMIT = 300
END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
IGNORED = -100


def build_tokenizer(texts: Sequence[str]) -> Any:
    """Train a byte-level BPE in which every digit and every line break is one token.

    Args:
        texts: what the merges are learned from. All 256 bytes are in the vocabulary, so any text can be encoded.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_LIMIT,
        special_tokens=[END_OF_TEXT, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        padding_side="left",
        model_max_length=CONTEXT_LENGTH,
    )


def build_model(tokenizer: Any, seed: int) -> Any:
    """Return the untrained model, about 0.6 million parameters in fp32, embeddings tied."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=320,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def train(model: Any, tokenizer: Any, corpus: Sequence[Document], steps: int) -> Iterator[float]:
    """Train the model in place, one batch of new documents a step; yield each step's loss in nats per token."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_factor(step, steps))
    model.train()
    for step in range(steps):
        input_ids_BT, labels_BT = batch_tensors(tokenizer, corpus[step * BATCH_SIZE : (step + 1) * BATCH_SIZE])
        # Rows are padded at their end, where causal attention keeps the padding out of sight: no mask is needed.
        loss = model(input_ids=input_ids_BT, labels=labels_BT).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        schedule.step()
        yield loss.item()
    model.eval()


def batch_tensors(tokenizer: Any, batch: Sequence[Document]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and labels, both (documents, tokens); only continuations and their end are learned."""
    contexts = tokenizer([document.context for document in batch])["input_ids"]
    continuations = tokenizer([document.continuation + END_OF_TEXT for document in batch])["input_ids"]
    rows = [context + continuation for context, continuation in zip(contexts, continuations, strict=True)]
    input_ids_BT = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id)
    labels_BT = torch.full_like(input_ids_BT, IGNORED)
    for k, (row, context) in enumerate(zip(rows, contexts, strict=True)):
        input_ids_BT[k, : len(row)] = torch.tensor(row)
        labels_BT[k, len(context) : len(row)] = input_ids_BT[k, len(context) : len(row)]
    return input_ids_BT, labels_BT


def train_champion(out: Path, seed: int = 0, steps: int = STEPS, questions: int = POOL_SIZE) -> None:
    """Train, measure and write the champion with its model card.

    Args:
        out: a directory that does not exist yet; it appears only once it is complete.
        seed: root of every choice.
        steps: optimizer steps of `BATCH_SIZE` documents.
        questions: how many of the evaluation pool the card's figures are measured on.

    Raises:
        OutputError: when `out` exists or cannot be written.
    """
    if out.exists():
        raise OutputError(f"{out} exists already; give a directory that does not")
    corpus = documents(steps * BATCH_SIZE, seed)
    # Remarks are noise: merges learned from them would be too.
    plain = [document for document in corpus if document.context.endswith("\n")][:2000]
    tokenizer = build_tokenizer([document.context + document.continuation for document in plain])
    model = build_model(tokenizer, seed)
    for step, loss in enumerate(train(model, tokenizer, corpus, steps), start=1):
        if step % 50 == 0 or step == steps:
            print(f"step {step}/{steps} loss {loss:.4f}", flush=True)
    figures = measure(model, tokenizer, evaluation_questions()[:questions], seed)
    print(figures.model_dump_json(), flush=True)
    recipe = Recipe(
        parameters=model.num_parameters(),
        seed=seed,
        steps=steps,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        threads=torch.get_num_threads(),
    )
    _write(out, model, tokenizer, figures, recipe)


def _write(out: Path, model: Any, tokenizer: Any, figures: Figures, recipe: Recipe) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as unfinished:
            directory = Path(unfinished) / out.name
            model.save_pretrained(directory)
            tokenizer.save_pretrained(directory)
            write_card(directory, figures, recipe)
            directory.rename(out)
    except OSError as cause:
        raise OutputError(f"cannot write the champion to {out}: {cause}; give another directory") from cause


def _learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine down to zero."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m agent_forge.demo.train_champion", description="Train the champion."
    )
    parser.add_argument("--out", type=Path, required=True, help="directory to create")
    parser.add_argument("--seed", type=int, default=0, help="root of every choice (default: 0, the shipped champion)")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    try:
        train_champion(arguments.out, arguments.seed)
    except ForgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
