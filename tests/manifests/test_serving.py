"""Serving: only what is published is promoted, only what was promoted is served, and thoughts stay out of answers."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from manifests.test_manifests import built, problems
from storage.published import SAMPLE, evolve_small, publish_small

from agent_forge import cli
from agent_forge.errors import CheckFailed, InputError
from agent_forge.records import PromptingRecord
from agent_forge.serving import storage_uri

SERVING = Path(__file__).resolve().parents[2] / "manifests" / "serving"
S3 = "s3://models/root/baked/1"
START, END = "<|startofthought|>", "<|endofthought|>"
PROMPTING = PromptingRecord(
    template="custom",
    template_text="Q: {prompt}\n",
    chat_template=None,
    system_prompt=None,
    answer_cue="A:",
    thought_prompt="Steps:",
    stop_strings=(),
    thought_stops=(),
    few_shot=(),
)
FAKE_SERVER = "import json, os, sys; print(json.dumps([sys.argv, dict(os.environ)]))"


def loaded(name: str, monkeypatch) -> types.ModuleType:
    """Import a file of the pods; of vLLM there is only what the parser registers with and derives from."""
    manager = types.SimpleNamespace(register_module=lambda name: lambda parser: parser)
    for module, content in {
        "vllm": {},
        "vllm.reasoning": {"ReasoningParserManager": manager},
        "vllm.reasoning.basic_parsers": {"BaseThinkingReasoningParser": object, "DeltaMessage": types.SimpleNamespace},
    }.items():
        stub = types.ModuleType(module)
        stub.__dict__.update(content)
        monkeypatch.setitem(sys.modules, module, stub)
    spec = importlib.util.spec_from_file_location(name, SERVING / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parser(monkeypatch):
    monkeypatch.setenv("QUIETSTAR_START", START)
    monkeypatch.setenv("QUIETSTAR_END", END)
    return loaded("thought_parser", monkeypatch)


@pytest.fixture
def model(tmp_path):
    publish_small(tmp_path / "model", prompting=PROMPTING)
    return tmp_path / "model"


def promoted(model, *options, uri=S3):
    arguments = ["promote", str(model), "--name", "sums", *(("--storage-uri", uri) if uri else ()), *options]
    return cli.app(arguments, standalone_mode=False)


def test_a_published_model_is_promoted_with_the_digest_of_its_manifest(model, capsys):
    promoted(model, "--gpus", "2", "--service-account", "reader")
    service = yaml.safe_load(capsys.readouterr().out)
    assert problems(service, "V1beta1InferenceService", "service") == []
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == S3 and predictor["serviceAccountName"] == "reader"
    assert predictor["model"]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    (variable,) = predictor["model"]["env"]
    assert variable["value"] == hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()
    (runtime,) = (document for document in built("serving") if document["kind"] == "ServingRuntime")
    assert predictor["model"]["runtime"] == runtime["metadata"]["name"]
    assert predictor["model"]["modelFormat"]["name"] in {f["name"] for f in runtime["spec"]["supportedModelFormats"]}


def test_what_is_not_published_is_not_promoted(model, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="it is not a published model"):
        promoted(tmp_path / "other")
    evolve_small(tmp_path / "evolved")
    with pytest.raises(InputError, match="has not been baked"):
        promoted(tmp_path / "evolved")
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:-1] + b"!")
    with pytest.raises(CheckFailed, match=r"model\.safetensors"):
        promoted(model, "--out", str(tmp_path / "service.yaml"))
    assert not (tmp_path / "service.yaml").exists() and capsys.readouterr().out == ""


@pytest.mark.parametrize("uri", [None, "minio://mlpipeline/x", "wandb://a/b/c:v1", "/models/x"])
def test_a_place_that_the_cluster_cannot_reach_is_refused(model, uri):
    with pytest.raises(InputError, match="KServe cannot fetch"):
        promoted(model, uri=uri)


def test_a_model_that_would_be_asked_otherwise_than_it_was_measured_is_refused(tmp_path):
    publish_small(tmp_path / "old", prompting=None)
    with pytest.raises(InputError, match="did not record how questions are put"):
        promoted(tmp_path / "old")


def served(model, tmp_path, digest):
    """Start a pod's command with a server in vLLM's place that prints what it was started with."""
    server = tmp_path / "vllm" / "entrypoints" / "openai" / "api_server.py"
    server.parent.mkdir(parents=True, exist_ok=True)
    server.write_text(FAKE_SERVER)
    given = {"QUIETSTAR_MODEL": str(model), "QUIETSTAR_MANIFEST_SHA256": digest, "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(SERVING / "start.py"), "--port=8080"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), **given}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_pod_serves_what_was_promoted_and_nothing_else(model, tmp_path):
    digest = hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()
    done = served(model, tmp_path, digest)
    assert done.returncode == 0, done.stderr
    arguments, environment = json.loads(done.stdout)
    assert arguments[1:3] == ["--model", str(model)] and arguments[-1] == "--port=8080"
    assert arguments[arguments.index("--reasoning-parser") + 1] == "quietstar"
    assert environment["QUIETSTAR_START"] == SAMPLE.config["start_thought_token"]
    template = Path(arguments[arguments.index("--chat-template") + 1]).read_text()
    assert jinja2.Template(template).render(messages=[{"content": "1+1"}]) == "Q: 1+1\n"
    (model / "config.json").write_text('{"changed": 1}')
    changed = served(model, tmp_path, digest)
    assert changed.returncode == 1 and "not served: config.json is missing or not as it was published" in changed.stderr
    assert "not the promoted one" in served(model, tmp_path, "0" * 64).stderr


def test_a_file_more_than_was_published_is_not_served(model, tmp_path, monkeypatch):
    start = loaded("start", monkeypatch)
    digest = hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()
    (model / ".cache").mkdir()
    (model / ".cache" / "download.json").write_text("{}")
    assert start.checked(model, digest)["bake_id"] == SAMPLE.bake_id
    (model / "extra.safetensors").write_text("")
    with pytest.raises(ValueError, match=r"extra\.safetensors is not in the manifest"):
        start.checked(model, digest)


def test_a_question_is_put_as_it_was_in_the_bake(monkeypatch):
    start = loaded("start", monkeypatch)
    # As transformers makes it, which vLLM uses.
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)

    @given(before=st.text(), after=st.text(), asked=st.text())
    @example(before="Q: ", after="\n", asked="1+1 {{ 7 }}")
    def law(before, after, asked):
        template = environment.from_string(start.chat_template(f"{before}{{prompt}}{after}"))
        assert template.render(messages=[{"content": asked}]) == before + asked + after

    law()


PIECES = st.lists(st.sampled_from([START, END, "A: ", "8", "\n", "3+4=7"]), max_size=8)


def test_streamed_pieces_add_up_to_the_whole_and_no_thought_is_in_the_answer(parser):
    thoughts = parser.ThoughtParser()

    @given(pieces=PIECES)
    def law(pieces):
        text, thought, answer, visible, inside = "", "", "", "", False
        for piece in pieces:
            delta = thoughts.extract_reasoning_streaming(text, text + piece, piece, [], [], [])
            text += piece
            thought += (delta and delta.reasoning) or ""
            answer += (delta and delta.content) or ""
            inside = piece == START or (inside and piece != END)
            visible += "" if inside or piece == END else piece
        assert answer == visible
        assert thoughts.extract_reasoning(text, None) == (thought or None, answer or None)

    law()


def test_thought_tokens_reach_the_parser(parser):
    request = types.SimpleNamespace(skip_special_tokens=True)
    assert parser.ThoughtParser().adjust_request(request).skip_special_tokens is False
    assert parser.split(f"{START}3+4=7{END}A: 7", START, END) == ("3+4=7", "A: 7")
    assert parser.split("A: 7", START, END) == ("", "A: 7")


def test_a_folder_on_the_hub_is_nothing_that_kserve_fetches():
    assert storage_uri("hf://me/model@v1") == "hf://me/model:v1"
    with pytest.raises(InputError, match="whole repositories"):
        storage_uri("hf://me/models/baked/1")
