"""From a question to prompt ids: chat template or plain template, cue, and no question can open a thought or a turn."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ConfigError, QuestionError
from agent_forge.models.template import all_stops, answered, common_start, resolve_template, shown, thought_stops
from agent_forge.questions.exemplars import check_stops
from agent_forge.records import ChatTemplateRecord, Exemplar, Question, text_sha256

# Every arm, round and sample asks the same questions; so many stay known, few enough that memory does not grow.
KNOWN_PROMPTS = 2048


@dataclass(frozen=True)
class Opening:
    """What every prompt of a task begins with, exemplars included: text, and ids that are the same for all."""

    text: str = ""
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prompting:
    """How questions are put to one model; resolved once, so that the manifest can name it.

    Attributes:
        tokenizer: of the extended model.
        template: text around `{prompt}`, None for the tokenizer's chat template.
        cue: text right before the answer.
        thought_prompt: text that elicits a thought.
        answer_stops: texts that end an answer.
        thought_stops: texts that close an elicited thought.
        exemplars: by task, what stands before every question of it.
    """

    tokenizer: Any
    template: str | None
    cue: str
    thought_prompt: str
    answer_stops: tuple[str, ...]
    start_token: str
    end_token: str
    thought_stops: tuple[str, ...] = ()
    exemplars: Mapping[str, tuple[Exemplar, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, config: QuietSTaRConfig, tokenizer: Any, exemplars: Sequence[Exemplar] = ()) -> "Prompting":
        """Resolve the `auto` fields of a configuration for one tokenizer.

        Args:
            config: of the stage.
            tokenizer: of the extended model.
            exemplars: of all tasks.

        Raises:
            QuestionError: when a stop string would cut the answers that exemplars show.
        """
        template, cue = resolve_template(config, bool(getattr(tokenizer, "chat_template", None)))
        stops = all_stops(config.stop_strings, template, bool(exemplars))
        check_stops(exemplars, stops)
        by_task: dict[str, tuple[Exemplar, ...]] = {}
        for exemplar in exemplars:
            by_task[exemplar.task] = (*by_task.get(exemplar.task, ()), exemplar)
        return cls(
            tokenizer=tokenizer,
            template=template,
            cue=cue,
            thought_prompt=config.thought_prompt,
            answer_stops=stops,
            start_token=config.start_thought_token,
            end_token=config.end_thought_token,
            thought_stops=thought_stops(config.thought_stop, template, bool(exemplars)),
            exemplars=by_task,
        )

    @cached_property
    def cue_ids(self) -> tuple[int, ...]:
        """Ids of the cue."""
        return self.encode(self.cue)

    @cached_property
    def elicit_ids(self) -> tuple[int, ...]:
        """Ids of the text that elicits a thought."""
        return self.encode(self.thought_prompt)

    @cached_property
    def thought_token_ids(self) -> tuple[int, int]:
        """Ids of the start and the end token."""
        start, end = self.tokenizer.convert_tokens_to_ids([self.start_token, self.end_token])
        return start, end

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text as it stands, without sequence markers."""
        return tuple(self._tokenize(text, add_special_tokens=False)) if text else ()

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out, spaces untouched."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def piece(self, token: int) -> str:
        """Return the text that one token adds to a text; by itself, some tokenizers decode it without its space."""
        before = self.encode("a")
        return self.decode([*before, token])[len(self.decode(before)) :]

    @cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """The tokenizer's special tokens that a text could spell: a turn's markers, the end of a sequence.

        One character or blanks alone are left out: they are ordinary text that some tokenizers also name as special.
        """
        added = [str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        named = dict.fromkeys([*self.tokenizer.all_special_tokens, *added])
        return tuple(token for token in named if len(token) > 1 and token.strip())

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids of the stop strings that are special tokens: no text shows those, so they end an answer as tokens."""
        named = [stop for stop in self.answer_stops if stop in self.control_tokens]
        return frozenset(self.tokenizer.convert_tokens_to_ids(named))

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        # Characters that a tokenizer does not know become its unknown token, which controls nothing.
        ids = self.tokenizer.convert_tokens_to_ids(list(self.control_tokens))
        return frozenset(ids) - {self.tokenizer.unk_token_id}

    def escape(self, text: str) -> str:
        """Break up thought and special tokens in a text, so that they are read as ordinary characters."""
        for token, inside in self._insides:
            if token in text:
                text = inside.sub(" ", text)
        return text

    @cached_property
    def _insides(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        # Between the characters, so that occurrences which share some are found too.
        return tuple(
            (token, re.compile(f"(?<={re.escape(token[:1])})(?={re.escape(token[1:])})"))
            for token in dict.fromkeys((self.start_token, self.end_token, *self.control_tokens))
        )

    def prompt_text(self, question: Question) -> str:
        """Return the whole prompt of a question, up to where a thought or the cue begins."""
        asked = self.escape(question.prompt)
        if self.template is not None:
            return self.opening(question.task).text + self.template.replace("{prompt}", asked)
        return self._turns(question.task, asked)

    def prompt_ids(self, question: Question) -> tuple[int, ...]:
        """Return the prompt's ids; those of all questions of a task begin with the ids of its opening.

        Raises:
            QuestionError: when a thought token would come out all the same, of the question's text or the template,
                or a special token of the question's text.
        """
        return self._known_ids(question)

    @cached_property
    def _known_ids(self) -> Callable[[Question], tuple[int, ...]]:
        return lru_cache(maxsize=KNOWN_PROMPTS)(self._prompt_ids)

    def _prompt_ids(self, question: Question) -> tuple[int, ...]:
        opening = self.opening(question.task)
        self._refuse_control(question.prompt, f"question {question.id}")
        text = self.prompt_text(question)
        if not text.startswith(opening.text):
            raise QuestionError(
                f"the chat template writes something else before question {question.id} than before others of task "
                f"{question.task}, so they would not be asked alike; leave it out, or set prompt_template"
            )
        rest = text.removeprefix(opening.text)
        ids = (*opening.ids, *self.encode(rest)) if opening.text else self._whole(rest)
        if set(ids) & set(self.thought_token_ids):
            raise QuestionError(
                f"the prompt of question {question.id} contains a thought token that cannot be escaped; remove it from "
                "the question, or choose other thought tokens if the model's chat template writes it"
            )
        return ids

    def opening(self, task: str) -> Opening:
        """Return what every prompt of a task begins with; nothing where it has no exemplars."""
        if task not in self._openings:
            self._openings[task] = self._opened(task) if self.exemplars.get(task) else Opening()
        return self._openings[task]

    @cached_property
    def _openings(self) -> dict[str, Opening]:
        return {}

    def _opened(self, task: str) -> Opening:
        for exemplar in self.exemplars[task]:
            for text in (exemplar.prompt, exemplar.answer):
                self._refuse_control(text, f"exemplar {exemplar.id}")
        text = self._chat_opening(task) if self.template is None else self._plain_opening(task, self.template)
        return Opening(text, self._whole(text))

    def _plain_opening(self, task: str, template: str) -> str:
        pairs = ((self.escape(e.prompt), self.escape(e.answer)) for e in self.exemplars[task])
        return "".join(shown(template, self.cue, prompt, answer) for prompt, answer in pairs)

    def _chat_opening(self, task: str) -> str:
        # Questions of one letter each: what is written before both is written before any.
        text = common_start(self._turns(task, "a"), self._turns(task, "b"))
        for exemplar in self.exemplars[task]:
            for part in (exemplar.prompt, exemplar.answer):
                if self.escape(part).strip() not in text:
                    raise ConfigError(
                        f"the model's chat template does not show exemplar {exemplar.id} before a question; "
                        "set few_shot to 0, or prompt_template"
                    )
        # A space belongs to the word behind it, for most tokenizers.
        return text.rstrip(" ")

    def _turns(self, task: str, asked: str) -> str:
        messages = []
        for exemplar in self.exemplars.get(task, ()):
            messages.append({"role": "user", "content": self.escape(exemplar.prompt)})
            messages.append({"role": "assistant", "content": answered(self.cue, self.escape(exemplar.answer))})
        messages.append({"role": "user", "content": asked})
        if len(messages) == 1:
            return self._rendered(messages)
        try:
            return self._rendered(messages)
        except TemplateError as cause:
            raise ConfigError(
                f"the model's chat template refuses exemplars as turns ({cause}); set few_shot to 0, or prompt_template"
            ) from cause

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _refuse_control(self, text: str, whose: str) -> None:
        if set(self.encode(self.escape(text))) & self._control_ids - set(self.thought_token_ids):
            raise QuestionError(
                f"the text of {whose} contains a special token of the model's tokenizer that cannot be escaped; "
                "remove it from there"
            )

    def _whole(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text that begins a sequence and does not end it."""
        ids = self._tokenize(text, add_special_tokens=self.template is not None)
        while ids and ids[-1] == self.tokenizer.eos_token_id and self.template is not None:
            ids.pop()
        return tuple(ids)

    def _tokenize(self, text: str, add_special_tokens: bool) -> list[int]:
        if self._backend is not None:
            return list(self._backend.encode(text, add_special_tokens=add_special_tokens).ids)
        return self._tokenized(text, add_special_tokens)

    def _tokenized(self, text: str, add_special_tokens: bool) -> list[int]:
        # Not verbose: whoever samples refuses what is too long, in a line of its own.
        return list(self.tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"])

    @cached_property
    def _backend(self) -> Any | None:
        """What the tokenizer hands texts to, where it does nothing else with them but takes three times as long."""
        kind = type(self.tokenizer)
        changed = any(
            getattr(kind, name, None) is not getattr(PreTrainedTokenizerFast, name)
            for name in ("__call__", "_encode_plus", "set_truncation_and_padding")
        )
        if changed:
            return None
        # Leaves it without the truncation and padding that its file may ask for.
        self._tokenized("a", add_special_tokens=False)
        return self.tokenizer.backend_tokenizer

    def without_cue(self, answer: str) -> str:
        """Drop the cue that a baked model writes itself before its answer."""
        stripped = answer.lstrip()
        cue = self.cue.strip()
        return stripped.removeprefix(cue) if cue and stripped.startswith(cue) else answer


def chat_template_record(tokenizer: Any) -> ChatTemplateRecord | None:
    """Return what is to be known about a tokenizer's chat template, None where it has none."""
    source = getattr(tokenizer, "chat_template", None)
    if not source:
        return None
    try:
        opening = common_start(*(_asked(tokenizer, letter) for letter in "ab"))
    except TemplateError:
        # Unfit for a user's message alone; whoever asks by it is told so.
        opening = None
    text = source if isinstance(source, str) else json.dumps(source, sort_keys=True)
    return ChatTemplateRecord(sha256=text_sha256(text), opening=opening)


def _asked(tokenizer: Any, content: str) -> str:
    return str(tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False))
