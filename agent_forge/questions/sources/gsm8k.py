r"""gsm8k: grade-school word problems (Cobbe et al. 2021, arXiv:2110.14168); train 7,473, test 1,319.

One row as published, the reference is what follows `####`:

    {"question": "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it
     take?", "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\nSo the total amount of fabric is
     2+1=<<2+1=3>>3 bolts of fabric\n#### 3"}
"""

import re

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.published import HubPart, Published
from agent_forge.questions.sources.task import Row, published_question, text_field
from agent_forge.records import Question

# `<<2+1=3>>`: calls of a calculator that the solutions were written with.
_CALCULATION = re.compile(r"<<[^<>]*>>")


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    prompt, worked = text_field(row, "question", where), text_field(row, "answer", where)
    _, mark, reference = worked.rpartition("####")
    if not mark:
        raise QuestionError(f"{where}: not a gsm8k row: answer has no ####; the worked answer must end in #### NUMBER")
    return published_question(prompt, reference.strip().replace(",", ""), "number", "gsm8k", where)


def worked_answer(row: Row) -> str:
    """Return the worked answer without the calculator's marks; it ends in `#### NUMBER`."""
    return _CALCULATION.sub("", str(row["answer"]))


GSM8K = Published(
    name="gsm8k",
    kind="number",
    folders=("gsm8k",),
    files={"train": ("train",), "test": ("test",)},
    hub={
        "train": HubPart("openai/gsm8k", ("main",), "train"),
        "test": HubPart("openai/gsm8k", ("main",), "test"),
    },
    read_row=read_row,
    worked_answer=worked_answer,
)
