"""Compare every merge method with mergekit, whole models in float32, tensor by tensor.

    python3.11 -m venv /tmp/mergekit-env
    python -c "import torch; print(next(p for p in __import__('sys').path if p.endswith('site-packages')))" \
        > /tmp/mergekit-env/lib/python3.11/site-packages/shared.pth
    /tmp/mergekit-env/bin/pip install --no-deps mergekit==0.1.5 "immutables>=0.21"
    /tmp/mergekit-env/bin/python bench/merge_equality.py

mergekit 0.1.5 runs with the versions that this package is pinned to; the environment above takes them from that of this
package and adds only mergekit itself, which stays out of it. Random llama models of three layers are merged by both
programs. For DARE mergekit's random mask is replaced by ours, found by the bytes of the task vector that it is for.
Prints the largest difference for every method; exits 1 when one is above 1e-5.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "models")]

from tiny import tiny_champion  # noqa: E402

from agent_forge.evolution.merge import merge  # noqa: E402
from agent_forge.evolution.methods.dare import drop_mask  # noqa: E402
from agent_forge.evolution.recipe import parse_recipe  # noqa: E402

TOLERANCE = 1e-5
LAYERS = 3
WEIGHTS, DENSITIES, SEED = [0.7, 0.4], [0.5, 0.3], 11
TASK = {"weights": WEIGHTS, "scale": 0.9}
MLP = [{"layers": [0, LAYERS], "containing": "mlp", "weights": [0.2, 0.9]}]
# What differs between cases: our fields, then mergekit's method, per-model and shared parameters.
CASES: dict[str, tuple[dict[str, Any], str, dict[str, list[Any]], dict[str, Any]]] = {
    "linear": ({"method": "linear", "weights": WEIGHTS}, "linear", {"weight": WEIGHTS}, {}),
    "linear, not normalized": (
        {"method": "linear", "weights": WEIGHTS, "normalize": False},
        "linear",
        {"weight": WEIGHTS},
        {"normalize": False},
    ),
    "linear, own weights for mlp": (
        {"method": "linear", "weights": WEIGHTS, "groups": MLP},
        "linear",
        {
            "weight": [
                [{"filter": "mlp", "value": mlp}, {"value": other}]
                for mlp, other in zip([0.2, 0.9], WEIGHTS, strict=True)
            ]
        },
        {},
    ),
    "slerp": ({"method": "slerp", "t": 0.3}, "slerp", {}, {"t": 0.3}),
    "task_arithmetic": (
        {"method": "task_arithmetic", **TASK},
        "task_arithmetic",
        {"weight": WEIGHTS},
        {"lambda": 0.9},
    ),
    "ties": (
        {"method": "ties", **TASK, "densities": DENSITIES},
        "ties",
        {"weight": WEIGHTS, "density": DENSITIES},
        {"lambda": 0.9},
    ),
    **{
        method: (
            {"method": method, **TASK, "densities": DENSITIES, "seed": SEED},
            method,
            {"weight": WEIGHTS, "density": DENSITIES},
            {"lambda": 0.9},
        )
        for method in ("dare_linear", "dare_ties")
    },
    "stack": ({"method": "stack"}, "passthrough", {}, {}),
}
SLICES = [(0, (0, 2)), (1, (1, 3))]


def ours(fields: dict[str, Any], models: list[Path], out: Path) -> dict[str, torch.Tensor]:
    base, *parents = map(str, models)
    named = {"base": base} if fields["method"] not in ("linear", "slerp", "stack") else {}
    if fields["method"] == "stack":
        named["slices"] = [{"parent": parent, "layers": layers} for parent, layers in SLICES]
    merge(parse_recipe({"parents": parents, **named, **fields}), out)
    return load_file(out / "model.safetensors")


def theirs(case: tuple[Any, ...], models: list[Path], out: Path) -> dict[str, torch.Tensor]:
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    _, method, each, shared = case
    base, *parents = map(str, models)
    entries = [
        {"model": parent, "parameters": {name: values[number] for name, values in each.items()}}
        for number, parent in enumerate(parents)
    ]
    content: dict[str, Any] = {"merge_method": method, "parameters": shared, "models": entries, "dtype": "float32"}
    if method == "slerp":
        content["base_model"] = parents[0]
    elif method == "passthrough":
        del content["models"]
        content["slices"] = [
            {"sources": [{"model": parents[parent], "layer_range": list(layers)}]} for parent, layers in SLICES
        ]
    elif method != "linear":
        content["base_model"] = base
    configuration = MergeConfiguration.model_validate(yaml.safe_load(yaml.safe_dump(content)))
    run_merge(configuration, str(out), MergeOptions(quiet=True, write_model_card=False, copy_tokenizer=False))
    return load_file(out / "model.safetensors")


def fix_masks(models: list[Path]) -> None:
    """Let mergekit drop what we drop."""
    import mergekit.merge_methods.generalized_task_arithmetic as theirs
    from mergekit import sparsify

    base, *parents = (load_file(model / "model.safetensors") for model in models)
    origin = {
        (parent[name] - base[name]).numpy().tobytes(): (name, number)
        for number, parent in enumerate(parents)
        for name in base
    }
    unchanged = sparsify.sparsify

    def fixed(delta: torch.Tensor, density: float, method: Any, rescale_norm: Any = None, **rest: Any) -> torch.Tensor:
        if method != sparsify.SparsificationMethod.random:
            return unchanged(delta, density=density, method=method, rescale_norm=rescale_norm, **rest)
        name, number = origin[delta.numpy().tobytes()]
        mask = drop_mask(delta.shape, density, SEED, name, number).to(delta.dtype)
        return sparsify.rescaled_masked_tensor(delta, mask, rescale_norm)

    theirs.sparsify = fixed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        models = [tiny_champion(place / f"m{seed}", seed=seed, num_hidden_layers=LAYERS) for seed in range(3)]
        fix_masks(models)
        for number, (title, case) in enumerate(CASES.items()):
            one = ours(case[0], models, place / f"ours{number}")
            other = theirs(case, models, place / f"theirs{number}")
            if one.keys() != other.keys():
                raise SystemExit(f"{title}: tensors differ: {sorted(one.keys() ^ other.keys())[:3]}")
            difference = max(float((one[name] - other[name]).abs().max()) for name in one)
            print(f"{title:<28} {len(one):>3} tensors, largest difference {difference:.2e}")
            worst = max(worst, difference)
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
