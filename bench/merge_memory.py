"""Merge random models of 1 GB each and report the most memory that the merging process held.

    python bench/merge_memory.py [--method linear] [--place DIR]

Makes a base and two parents (llama with 502 million parameters in bfloat16, tied embeddings of 32,000 rows) in a
directory that is removed afterwards, which takes 4 GB of disk. The figure is the kernel's high-water mark of resident
memory (VmHWM), Python and its libraries included, of a process that does nothing but merge. Exits 1 above 1.5 GB.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "models")]

from agent_forge.evolution.shards import Slot, write_shards  # noqa: E402

LIMIT = 1_500_000_000
WIDTH, INNER, LAYERS, ROWS = 1024, 4096, 28, 32_000
BY_METHOD: dict[str, dict[str, object]] = {
    "linear": {},
    "slerp": {"t": 0.5},
    "task_arithmetic": {"base": "base"},
    "ties": {"base": "base", "densities": [0.5, 0.5]},
    "dare_linear": {"base": "base", "densities": [0.5, 0.5]},
    "dare_ties": {"base": "base", "densities": [0.5, 0.5]},
}
MERGE = """
import sys, pathlib
from agent_forge.evolution.merge import merge
from agent_forge.evolution.recipe import load_recipe
merge(load_recipe(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]))
print(next(line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (ROWS, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        start = f"model.layers.{layer}."
        found |= {f"{start}{name}.weight": (WIDTH,) for name in ("input_layernorm", "post_attention_layernorm")}
        found |= {f"{start}self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        found |= {f"{start}mlp.{name}_proj.weight": (INNER, WIDTH) for name in ("gate", "up")}
        found[f"{start}mlp.down_proj.weight"] = (WIDTH, INNER)
    return found


def make_model(directory: Path, seed: int) -> int:
    """Write a random model and return its size in bytes."""
    from tiny import tiny_tokenizer
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=16,
        vocab_size=ROWS,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
    )
    config.save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    generator = torch.Generator().manual_seed(seed)

    def random(slot: Slot) -> torch.Tensor:
        return torch.randn(slot.shape, generator=generator).mul_(0.02).to(slot.dtype)

    write_shards(directory, [Slot(name, torch.bfloat16, shape) for name, shape in shapes().items()], random, 10**10)
    return (directory / "model.safetensors").stat().st_size


def measure(method: str, place: Path) -> bool:
    """Merge in a process of its own, print what it held, return whether that is within the limit."""
    recipe = place / "recipe.json"
    recipe.write_text(json.dumps({"method": method, "parents": ["one", "two"], **BY_METHOD[method]}))
    started = time.monotonic()
    command = [sys.executable, "-c", MERGE, str(recipe), str(place / method)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)
    peak = int(done.stdout.split()[-2]) * 1024
    print(f"{method:<16} {peak / 1e9:.2f} GB resident at most, {time.monotonic() - started:.0f} s", flush=True)
    return peak <= LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", choices=list(BY_METHOD), help="may be repeated; default: all")
    parser.add_argument("--place", type=Path, help="where the models are made; default: the system's")
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(dir=arguments.place) as scratch:
        place = Path(scratch)
        sizes = [make_model(place / name, seed) for seed, name in enumerate(("base", "one", "two"))]
        print(f"models of {min(sizes) / 1e9:.3f} GB", flush=True)
        for method in arguments.method or BY_METHOD:
            good &= measure(method, place)
            shutil.rmtree(place / method)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
