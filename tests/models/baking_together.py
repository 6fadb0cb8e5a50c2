"""One of several processes that bake a tiny model: `torchrun baking_together.py DIRECTORY METHOD SHARDED DIE_AT`.

The first process leaves `weights.pt` and `report.json`; each says what it knows of its part in `rank-N.json`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from test_finetune import settings_with
from tiny_finetune import TOKEN_IDS, counting_examples, tiny_model

from agent_forge.errors import ForgeError
from agent_forge.models.finetune import bake
from agent_forge.models.ranks import ALONE, joined

# Three rows a pass for two processes, and sometimes one row only: then the second has nothing of its own.
CHANGES = {"train_batch_size": 3, "gradient_accumulation": 2, "num_epochs": 2}
EXAMPLES, HELDOUT = counting_examples(40), counting_examples(7, seed=1)


def bake_tiny(directory, method, ranks=ALONE, sharded=False, on_progress=lambda _: None):
    """Return the model and the report of one bake."""
    models = [tiny_model("llama", tied=True)]

    def reload():
        models.append(tiny_model("llama", tied=True))
        return models[-1]

    settings = settings_with(method=method, learning_rate=1e-3, **CHANGES)
    report = bake(
        models[0],
        EXAMPLES,
        HELDOUT,
        settings,
        directory / "checkpoints",
        on_progress,
        token_ids=TOKEN_IDS,
        ranks=ranks,
        reload=reload if sharded else None,
    )
    return models[-1], report


def main(directory: Path, method: str, sharded: bool, die_at: int) -> int:
    """Take part in a bake of the processes that the environment tells of; return an exit code."""

    def die(event):
        if event.step == die_at and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        with joined("cpu") as ranks:
            model, report = bake_tiny(directory, method, ranks, sharded, die)
            held = sum(value.to_local().numel() for value in parts(model)) if sharded and not ranks.first else None
            (directory / f"rank-{ranks.number}.json").write_text(json.dumps({"count": ranks.count, "held": held}))
            if ranks.first:
                torch.save(model.state_dict(), directory / "weights.pt")
                (directory / "report.json").write_text(report.model_dump_json())
    except ForgeError as error:
        print(f"forge: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def parts(model):
    """Return the weights that are kept in parts."""
    return [value for value in model.parameters() if hasattr(value, "to_local")]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "sharded", int(sys.argv[4])))
