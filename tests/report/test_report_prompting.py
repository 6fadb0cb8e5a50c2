"""How questions are put to the model, as the page shows it; records from before it was recorded can still be read."""

import html
import json

import pytest
from sample_run import RUNS, render

from agent_forge.config import build_config
from agent_forge.models.template import prompting_record
from agent_forge.records import ChatTemplateRecord, Manifest, TaskExemplars
from agent_forge.report.gathering import gather
from agent_forge.storage.question_files import write_questions

CHAT = ChatTemplateRecord(sha256="5" * 64, opening="<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
SHOWN = TaskExemplars(task="arithmetic", source="generated, seed 0", ids=("id-one", "id-two"), sha256="7" * 64)


@pytest.mark.parametrize(
    ("chat", "fields", "few_shot", "said"),
    [
        (None, {}, (), ["plain", r'"Question: {prompt}\n"', r'["\nQuestion:"]', "Let me think step by step."]),
        (CHAT, {}, (SHOWN,), ["the model's chat template", "5" * 64, "Be brief.", "id-one", "id-two", "7" * 64]),
        (CHAT, {"prompt_template": "Q: {prompt}\n", "stop_strings": ["###"]}, (SHOWN,), ["custom", r'["###", "\nQ:"]']),
    ],
)
def test_the_page_says_how_questions_are_put(chat, fields, few_shot, said):
    facts = RUNS["kept"]()
    config = build_config({"model_path": "m", "output_path": "o", **fields})
    extension = facts.extension.model_copy(update={"chat_template": chat})
    page = html.unescape(render(facts.model_copy(update={"prompting": prompting_record(config, extension, few_shot)})))
    assert [text for text in said if text not in page] == []
    assert "There is no record of how questions are put" in render(facts)


def test_records_from_before_prompting_was_recorded_are_read_and_claim_nothing(tmp_path):
    facts = RUNS["published"]()
    manifest, extension = (json.loads(record.model_dump_json()) for record in (facts.manifest, facts.extension))
    write_questions(tmp_path, dict.fromkeys(("bake", "gate", "verify"), ()), facts.splits)
    config = build_config({"model_path": "m", "output_path": "o"})
    artifacts = {"extension": [tmp_path / "extension.json"], "questions": [tmp_path]}
    (tmp_path / "extension.json").write_text(json.dumps(extension))
    assert gather(artifacts, config, title="new").prompting.template == "plain"
    del manifest["prompting"], extension["chat_template"]
    (tmp_path / "extension.json").write_text(json.dumps(extension))
    assert gather(artifacts, config, title="old").prompting is None
    assert Manifest.model_validate(manifest).prompting is None
