"""vLLM's reasoning parser for baked models: thoughts go to `message.reasoning`, never to `message.content`.

Loaded by `--reasoning-parser-plugin`, as vLLM documents for parsers of one's own. The parsers that vLLM has do not fit:
a thought may be left out, may stand at several places, and its two tokens are special ones, which vLLM takes out of the
text before a parser sees it unless the parser's `adjust_request` says otherwise.

vLLM hands a stream to its parser until that says that reasoning has ended, and passes the rest on as it is. Another
thought may always follow, so this one never says so. vLLM applies the grammars of structured outputs only after that;
they are refused, rather than silently left out.
"""

import os

from vllm.reasoning import ReasoningParserManager

# Where the second one lives has changed between versions of vLLM; the first one's module always has it.
from vllm.reasoning.basic_parsers import BaseThinkingReasoningParser, DeltaMessage


def split(text, start, end):
    """Return what was thought and what was answered, without tokens; a thought that is not closed goes to the end."""
    thoughts, answers = [], []
    while start in text:
        before, _, text = text.partition(start)
        thought, _, text = text.partition(end)
        answers.append(before)
        thoughts.append(thought.replace(start, ""))
    answers.append(text)
    # An end without a start is no answer either.
    return "\n".join(thoughts), "".join(answer.replace(end, "") for answer in answers)


def structured(request):
    """Return whether a request, to either of vLLM's interfaces for chats, asks for answers of a certain form."""
    form = getattr(request, "response_format", None) or getattr(getattr(request, "text", None), "format", None)
    asked = getattr(form, "type", "text") != "text"
    return asked or getattr(request, "structured_outputs", None) is not None


@ReasoningParserManager.register_module("quietstar")
class ThoughtParser(BaseThinkingReasoningParser):
    """Tells thoughts from answers by the two thought tokens of the model's manifest."""

    @property
    def start_token(self):
        """The token that opens a thought."""
        return os.environ["QUIETSTAR_START"]

    @property
    def end_token(self):
        """The token that closes one."""
        return os.environ["QUIETSTAR_END"]

    def adjust_request(self, request):
        """Leave the thought tokens in the text that this parser is given; refuse what could not be kept to."""
        if structured(request):
            raise ValueError("structured outputs are not available here: the model may think anywhere in its answer")
        request.skip_special_tokens = False
        return request

    def is_reasoning_end(self, input_ids):
        """Return False: another thought may follow, and a prompt that holds a thought token ends nothing."""
        return False

    def is_reasoning_end_streaming(self, input_ids, delta_ids):
        """Return False, for the same reason."""
        return False

    def extract_reasoning(self, model_output, request):
        """Return thoughts and answer of a whole completion."""
        thought, answer = split(model_output, self.start_token, self.end_token)
        return thought or None, answer or None

    def extract_reasoning_streaming(
        self, previous_text, current_text, delta_text, previous_token_ids, current_token_ids, delta_token_ids
    ):
        """Return what the newest piece of a completion adds to thoughts and answer."""
        before = split(previous_text, self.start_token, self.end_token)
        after = split(current_text, self.start_token, self.end_token)
        thought, answer = (new[len(old) :] for old, new in zip(before, after, strict=True))
        return DeltaMessage(reasoning=thought or None, content=answer or None) if thought or answer else None
