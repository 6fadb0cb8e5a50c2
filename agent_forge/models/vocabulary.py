"""The two thought tokens in a tokenizer: one id each, never found in ordinary text."""

import copy
import string
from typing import Any, NamedTuple

from tokenizers import AddedToken

from agent_forge.errors import ChampionError, ConfigError

# Texts that must encode the same before and after the tokens are added.
_ORDINARY = (string.printable, "Question: what is 3 + 4?\nAnswer: 7\n", "Ein Satz, ein 文, ein \N{GRINNING FACE}.")
_NAMED = ("eos_token", "bos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


class ThoughtIds(NamedTuple):
    """Ids of the tokens that open and close a thought."""

    start: int
    end: int


def ending_ids(model: Any) -> frozenset[int]:
    """Return the ids that end a text by the model's generation settings; chat models often name several."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    several = named if isinstance(named, list | tuple) else [named]
    return frozenset(int(index) for index in several if index is not None)


def thought_ids(tokenizer: Any, start_token: str, end_token: str) -> ThoughtIds:
    """Return the ids of the thought tokens of an extended model's tokenizer.

    Raises:
        ChampionError: when a token is not in the vocabulary, or does not encode to its one id wherever it stands and
            decode to itself.
    """
    vocabulary = tokenizer.get_vocab()
    for token in (start_token, end_token):
        if token not in vocabulary:
            raise ChampionError(f"{token} is not in the tokenizer's vocabulary; an extended model is expected")
    ids = ThoughtIds(vocabulary[start_token], vocabulary[end_token])
    _check_encoding(tokenizer, (start_token, end_token), ids)
    return ids


def add_thought_tokens(tokenizer: Any, start_token: str, end_token: str) -> tuple[Any, ThoughtIds, set[int]]:
    """Add those of the two tokens that a tokenizer lacks to a copy of it.

    Returns:
        The copy, the ids of the tokens, and which of the ids are new.

    Raises:
        ConfigError: when a token could occur in ordinary text, or one contains the other.
        ChampionError: when the tokenizer cannot hold a token as one id of its own.
    """
    _check_texts(start_token, end_token)
    before = tokenizer.get_vocab()
    for token in (start_token, end_token):
        _check_free(tokenizer, token, before)
    extended = copy.deepcopy(tokenizer)
    lacking = [token for token in (start_token, end_token) if token not in before]
    extended.add_tokens([AddedToken(token, special=True, normalized=False) for token in lacking], special_tokens=True)
    taken, after = set(before.values()), extended.get_vocab()
    added = [after[token] for token in lacking if token in after]
    if len(taken.union(added)) != len(taken) + len(added):
        raise ChampionError("the tokenizer gives a new token an id that is in use: its ids have gaps; renumber them")
    ids = thought_ids(extended, start_token, end_token)
    for text in _ORDINARY:
        if extended.encode(text) != tokenizer.encode(text):
            raise ConfigError(
                f"{start_token} or {end_token} occurs in ordinary text; choose tokens such as <|thought|>"
            )
    return extended, ids, set(added)


def _check_texts(start_token: str, end_token: str) -> None:
    for token in (start_token, end_token):
        if not _marked(token):
            raise ConfigError(
                f"thought token {token!r} could occur in ordinary text; choose one such as <|startofthought|>"
            )
    if start_token in end_token or end_token in start_token:
        raise ConfigError(
            f"one of the thought tokens {start_token} and {end_token} contains the other; keep them apart"
        )


def _marked(token: str) -> bool:
    """Return whether a text is a name between marks, in one line: neither words nor bare punctuation."""
    edges = token[:1] + token[-1:]
    return (
        any(letter.isalnum() for letter in token)
        and token.isprintable()
        and not any(letter.isalnum() or letter.isspace() for letter in edges)
    )


def _check_free(tokenizer: Any, token: str, vocabulary: dict[str, int]) -> None:
    for name in _NAMED:
        if getattr(tokenizer, name, None) == token:
            raise ChampionError(f"{token} is the tokenizer's {name}; choose another thought token")
    if token in vocabulary and token not in tokenizer.get_added_vocab():
        raise ChampionError(f"{token} is ordinary vocabulary of this tokenizer; choose another thought token")


def _check_encoding(tokenizer: Any, tokens: tuple[str, str], ids: ThoughtIds) -> None:
    start, end = tokens
    for token, index in zip(tokens, ids, strict=True):
        found = tokenizer.encode(token, add_special_tokens=False)
        if found != [index] or tokenizer.decode([index], skip_special_tokens=False).strip() != token:
            raise ChampionError(f"the tokenizer does not keep {token} as one token (it gives {found}); choose another")
    around = tokenizer.encode(f"a{start}b {end}\n{start}{end}", add_special_tokens=False)
    if [index for index in around if index in ids] != [ids.start, ids.end, ids.start, ids.end]:
        raise ChampionError(f"the tokenizer does not find {start} and {end} inside text; choose other thought tokens")
