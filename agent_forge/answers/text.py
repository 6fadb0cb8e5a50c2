"""Texts: equal after normalisation (NFKC, case, white space, surrounding punctuation)."""

import unicodedata

from agent_forge.records import Grade


def grade_text(completion: str, reference: str) -> Grade:
    """Compare the completion with the reference text."""
    found = normalise_text(completion)
    if not found:
        return Grade(extracted=None, correct=False, reason="empty")
    correct = found == normalise_text(reference)
    return Grade(extracted=found[:200], correct=correct, reason="equal" if correct else f"expected {reference}")


def normalise_text(text: str) -> str:
    """Return a text's normal form."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(" .,;:!?\"'()")
