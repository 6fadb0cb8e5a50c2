"""Repeating the question is not answering it: what the model wrote besides the question's own words."""

import re

from agent_forge.answers.asides import before_end

_TOKEN = re.compile(r"\w+|[^\w\s]")
# Shorter prompts, passages and beginnings turn up in honest answers by chance.
FEWEST_TOKENS = 5
FEWEST_PASSAGE = 5
FEWEST_BEGINNING = 3


def without_question(completion: str, prompt: str) -> str:
    """Return the completion without verbatim copies of the prompt; empty when all of it is a passage of the prompt.

    What follows another question that the model opens is left out too.

    Args:
        completion: what the model wrote.
        prompt: the question; one of fewer than five tokens is left alone, as in `2+2` answered by `2+2=4`.
    """
    if len(_TOKEN.findall(prompt)) < FEWEST_TOKENS:
        return before_end(completion)
    rest = before_end(completion.replace(prompt.strip(), " "))
    words = rest.split()
    said, asked = " ".join(words).casefold(), " ".join(prompt.split()).casefold()
    begins = len(words) >= FEWEST_BEGINNING and asked.startswith(said)
    is_passage = len(words) >= FEWEST_PASSAGE and said in asked
    return "" if begins or is_passage else rest
