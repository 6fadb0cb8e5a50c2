"""From a question to prompt ids: chat template or plain template, cue, and no question can open a thought or a turn."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import QuestionError
from agent_forge.records import Question

PLAIN_TEMPLATE = "Question: {prompt}\n"
PLAIN_CUE = "Answer:"
PLAIN_STOPS = ("\nQuestion:",)


@dataclass(frozen=True)
class Prompting:
    """How questions are put to one model; resolved once, so that the manifest can name it.

    Attributes:
        tokenizer: of the extended model.
        template: text around `{prompt}`, None for the tokenizer's chat template.
        cue: text right before the answer.
        thought_prompt: text that elicits a thought.
        answer_stops: texts that end an answer.
    """

    tokenizer: Any
    template: str | None
    cue: str
    thought_prompt: str
    answer_stops: tuple[str, ...]
    start_token: str
    end_token: str

    @classmethod
    def of(cls, config: QuietSTaRConfig, tokenizer: Any) -> "Prompting":
        """Resolve the `auto` fields of a configuration for one tokenizer."""
        has_chat = bool(getattr(tokenizer, "chat_template", None))
        template = config.prompt_template
        resolved = (None if has_chat else PLAIN_TEMPLATE) if template == "auto" else template
        plain = resolved == PLAIN_TEMPLATE
        cue = (PLAIN_CUE if plain else "") if config.answer_cue == "auto" else config.answer_cue
        return cls(
            tokenizer=tokenizer,
            template=resolved,
            cue=cue,
            thought_prompt=config.thought_prompt,
            answer_stops=config.stop_strings + (PLAIN_STOPS if plain else ()),
            start_token=config.start_thought_token,
            end_token=config.end_thought_token,
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
    def _control_ids(self) -> frozenset[int]:
        # Characters that a tokenizer does not know become its unknown token, which controls nothing.
        ids = self.tokenizer.convert_tokens_to_ids(list(self.control_tokens))
        return frozenset(ids) - {self.tokenizer.unk_token_id}

    def escape(self, text: str) -> str:
        """Break up thought and special tokens in a text, so that they are read as ordinary characters."""
        for token in dict.fromkeys((self.start_token, self.end_token, *self.control_tokens)):
            # Between the characters, so that occurrences which share some are found too.
            text = re.sub(f"(?<={re.escape(token[:1])})(?={re.escape(token[1:])})", " ", text)
        return text

    def prompt_text(self, question: Question) -> str:
        """Return the whole prompt of a question, up to where a thought or the cue begins."""
        asked = self.escape(question.prompt)
        if self.template is not None:
            return self.template.replace("{prompt}", asked)
        messages = [{"role": "user", "content": asked}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def prompt_ids(self, question: Question) -> tuple[int, ...]:
        """Return the prompt's ids.

        Raises:
            QuestionError: when a thought token would come out all the same, of the question's text or the template,
                or a special token of the question's text.
        """
        if set(self.encode(self.escape(question.prompt))) & self._control_ids - set(self.thought_token_ids):
            raise QuestionError(
                f"the text of question {question.id} contains a special token of the model's tokenizer that cannot be "
                "escaped; remove it from the question"
            )
        text = self.prompt_text(question)
        ids = self._tokenize(text, add_special_tokens=self.template is not None)
        while ids and ids[-1] == self.tokenizer.eos_token_id and self.template is not None:
            ids.pop()
        if set(ids) & set(self.thought_token_ids):
            raise QuestionError(
                f"the prompt of question {question.id} contains a thought token that cannot be escaped; remove it from "
                "the question, or choose other thought tokens if the model's chat template writes it"
            )
        return tuple(ids)

    def _tokenize(self, text: str, add_special_tokens: bool) -> list[int]:
        # Not verbose: whoever samples refuses what is too long, in a line of its own.
        return list(self.tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"])

    def without_cue(self, answer: str) -> str:
        """Drop the cue that a baked model writes itself before its answer."""
        stripped = answer.lstrip()
        cue = self.cue.strip()
        return stripped.removeprefix(cue) if cue and stripped.startswith(cue) else answer
