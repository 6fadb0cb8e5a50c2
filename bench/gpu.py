"""Measure the engine and the bake on one GPU, with a model of usual size and random weights.

    python bench/gpu.py --layers 24 --width 2048 --heads 32 --key-heads 8 --inner 8192 --vocabulary 49152

Time does not depend on what the weights are, so none are read from disk; the shape is given by the options and its
tokenizer is the bundled champion's. Rows end at random, one token in `--mean` ends a row, as answers of several lengths
do. Every figure is the median of `--runs` runs after one that warms up, with the smallest and the largest; the slower
engines are run once, behind the first one's runs, which have warmed the GPU's libraries up.

    device      bandwidth of a copy (bytes read and written) and rate of a matrix product, the ceilings of what follows
    decode      one length for all rows: loops of forward passes and argmax over transformers' DynamicCache and
                StaticCache, and the engine with its choices, thought states and stops, prompts read in all of them
    sampling    rows that end at random and are refilled: the engine by CUDA graphs, the engine launched by Python, and
                the reference, with prompts of their own and with a long shared head and four samples of each
    bake        training tokens per second and the share of the product rate that model flops take
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

import agent_forge
from agent_forge.config import QuietSTaRConfig
from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.engine_fit import open_sampler
from agent_forge.models.extend import extend
from agent_forge.models.finetune import BakeSettings, TrainingExample, bake
from agent_forge.models.load import LoadedModel
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, TransformersSampler
from agent_forge.models.throughput import Stopwatch, flops_per_token, product_rate
from agent_forge.thoughts import ThoughtRules, direct_script

DEMO = Path(agent_forge.__file__).parent / "demo/champion"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--key-heads", type=int, default=32)
    parser.add_argument("--inner", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=49152)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--head", type=int, default=900, help="tokens of the shared head")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens at most")
    parser.add_argument("--mean", type=int, default=64, help="new tokens at which a row ends, on average")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--bake-rows", type=int, default=8, help="packed rows of a step")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=["device", "decode", "sampling", "bake"])
    given = parser.parse_args()
    loaded = built(given)
    for part in given.parts:
        {"device": ceilings, "decode": decode, "sampling": sampling, "bake": training}[part](given, loaded)
        if given.device != "cpu":
            torch.cuda.empty_cache()
    return 0


def built(given: argparse.Namespace) -> Any:
    config = LlamaConfig(
        vocab_size=given.vocabulary,
        hidden_size=given.width,
        intermediate_size=given.inner,
        num_hidden_layers=given.layers,
        num_attention_heads=given.heads,
        num_key_value_heads=given.key_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    dtype = torch.float32 if given.device == "cpu" else torch.bfloat16
    torch.manual_seed(0)
    with torch.device(given.device):
        model = LlamaForCausalLM._from_config(config, dtype=dtype, attn_implementation="sdpa").eval()
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    extended = extend(
        LoadedModel(model, tokenizer, dtype, dtype, "sdpa", 8192), "<|startofthought|>", "<|endofthought|>"
    )
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count / 1e9:.2f} G parameters, {dtype}, {name_of(given.device)}, torch {torch.__version__}", flush=True)
    return extended


def name_of(device: str) -> str:
    return "CPU" if device == "cpu" else torch.cuda.get_device_name(0)


def wait(given: argparse.Namespace) -> None:
    if given.device != "cpu":
        torch.cuda.synchronize()


def times(given: argparse.Namespace, run: Callable[[], Any], slow: bool = False) -> tuple[list[float], Any]:
    """Return the seconds of several runs after one that warms up, or of a single one, and what the last gave."""
    found, result = [], None if slow else run()
    for _ in range(1 if slow else given.runs):
        wait(given)
        began = time.perf_counter()
        result = run()
        wait(given)
        found.append(time.perf_counter() - began)
    return found, result


def show(name: str, rates: list[float], unit: str, more: str = "") -> None:
    middle = statistics.median(rates)
    print(f"  {name:<28} {middle:10,.1f} {unit} ({min(rates):,.1f} to {max(rates):,.1f})  {more}", flush=True)


def ceilings(given: argparse.Namespace, extended: Any) -> None:
    source = torch.randint(2**31, (2**28,), dtype=torch.int32, device=given.device)
    target = torch.empty_like(source)
    spent, _ = times(given, lambda: [target.copy_(source) for _ in range(10)])
    show("bandwidth of a copy", [10 * 2 * 2**30 / seconds / 1e9 for seconds in spent], "GB/s")
    rate = product_rate(torch.device(given.device), extended.model.dtype) / 1e12
    print(f"  {'matrix product':<28} {rate:10,.1f} Tflop/s", flush=True)
    model = extended.model
    weights = sum(parameter.numel() for parameter in model.parameters()) * model.dtype.itemsize
    bandwidth = 10 * 2 * 2**30 / statistics.median(spent)
    kept = 2 * given.layers * given.key_heads * (given.width // given.heads) * model.dtype.itemsize
    middle = given.prompt + given.tokens // 2
    rows = given.batch_size * middle * kept
    print(
        f"  {'decode at most':<28} {given.batch_size * bandwidth / (weights + rows):10,.1f} tokens/s: a pass reads "
        f"{weights / 1e9:.2f} GB of weights and {rows / 1e9:.2f} GB of keys and values",
        flush=True,
    )


def prompts(given: argparse.Namespace, count: int, length: int) -> list[tuple[int, ...]]:
    generator = np.random.default_rng(length)
    return [tuple(row) for row in generator.integers(1000, given.vocabulary - 1000, (count, length)).tolist()]


def rules(extended: Any, given: argparse.Namespace, mean: int | None) -> tuple[Prompting, ThoughtRules]:
    prompting = Prompting.of(QuietSTaRConfig(model_path="m", output_path="o"), extended.tokenizer)
    start, end = prompting.thought_token_ids
    ending = frozenset(range(1000, given.vocabulary, mean)) if mean else frozenset()
    # A stop is looked for, wherever its last character shows.
    return prompting, ThoughtRules(start, end, ending, 1, given.tokens, answer_stops=("</never>",))


def decode(given: argparse.Namespace, extended: Any) -> None:
    model, rows = extended.model, prompts(given, given.batch_size, given.prompt)
    length = given.prompt + given.tokens
    caches = {
        "DynamicCache": lambda: DynamicCache(config=model.config),
        "StaticCache": lambda: StaticCache(config=model.config, max_cache_len=length),
    }
    tokens = given.batch_size * given.tokens
    for name, cache in caches.items():
        spent, _ = times(given, partial(looped, model, rows, given.tokens, cache))
        show(f"decode, {name}", [tokens / seconds for seconds in spent], "tokens/s")
    prompting, held = rules(extended, given, None)
    requests = [Request(ids, direct_script(()), seed) for seed, ids in enumerate(rows)]
    engine, warning = open_sampler(model, prompting, held, Decoding(0.7), 8192)
    spent, found = times(given, lambda: engine.sample(requests, given.batch_size))
    assert sum(row.tokens for row in found) == tokens
    show(f"decode, {engine.name}", [tokens / seconds for seconds in spent], "tokens/s", warning or "")


@torch.inference_mode()
def looped(model: Any, rows: list[tuple[int, ...]], count: int, make_cache: Callable[[], Any]) -> None:
    cache = make_cache()
    ids_BT = torch.tensor(rows, device=model.device)
    for _ in range(count):
        logits = model(input_ids=ids_BT, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        ids_BT = logits[:, -1].argmax(dim=-1, keepdim=True)


def sampling(given: argparse.Namespace, extended: Any) -> None:
    prompting, held = rules(extended, given, given.mean)
    given_to = (extended.model, prompting, held, Decoding(0.7), 8192)
    graphs, warning = open_sampler(*given_to)
    engines: dict[str, TransformersSampler] = {
        graphs.name: graphs,
        "sharing, by Python": SharingSampler(*given_to),
        "reference": TransformersSampler(*given_to),
    }
    own = [Request(ids, direct_script(()), seed) for seed, ids in enumerate(prompts(given, given.rows, given.prompt))]
    (head,) = prompts(given, 1, given.head)
    asked = prompts(given, given.rows // 4, given.prompt)
    shared = [Request(head + ids, direct_script(()), 4 * k + n) for k, ids in enumerate(asked) for n in range(4)]
    for kind, requests in (("prompts of their own", own), (f"head of {given.head}, 4 each", shared)):
        for name, engine in engines.items():
            spent, found = times(given, partial(engine.sample, requests, given.batch_size), engine is not graphs)
            tokens = sum(row.tokens for row in found)
            show(
                f"{name}",
                [len(requests) / seconds for seconds in spent],
                "samples/s",
                f"{kind}, {tokens / len(requests):.0f} tokens each {warning or ''}",
            )


def training(given: argparse.Namespace, extended: Any) -> None:
    """Bake LoRA and report as the bake itself does."""
    generator = np.random.default_rng(0)
    examples = []
    for _ in range(given.bake_rows * 100):
        length = int(generator.integers(100, 400))
        ids = tuple(generator.integers(1000, given.vocabulary - 1000, length).tolist())
        examples.append(TrainingExample(ids, (False,) * 60 + (True,) * (length - 60)))
    settings = BakeSettings(pack_length=2048, train_batch_size=given.bake_rows, num_epochs=1, evaluate_every=10**6)
    stopwatch = Stopwatch(flops_per_token(extended.model, "lora", examples))
    with tempfile.TemporaryDirectory() as directory:
        report = bake(
            extended.model,
            examples[8:],
            examples[:8],
            settings,
            Path(directory),
            lambda event: stopwatch.tick(event.tokens),
            token_ids=extended.ids,
        )
    speed = stopwatch.read(extended.model.device, extended.model.dtype)
    assert speed is not None
    print(
        f"  bake, LoRA: {speed.tokens_per_second:,.0f} tokens/s, {speed.utilisation:.0%} of the product rate; "
        f"{report.attention}, rows filled {report.packing_efficiency:.0%}, {report.steps} steps; {report.warnings}",
        flush=True,
    )
    if given.device != "cpu":
        print(f"  bake: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most", flush=True)


if __name__ == "__main__":
    sys.exit(main())
