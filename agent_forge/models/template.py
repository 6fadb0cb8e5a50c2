r"""What stands around questions, as text: template, cue, exemplars, and the stop strings that follow from them.

A plain prompt with two exemplars, up to where a thought or the cue begins:

    Question: 2 + 2?\nAnswer: 4\n\nQuestion: 3 + 3?\nAnswer: 6\n\nQuestion: 5 + 5?\n

A chat model gets exemplars as turns of the user and of its own. No torch here: the manifest is written without it.
"""

from collections.abc import Sequence

from agent_forge.config import QuietSTaRConfig
from agent_forge.records import ChatTemplateRecord, ExtensionRecord, PromptingRecord, TaskExemplars

PLAIN_TEMPLATE = "Question: {prompt}\n"
PLAIN_CUE = "Answer:"
# Between exemplars; their answers hold no blank lines.
SEPARATOR = "\n\n"


def resolve_template(config: QuietSTaRConfig, has_chat: bool) -> tuple[str | None, str]:
    """Return the text around `{prompt}`, None for the chat template, and the cue."""
    automatic = None if has_chat else PLAIN_TEMPLATE
    template = automatic if config.prompt_template == "auto" else config.prompt_template
    plain = template == PLAIN_TEMPLATE
    return template, (PLAIN_CUE if plain else "") if config.answer_cue == "auto" else config.answer_cue


def opening_stops(template: str | None, exemplars: bool) -> tuple[str, ...]:
    r"""Return the texts with which a model goes on to another question, instead of ending.

    Those are the first and the last line that a template begins a question with, where they are marked as such:
    `Question:`, `### Problem`, `[INST]`. Others, as `1.` or `Solve`, may well stand in an answer. They count only after
    the blank line between exemplars; where a template begins with the question itself, that is all there is to go by.

    Args:
        template: with `{prompt}`, None for a chat template, whose turns end by tokens.
        exemplars: whether the model is shown how one question follows another.
    """
    if template is None:
        return ()
    opening = template.partition("{prompt}")[0]
    lines = [line.rstrip() for line in opening.split("\n") if line.strip()]
    stops = [f"\n{line}" for line in dict.fromkeys(lines[:1] + lines[-1:]) if _is_marked(line)]
    following = SEPARATOR + (opening.partition(lines[0])[0] + lines[0] if lines else "")
    if exemplars and not any(stop in following for stop in stops):
        stops.append(following)
    return tuple(stops)


def _is_marked(line: str) -> bool:
    """Whether a line has letters and begins or ends with something else."""
    line = line.strip()
    return any(character.isalpha() for character in line) and not (line[0].isalnum() and line[-1].isalnum())


def common_start(one: str, other: str) -> str:
    """Return what two texts both begin with."""
    length = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def answered(before: str, answer: str) -> str:
    """Return an answer with what stands before it, one space apart where there is none between them."""
    return f"{before}{'' if not before or before[-1].isspace() else ' '}{answer}"


def shown(template: str, cue: str, prompt: str, answer: str) -> str:
    """Return one exemplar as text, with what separates it from what follows."""
    return answered(template.replace("{prompt}", prompt) + cue, answer) + SEPARATOR


def all_stops(configured: Sequence[str], template: str | None, exemplars: bool) -> tuple[str, ...]:
    """Return the configured stop strings and those that follow from the template, each once."""
    return tuple(dict.fromkeys((*configured, *opening_stops(template, exemplars))))


def thought_stops(configured: Sequence[str], template: str | None, exemplars: bool) -> tuple[str, ...]:
    """Return the texts that close an elicited thought; with exemplars, going on to another question does too."""
    return all_stops(configured, template, exemplars) if exemplars else tuple(configured)


def prompting_record(
    config: QuietSTaRConfig, extension: ExtensionRecord, few_shot: tuple[TaskExemplars, ...]
) -> PromptingRecord:
    """Return how questions are put to the model that an extension made."""
    chat: ChatTemplateRecord | None = extension.chat_template
    template, cue = resolve_template(config, chat is not None)
    return PromptingRecord(
        template="chat" if template is None else "plain" if template == PLAIN_TEMPLATE else "custom",
        template_text=template,
        chat_template=chat if template is None else None,
        system_prompt=None,
        answer_cue=cue,
        thought_prompt=config.thought_prompt,
        stop_strings=all_stops(config.stop_strings, template, bool(few_shot)),
        thought_stops=thought_stops(config.thought_stop, template, bool(few_shot)),
        few_shot=few_shot,
    )
