"""One cell: the arms that ask the same prompt ask it together, and every arm gets the rows it would get alone."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent_forge.config import build_config
from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import TransformersSampler
from agent_forge.records import Question
from agent_forge.stages.bench import Bench
from agent_forge.stages.context import StageContext
from agent_forge.stages.evaluate_round import evaluate_arms

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from tiny_extended import in_memory
from tiny_sampling import CONTEXT, extended, rules

CONFIG = build_config({"model_path": "m", "output_path": "o", "thought_prompt": "Think:", "batch_size": 12})
QUESTIONS = tuple(
    Question(id=f"q{k}", prompt=f"{k}{'?' * (30 + 7 * k % 5)} {k} + 4", reference=f"{k + 4}", kind="number", task="t")
    for k in range(6)
)


@contextmanager
def tokens_fed():
    """Yield the number of tokens of every pass."""
    passes: list[int] = []
    layer = extended().model.get_input_embeddings()
    handle = layer.register_forward_hook(lambda _layer, given, _output: passes.append(given[0].numel()))
    try:
        yield passes
    finally:
        handle.remove()


class ArmByArm(SharingSampler):
    """Shares as ever, but is not told of several arms at once."""

    shares = False


def asked(kind: type[TransformersSampler], scratch: Path, questions=QUESTIONS):
    loaded = in_memory(context=CONTEXT)
    prompting = Prompting.of(CONFIG, extended().tokenizer)
    sampler = kind(extended().model, prompting, rules(), Decoding(0.8), CONTEXT)
    context = StageContext(CONFIG, {}, {}, {}, scratch)
    scratch.mkdir(exist_ok=True)
    return evaluate_arms(context, Bench(loaded, prompting, rules(), sampler), questions, set(), 1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    arms = asked(TransformersSampler, tmp_path_factory.mktemp("reference"))
    return {arm: list(rows) for arm, rows in arms.items()}


@pytest.mark.parametrize("kind", [SharingSampler, ArmByArm])
def test_arms_get_the_same_rows_together_as_apart_each_in_the_order_of_the_questions(kind, reference, tmp_path):
    found = {arm: list(rows) for arm, rows in asked(kind, tmp_path).items()}
    assert found == reference
    for arm, rows in found.items():
        assert [(row.arm, row.question_id) for row in rows] == [(arm, question.id) for question in QUESTIONS]
    assert [row.thought_tokens for row in found["pause"]] == [row.thought_tokens for row in found["thought"]]


def test_a_prompt_is_read_once_for_the_arms_that_are_known_beforehand(tmp_path):
    with tokens_fed() as apart:
        asked(ArmByArm, tmp_path / "apart")
    with tokens_fed() as together:
        asked(SharingSampler, tmp_path / "together")
    prompting = Prompting.of(CONFIG, extended().tokenizer)
    prompts = sum(len(prompting.prompt_ids(question)) for question in QUESTIONS)
    # At least one token of each row is fed, whatever it shares.
    assert sum(apart) - sum(together) >= prompts - len(QUESTIONS)


def test_rows_that_were_finished_before_a_kill_are_not_asked_again(reference, tmp_path):
    asked(SharingSampler, tmp_path)
    log = tmp_path / "baseline-thought-1.jsonl"
    log.write_bytes(log.read_bytes()[:-1])
    (tmp_path / "pause-1.jsonl").unlink()
    with tokens_fed() as fed:
        again = {arm: list(rows) for arm, rows in asked(SharingSampler, tmp_path).items()}
    assert fed and again == reference
    with tokens_fed() as fed:
        asked(SharingSampler, tmp_path)
    assert not fed


def test_a_cell_without_questions_is_an_empty_one(tmp_path):
    assert {arm: list(rows) for arm, rows in asked(SharingSampler, tmp_path, ()).items()} == {
        "baseline": [],
        "thought": [],
        "pause": [],
    }
