"""Train the demo's three specialists: the bundled champion, each taught to read one other notation of its sums.

    python -m agent_forge.demo.train_specialists --out DIR [--seed 0]

Each trains a small part of the model and leaves the rest as it is: the ten or two embedding rows of its symbols, or,
for operations behind their operands, the attention of the first layer. DIR gets those parts, one file for each
specialist, as they are bundled; `agent_forge.demo.specialists` makes whole models of them. That the parts differ is why
their merge is so good: specialists of which each has changed everything get in each other's way.

Everything follows from the seed, as for the champion: the same bytes on one machine, much the same model on another.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_forge.demo import champion_path
from agent_forge.demo.corpus import TRAINING_STREAM, Document, draw_document, evaluation_questions
from agent_forge.demo.notations import LETTERS, NOTATIONS, SIGNS, Notation, rewritten
from agent_forge.demo.specialists import EMBEDDING, ROWS, patch_path
from agent_forge.demo.train_champion import batch_tensors
from agent_forge.errors import ForgeError
from agent_forge.questions.arithmetic import POOL_SIZE, generate
from agent_forge.records import Question

BATCH_SIZE = 32
WARMUP_STEPS = 10
# The order in which a sum is added up depends on the number of threads, and with it the last bits of the weights.
THREADS = 1
# Nearly all documents show steps: that answers cannot be given without them the champion knows already.
WORKED_SHARE = 0.9
# Far from the champion's own stream of questions.
STREAM = TRAINING_STREAM + 1_000_000
FIRST_ATTENTION = "layers.0.self_attn"


class Course(NamedTuple):
    """How one specialist is trained.

    Attributes:
        symbols: those whose embedding rows are trained; none for the first layer's attention.
        before: symbols whose mean row they start from: what the champion knows of an operand, or of an operation.
        champions_share: documents in the champion's own notation, where the training could unteach it.
    """

    symbols: str
    before: str
    steps: int
    learning_rate: float
    champions_share: float


COURSES: dict[Notation, Course] = {
    "letters": Course(LETTERS, "0123456789", 150, 1e-2, 0.0),
    "signs": Course(SIGNS, "+-", 60, 1e-2, 0.0),
    "postfix": Course("", "", 150, 3e-3, 0.3),
}


def train(notation: Notation, seed: int, steps: int | None = None) -> dict[str, torch.Tensor]:
    """Train one specialist; return what it changes of the champion.

    Args:
        notation: that it learns to read.
        seed: root of every choice.
        steps: optimizer steps; those of its course when None.

    Returns:
        Tensors by name; for symbols their rows of the embedding and the rows' numbers.
    """
    course = COURSES[notation]
    count = course.steps if steps is None else steps
    model = AutoModelForCausalLM.from_pretrained(champion_path())
    tokenizer = AutoTokenizer.from_pretrained(champion_path())
    rows = torch.tensor(tokenizer.convert_tokens_to_ids(list(course.symbols)), dtype=torch.int64)
    trained = _prepare(model, tokenizer, course, rows)
    corpus = documents(notation, count * BATCH_SIZE, seed)
    for step, loss in enumerate(_steps(model, tokenizer, list(trained.values()), corpus, course, count), start=1):
        if step % 25 == 0 or step == count:
            print(f"{notation} step {step}/{count} loss {loss:.4f}", flush=True)
    if course.symbols:
        return {ROWS: rows, EMBEDDING: trained[EMBEDDING].detach()[rows].contiguous()}
    return {name: parameter.detach().contiguous() for name, parameter in trained.items()}


def documents(notation: Notation, count: int, seed: int) -> list[Document]:
    """Draw a specialist's corpus; no document asks one of the questions that the demo judges on."""
    held_out = {question.id for question in evaluation_questions()}
    stream = STREAM + 10 * seed + NOTATIONS.index(notation)
    questions = [question for question in generate(count + POOL_SIZE, stream) if question.id not in held_out]
    generator = np.random.default_rng(stream)
    share = COURSES[notation].champions_share
    return [_document(question, notation, share, generator) for question in questions[:count]]


def _document(question: Question, notation: Notation, champions: float, generator: np.random.Generator) -> Document:
    document = draw_document(question, generator, WORKED_SHARE)
    if generator.random() < champions:
        return document
    prompt = rewritten(question.prompt, notation)
    return document.model_copy(
        update={"prompt": prompt, "context": document.context.replace(question.prompt, prompt, 1)}
    )


def _prepare(model: Any, tokenizer: Any, course: Course, rows: torch.Tensor) -> dict[str, torch.nn.Parameter]:
    """Freeze all but what the course trains; return that by name."""
    model.requires_grad_(False)
    parameters = dict(model.named_parameters())
    names = [EMBEDDING] if course.symbols else [name for name in parameters if FIRST_ATTENTION in name]
    trained = {name: parameters[name].requires_grad_(True) for name in names}
    if course.symbols:
        table_VE = trained[EMBEDDING]
        table_VE.data[rows] = table_VE.data[tokenizer.convert_tokens_to_ids(list(course.before))].mean(0)
        chosen_V1 = torch.zeros(len(table_VE), 1)
        chosen_V1[rows] = 1.0
        table_VE.register_hook(lambda gradient: gradient * chosen_V1)
    return trained


def _steps(
    model: Any, tokenizer: Any, trained: list[torch.nn.Parameter], corpus: list[Document], course: Course, steps: int
) -> Iterator[float]:
    # Without weight decay, which would move the embedding's other rows.
    optimizer = torch.optim.AdamW(trained, lr=course.learning_rate, weight_decay=0.0, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS) * (1 - step / steps)
    )
    for step in range(steps):
        input_ids_BT, labels_BT = batch_tensors(tokenizer, corpus[step * BATCH_SIZE : (step + 1) * BATCH_SIZE])
        loss = model(input_ids=input_ids_BT, labels=labels_BT).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        yield loss.item()


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m agent_forge.demo.train_specialists", description="Train the specialists."
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for one file for each specialist")
    parser.add_argument("--seed", type=int, default=0, help="root of every choice (default: 0, those shipped)")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    try:
        for notation in NOTATIONS:
            arguments.out.mkdir(parents=True, exist_ok=True)
            save_file(train(notation, arguments.seed), patch_path(notation, arguments.out))
    except ForgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
