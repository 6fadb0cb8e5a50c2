"""The model card of a published model: `README.md` with the front matter that the Hugging Face hub reads.

It is made of the manifest alone and holds no date, so that publishing the same run again writes the same bytes.
"""

import json
import math
import re
from importlib import resources
from string import Template

import yaml

from agent_forge.records import Manifest, TaskComparison
from agent_forge.report.redact import masked, masked_text

CARD = "README.md"
_LONGEST = 400
_AUTO_PROMPT = r""""Question: ...\n"
if tokenizer.chat_template:
    messages = [{"role": "user", "content": "..."}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)"""


def model_card(manifest: Manifest) -> str:
    """Return the card.

    Args:
        manifest: its list of files may be empty: the card is one of them.
    """
    template = Template(resources.files("agent_forge.report").joinpath("model_card.md").read_text(encoding="utf-8"))
    front = yaml.safe_dump(front_matter(manifest), sort_keys=False, allow_unicode=True, width=1000)
    return template.substitute(_words(manifest), front_matter=front)


def front_matter(manifest: Manifest) -> dict[str, object]:
    """Return the fields of the hub's model card metadata.

    `base_model` is the champion, or where the hub does not know it, what the champion's own card names.
    """
    card = manifest.champion.card
    found: dict[str, object] = {}
    if card is not None:
        about = {"license": card.license, "license_name": card.license_name, "license_link": card.license_link}
        found |= {name: value for name, value in about.items() if value}
    if models := _base_models(manifest):
        found["base_model"] = models[0] if len(models) == 1 else list(models)
    found |= {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["quiet-star", "thoughts", "agent_forge"],
    }
    results = [_result(task) for task in manifest.verification.per_task]
    found["model-index"] = [{"name": f"bake-{manifest.bake_id[:12]}", "results": results}]
    return found


def _base_models(manifest: Manifest) -> tuple[str, ...]:
    hub = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@.*)?", manifest.champion.uri)
    if hub:
        return (hub[1],)
    return manifest.champion.card.base_model if manifest.champion.card else ()


def _result(task: TaskComparison) -> dict[str, object]:
    name = masked_text(task.task)
    metric = {
        "type": "accuracy",
        "value": round(task.thought_accuracy, 6),
        "name": f"share of {task.questions} unseen questions answered right, thinking first",
    }
    return {
        "task": {"type": "text-generation"},
        "dataset": {"type": name if re.fullmatch(r"[\w-]+", name) else "other", "name": name},
        "metrics": [metric],
    }


def _words(manifest: Manifest) -> dict[str, str]:
    checked, champion, config = manifest.verification, manifest.champion, manifest.config
    low, high = checked.confidence_interval
    level = round(100 * manifest.gate.confidence_level)
    return {
        "bake": manifest.bake_id[:12],
        "champion": _code(_origin(manifest)),
        "before": f"{checked.champion_accuracy:.1%}",
        "after": f"{checked.baked_accuracy:.1%}",
        "difference": f"{checked.difference:+.1%}",
        "interval": f"{low:+.1%} to {high:+.1%}" if math.isfinite(low) and math.isfinite(high) else "not finite",
        "level": f"{level} %",
        "p": f"{checked.p_value:.2g}",
        "questions": f"{checked.questions:,}",
        "rounds": str(checked.effective_rounds),
        "swapped": f"{checked.swapped_accuracy:.1%}",
        "opened": f"{checked.opened_rate:.1%}",
        "well_formed": f"{checked.well_formed_rate:.1%}",
        "gate_questions": f"{manifest.gate.questions:,}",
        "gate_before": f"{manifest.gate.baseline_accuracy:.1%}",
        "gate_after": f"{manifest.gate.thought_accuracy:.1%}",
        "tasks": "\n".join(_row(task) for task in checked.per_task),
        "start": _python(config.get("start_thought_token", "<|startofthought|>")),
        "end": _python(config.get("end_thought_token", "<|endofthought|>")),
        "start_shown": _code(config.get("start_thought_token", "<|startofthought|>")),
        "end_shown": _code(config.get("end_thought_token", "<|endofthought|>")),
        "prompt": _prompt(str(config.get("prompt_template", "auto"))),
        "special": "True" if config.get("prompt_template", "auto") != "auto" else "not tokenizer.chat_template",
        "template": _code(config.get("prompt_template", "auto")),
        "cue": _code(config.get("answer_cue", "auto")),
        "thought_length": str(config.get("max_thought_length", "")),
        "answer_length": str(config.get("max_answer_tokens", "")),
        "temperature": str(config.get("temperature", "")),
        "licence": _licence(manifest),
        "warnings": "".join(f"\n- Noted in verification: {_plain(text)}" for text in checked.warnings),
        "champion_digest": champion.digest,
        "bake_id": manifest.bake_id,
        "parent": _parent(manifest),
        "commit": _code((manifest.code.commit or "unknown") + (" with changes" if manifest.code.dirty else "")),
        "version": _plain(manifest.code.version),
        "packages": ", ".join(f"{_plain(name)} {_plain(value)}" for name, value in sorted(manifest.packages.items())),
    }


def _origin(manifest: Manifest) -> str:
    """Return where the champion is found, without the paths of the machine that it was found on."""
    uri = manifest.champion.uri
    return uri if not uri.startswith("file://") else f"a local model, sha256 {manifest.champion.digest[:12]}"


def _row(task: TaskComparison) -> str:
    return (
        f"| {_plain(task.task)} | {task.role} | {task.questions:,} | {task.baseline_accuracy:.1%} "
        f"| {task.thought_accuracy:.1%} | {task.difference:+.1%} |"
    )


def _licence(manifest: Manifest) -> str:
    card = manifest.champion.card
    if card is None or not (card.license or card.license_name):
        return "The champion names no licence; ask whoever made it before you pass this model on."
    return f"The champion's licence holds for this model too: {_plain(card.license_name or card.license)}."


def _parent(manifest: Manifest) -> str:
    parent = manifest.champion.parent
    if parent is None:
        return "none: the champion is the first of its line, as far as is recorded"
    what = f"bake {parent.bake_id[:12]}" if parent.bake_id else "the manifest of another program"
    return f"{what}, sha256 {parent.manifest_sha256}"


def _plain(value: object) -> str:
    """Return a text as one line of Markdown in which nothing is markup, and nothing looks like a credential."""
    line = " ".join(masked_text(str(masked(value))).split())[:_LONGEST]
    return re.sub(r"([\\`*_{}\[\]<>|#!])", r"\\\1", line)


def _code(value: object) -> str:
    """Return a text as one line of code in Markdown."""
    line = json.dumps(masked_text(str(value)), ensure_ascii=False)[1:-1][:_LONGEST]
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def _prompt(template: str) -> str:
    """Return a Python expression for the prompt of a question."""
    if template != "auto":
        return f'{_python(template)}.replace("{{prompt}}", "...")'
    return _AUTO_PROMPT


def _python(value: object) -> str:
    """Return a text as a Python literal for a code block, which it cannot end."""
    return json.dumps(masked_text(str(value))).replace("`", "\\u0060")
