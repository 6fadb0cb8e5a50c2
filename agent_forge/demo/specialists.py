"""The demo's three specialists as whole models, and the questions that they are merged for.

    python -m agent_forge.demo.specialists --out DIR

What is bundled of a specialist is what its training changed of the bundled champion, 0.3 MB for all three beside the
champion's 2.4; `agent_forge.demo.train_specialists` wrote it. DIR gets `letters`, `signs` and `postfix`, each a
checkpoint, and `notations.jsonl`, the questions.
"""

import argparse
import shutil
import sys
from pathlib import Path

from agent_forge.demo import champion_path
from agent_forge.demo.corpus import EVALUATION_SEED
from agent_forge.demo.notations import NOTATIONS, TASK, Notation, mixture
from agent_forge.errors import ForgeError
from agent_forge.questions.arithmetic import POOL_SIZE
from agent_forge.storage.files import move_into_place, write_atomic

PATCHES = Path(__file__).parent / "patches"
WEIGHTS = "model.safetensors"
EMBEDDING = "model.embed_tokens.weight"
# In a patch: which rows of the embedding its rows are.
ROWS = "rows"
_COPIED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def patch_path(notation: Notation, directory: Path = PATCHES) -> Path:
    """Return the file that holds what a specialist changes."""
    return directory / f"{notation}.safetensors"


def write_specialist(notation: Notation, out: Path, patches: Path = PATCHES) -> None:
    """Write one specialist as a checkpoint; `out` appears whole, and stays as it is when it is there already."""
    from safetensors.torch import load_file, save_file

    if out.exists():
        return
    tensors, patch = load_file(champion_path() / WEIGHTS), load_file(patch_path(notation, patches))
    if ROWS in patch:
        tensors[EMBEDDING][patch[ROWS]] = patch[EMBEDDING]
    else:
        tensors |= patch
    prepared = out.with_name(f".{out.name}.preparing")
    shutil.rmtree(prepared, ignore_errors=True)
    prepared.mkdir(parents=True)
    for name in _COPIED:
        shutil.copyfile(champion_path() / name, prepared / name)
    save_file(tensors, prepared / WEIGHTS, metadata={"format": "pt"})
    move_into_place(prepared, out)


def write_questions(path: Path) -> None:
    """Write the questions that no training asked, in one of the three notations each, as JSON lines."""
    questions = mixture(POOL_SIZE, EVALUATION_SEED)
    write_atomic(path, "".join(f"{question.model_dump_json()}\n" for question in questions))


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m agent_forge.demo.specialists", description="Write the specialists."
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for the models and the questions")
    out = parser.parse_args().out
    try:
        for notation in NOTATIONS:
            write_specialist(notation, out / notation)
        write_questions(out / f"{TASK}.jsonl")
    except ForgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
