"""How often the champion answers right, by what stands between the question and the answer."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch

from agent_forge.demo.corpus import ANSWER_CUE, PROMPT_TEMPLATE, STEPS_CUE
from agent_forge.records import Question, Record

Form = Literal["direct", "worked", "filler", "remark"]
FORMS: tuple[Form, ...] = get_args(Form)

FILLER = "." * 30
REMARK = "Hm, let me see."
OPENINGS: dict[Form, str] = {"worked": STEPS_CUE, "filler": FILLER, "remark": REMARK}
TEMPERATURE = 0.7
THOUGHT_TOKENS = 64
ANSWER_TOKENS = 8
BATCH_SIZE = 250


class Figures(Record):
    """Accuracies in [0, 1] of sampled answers, and what they were measured with.

    Attributes:
        questions: questions of the evaluation pool asked in each form.
        direct: the answer comes right after the question.
        worked: after steps that the model wrote, prompted by `Steps:`.
        filler: after a line of full stops.
        remark: after a remark that says nothing, and whatever the model adds to its line.
    """

    questions: int
    temperature: float
    seed: int
    direct: float
    worked: float
    filler: float
    remark: float


def measure(model: Any, tokenizer: Any, questions: Sequence[Question], seed: int) -> Figures:
    """Ask every question once in each form and return the shares answered right."""
    accuracy = {form: _accuracy(model, tokenizer, questions, form, seed) for form in FORMS}
    return Figures(questions=len(questions), temperature=TEMPERATURE, seed=seed, **accuracy)


def answers(model: Any, tokenizer: Any, questions: Sequence[Question], form: Form, seed: int) -> list[str]:
    """Return the text after the answer cue for each question, white space at its ends removed."""
    prompts = [prompt + ANSWER_CUE for prompt in _until_answer(model, tokenizer, questions, form, seed)]
    return [text.strip() for text in _complete(model, tokenizer, prompts, ANSWER_TOKENS, seed)]


def _accuracy(model: Any, tokenizer: Any, questions: Sequence[Question], form: Form, seed: int) -> float:
    given = answers(model, tokenizer, questions, form, seed)
    right = [text == question.reference for text, question in zip(given, questions, strict=True)]
    return sum(right) / len(right)


def _until_answer(model: Any, tokenizer: Any, questions: Sequence[Question], form: Form, seed: int) -> list[str]:
    """Return each question with all that stands before its answer cue."""
    asked = [PROMPT_TEMPLATE.format(prompt=question.prompt) for question in questions]
    if form == "direct":
        return asked
    # The second line break stands where a thought token will, whose embedding starts as the line break's.
    opened = [f"{text}\n{OPENINGS[form]}" for text in asked]
    if form == "filler":
        return [f"{text}\n" for text in opened]
    written = _complete(model, tokenizer, opened, THOUGHT_TOKENS, seed)
    lines = [text.split("\n", maxsplit=1)[0] for text in written]
    return [f"{text}{line}\n" for text, line in zip(opened, lines, strict=True)]


@torch.inference_mode()
def _complete(model: Any, tokenizer: Any, prompts: Sequence[str], tokens: int, seed: int) -> list[str]:
    """Sample at most `tokens` tokens after each prompt; special tokens are left out of the text."""
    texts: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for first in range(0, len(prompts), BATCH_SIZE):
            batch = tokenizer(list(prompts[first : first + BATCH_SIZE]), return_tensors="pt", padding=True)
            ids_BT = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=0,
                max_new_tokens=tokens,
            )
            written_BT = ids_BT[:, batch["input_ids"].shape[1] :]
            texts += tokenizer.batch_decode(written_BT, skip_special_tokens=True)
    return texts
