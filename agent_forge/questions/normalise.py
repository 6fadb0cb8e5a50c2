"""The normal form of a question's text: what makes two questions the same, and what n-grams are made of."""

import hashlib
import re

from agent_forge.answers.characters import plain

_WORDS = re.compile(r"\w+|[+\-*/=<>^%×÷−±√]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def normalise_words(text: str) -> list[str]:
    """Return a text's words: plain characters, lower case, no punctuation but mathematical operators, each a word."""
    return _WORDS.findall(_THOUSANDS.sub("", plain(text).lower()))


def question_id(prompt: str) -> str:
    """Return the first 16 hex characters of the sha256 over the normalised words."""
    return hashlib.sha256(" ".join(normalise_words(prompt)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
