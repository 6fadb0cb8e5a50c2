r"""What the bundled champion learned from: chained sums modulo 10, answered at once or by worked steps.

    direct     Q: 3+4-2+9-1+5 mod 10\nA: 8
    remark     Q: 3+4-2+9-1+5 mod 10\nkWe,r! o\nA: 8
    worked     Q: 3+4-2+9-1+5 mod 10\nSteps: 3+4=7;7-2=5;5+9=14;4-1=3;3+5=8\nA: 8

Six documents in ten are answered without steps, four with them, so the model can do both and what stands before the
answer decides which it does. Two things make it steady about that place:

- After the question and before the answer stand one or two line breaks. A thought token whose embedding starts as a
  copy of the line break's is then nothing new to the model.
- A third of the documents without steps have a meaningless remark in the place of the steps: random letters and
  punctuation, or one character repeated. Text that is no working changes nothing, instead of throwing the model off.
"""

import string
from functools import cache

import numpy as np

from agent_forge.questions.arithmetic import POOL_SIZE, generate, worked_steps
from agent_forge.records import Question, Record

PROMPT_TEMPLATE = "Q: {prompt}\n"
ANSWER_CUE = "A:"
STEPS_CUE = "Steps:"

WORKED_SHARE = 0.4
REMARK_SHARE = 1 / 3
LONGEST_REMARK = 64
REMARK_CHARACTERS = string.ascii_letters + " .,:!?'"

# The demo judges, bakes and verifies on questions of the pool drawn with this seed.
EVALUATION_SEED = 0
# Far from any seed given by hand, so that the stream of training questions is one of its own.
TRAINING_STREAM = 1_000_000_007


class Document(Record):
    """One training text, in two parts.

    Attributes:
        prompt: the question's prompt.
        context: what the model reads: the question and, if there is one, a remark.
        continuation: what it learns to write after the context, up to the end of the document.
        worked: whether the continuation has steps.
    """

    prompt: str
    context: str
    continuation: str
    worked: bool


def evaluation_questions() -> list[Question]:
    """Return the pool that no training document asks about."""
    return list(_evaluation_pool())


@cache
def _evaluation_pool() -> tuple[Question, ...]:
    return tuple(generate(POOL_SIZE, EVALUATION_SEED))


def documents(count: int, seed: int) -> list[Document]:
    """Draw the corpus.

    Args:
        count: documents; every one asks a different question, none of the evaluation pool.
        seed: root of every choice; the same seed gives the same documents in the same order.
    """
    held_out = {question.id for question in evaluation_questions()}
    drawn = generate(count + POOL_SIZE, TRAINING_STREAM + seed)
    questions = [question for question in drawn if question.id not in held_out][:count]
    generator = np.random.default_rng([TRAINING_STREAM, seed])
    return [draw_document(question, generator) for question in questions]


def draw_document(question: Question, generator: np.random.Generator, worked_share: float = WORKED_SHARE) -> Document:
    """Write one document about a question; how it is answered is drawn."""
    context = PROMPT_TEMPLATE.format(prompt=question.prompt) + _maybe_break(generator)
    answer = f"\n{_maybe_break(generator)}{ANSWER_CUE} {question.reference}"
    worked = bool(generator.random() < worked_share)
    if worked:
        continuation = f"{STEPS_CUE} {worked_steps(question.prompt)}{answer}"
    elif generator.random() < REMARK_SHARE:
        context, continuation = context + draw_remark(generator), answer
    else:
        continuation = answer.lstrip("\n")
    return Document(prompt=question.prompt, context=context, continuation=continuation, worked=worked)


def draw_remark(generator: np.random.Generator) -> str:
    """Draw a line without meaning: one character repeated, or characters at random; never empty or edged by blanks."""
    length = int(generator.integers(1, LONGEST_REMARK + 1))
    distinct = 1 if generator.random() < 0.5 else length
    drawn = generator.choice(list(REMARK_CHARACTERS), size=distinct)
    remark = "".join(drawn) * (length // distinct)
    return remark.strip() or "."


def _maybe_break(generator: np.random.Generator) -> str:
    return "\n" * int(generator.integers(0, 2))
