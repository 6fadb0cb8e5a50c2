"""A small evolution of real models: three noisy copies of the bundled champion, whose mean has less noise."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import agent_forge

CHAMPION = Path(agent_forge.__file__).parent / "demo/champion"
FIELDS = {
    # With this seed a merge wins.
    "seed": 1,
    "gens": 2,
    "population": 4,
    "elites": 2,
    "methods": ["linear", "slerp"],
    "evolve_samples": 24,
    "select_samples": 24,
    "confirm_samples": 40,
    "eval_dataset": "arithmetic",
    "eval_samples": 300,
    "verify_samples": 300,
    "prompt_template": "Q: {prompt}\n",
    "answer_cue": "A:",
    "max_answer_tokens": 4,
    "ab_test_rounds": 1,
    "batch_size": 16,
}


def noisy_copies(root: Path, count: int = 3, noise: float = 0.2) -> list[Path]:
    """Write copies of the champion with noise of their own in every matrix."""
    made = []
    for seed in range(count):
        made.append(Path(shutil.copytree(CHAMPION, root / f"noisy{seed}")))
        weights = load_file(made[-1] / "model.safetensors")
        generator = torch.Generator().manual_seed(seed)
        for name, weight in weights.items():
            if weight.dim() > 1:
                weights[name] = weight + noise * weight.std() * torch.randn(weight.shape, generator=generator)
        save_file(weights, made[-1] / "model.safetensors", {"format": "pt"})
    return made


@dataclass(frozen=True)
class SmallEvolution:
    """Where its models are, and how it is run."""

    root: Path
    models: tuple[Path, ...]

    def arguments(self, out: Path, *more: str, **changes: object) -> list[str]:
        """Return the arguments of `forge` for an evolution in `out`."""
        fields = {"base_models": [str(path) for path in self.models], **FIELDS, **changes}
        file = self.root / "evo.json"
        file.write_text(json.dumps(fields))
        return ["evo", "--config", str(file), "--out", str(out), *more]
