"""The champion's model card, written from measured figures."""

from pathlib import Path

from agent_forge.demo.corpus import EVALUATION_SEED, WORKED_SHARE
from agent_forge.demo.measure import FILLER, REMARK, Figures
from agent_forge.questions.arithmetic import POOL_SIZE
from agent_forge.records import Record

FIGURES_FILE = "figures.json"
RECIPE_FILE = "recipe.json"


class Recipe(Record):
    """How a champion was trained: what the card states and a second run needs.

    Attributes:
        steps, batch_size: optimizer steps, and documents in each.
        learning_rate: its peak.
        threads: torch's, on which the last bits of every sum depend.
    """

    parameters: int
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    threads: int


_CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags:
- arithmetic
---

# A champion that adds better when it writes its steps down

A Llama of {parameters:,} parameters, trained from scratch on chained additions and subtractions modulo 10 with six
operands. It exists to show the whole way from judging to baking on a model that everyone can retrain in minutes; it
knows nothing else.

```
Q: 3+4-2+9-1+5 mod 10
Steps: 3+4=7;7-2=5;5+9=14;4-1=3;3+5=8
A: 8
```

## Measured

{questions:,} questions that training never asked, one sampled answer each at temperature {temperature}. Guessing
scores 10 %.

| between question and answer | right |
| --- | --- |
| nothing | {direct} |
| `Steps:` and the steps that the model writes | {worked} |
| {filler} full stops | {filler_accuracy} |
| `{remark}` and what the model adds to that line | {remark_accuracy} |

`{figures_file}` holds the same figures.

## Training

{steps:,} steps of {batch_size} documents, no question twice. {direct_share} of the documents give the answer without
steps, {worked_share} with them. A third of those without have a line of random letters or of one repeated character in
the place of the steps, which is read but not learned. After the question and before the answer stand one or two line
breaks, equally often. The loss covers what follows the question. AdamW, peak learning rate {learning_rate}, linear
warm-up, cosine decay.

The {pool:,} questions of the evaluation pool (`generate({pool}, seed={pool_seed})`) were excluded from training. There
are 32 million different questions, so another pool of that size shares about a dozen with training.

```
python -m agent_forge.demo.train_champion --out DIR --seed {seed}
```

wrote this directory. On one machine, with the same versions of torch, transformers and tokenizers, it writes the same
bytes again ({threads} threads, CPU, fp32). Elsewhere sums are rounded in another order: compare the figures above.

## Limits

Six single-digit operands, `+` and `-`, modulo 10, in exactly this format. Anything else is outside what it learned.
"""


def write_card(directory: Path, figures: Figures, recipe: Recipe) -> None:
    """Write `README.md` and `figures.json` into the champion's directory."""
    (directory / "README.md").write_text(card_text(figures, recipe), encoding="utf-8")
    for name, record in ((FIGURES_FILE, figures), (RECIPE_FILE, recipe)):
        (directory / name).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def card_text(figures: Figures, recipe: Recipe) -> str:
    """Return the model card."""
    return _CARD.format(
        questions=figures.questions,
        temperature=figures.temperature,
        direct=_percent(figures.direct),
        worked=_percent(figures.worked),
        filler=len(FILLER),
        filler_accuracy=_percent(figures.filler),
        remark=REMARK,
        remark_accuracy=_percent(figures.remark),
        figures_file=FIGURES_FILE,
        direct_share=_percent(1 - WORKED_SHARE, digits=0),
        worked_share=_percent(WORKED_SHARE, digits=0),
        pool=POOL_SIZE,
        pool_seed=EVALUATION_SEED,
        **recipe.model_dump(),
    )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
