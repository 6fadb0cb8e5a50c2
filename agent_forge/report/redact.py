"""Keep credentials out of the report: masked by the name of their field, or by what they look like.

This is the last line of defence, not the first: a secret has no business in a record. Masking by look covers the
usual shapes (Hugging Face, OpenAI, GitHub, GitLab, Slack, AWS and Google keys, JSON web tokens, bearer headers,
private keys, passwords and signatures in addresses); a random string under a harmless name passes.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

MASK = "•••masked•••"

_SECRET_WORDS = frozenset(
    {
        *("secret", "secrets", "password", "passwords", "passwd", "passphrase", "pwd", "apikey", "bearer", "cookie"),
        *("credential", "credentials", "auth", "authorization"),
    }
)
_KEY_OWNERS = frozenset({"api", "access", "private", "account", "encryption", "signing", "ssh"})
# The two named groups are what stands before the secret and stays.
_LOOKS = re.compile(
    r"""
      \bhf_[A-Za-z0-9]{8,}
    | \bsk-[A-Za-z0-9_-]{16,}
    | \b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,})
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \bAIza[\w-]{30,}
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    | (?<=\bBearer\s)[\w.~+/=-]{8,}
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?<=://)[^\s/?\#]+(?=@)
    # A pasted key may hold slashes; what follows the colon is no port.
    | (?<=://)[^\s/?\#:@]*:(?!\d+[/?\#])[^\s@]+(?=@)
    | (?P<query>(?i:[?&][\w-]*(?:signature|credential|token|secret|password|api_?key|sig))=)[^&\s"']+
    | (?P<variable>\b[A-Z0-9_]*(?:SECRET|PASSWORD|TOKEN|API_KEY|ACCESS_KEY)[A-Z0-9_]*=)[^\s"']+
    """,
    re.VERBOSE | re.DOTALL,
)


def is_secret_name(name: str) -> bool:
    """Say whether a field of this name holds a credential: `api_key` and `hub_token` do, `max_answer_tokens` not."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    lower = [word.lower() for word in words]
    # Where a credential lies is none.
    if lower[-1:] in (["file"], ["path"]):
        return False
    if _SECRET_WORDS.intersection(lower):
        return True
    if any(owner in _KEY_OWNERS and word in {"key", "keys"} for owner, word in pairwise(lower)):
        return True
    # The thought tokens are text in the vocabulary, not credentials.
    return "token" in lower and "thought" not in lower


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of variables whose names say that they hold credentials, longest first.

    Some, such as a W&B key, look like any other hash; to be known they have to be known by heart. Values of less than
    eight characters are left out, since they would mask ordinary words, and so are paths: where a key lies is no key.
    """
    named = (value for name, value in environment.items() if is_secret_name(name))
    found = {value for value in named if len(value) >= 8 and not Path(value).is_absolute()}
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def masked_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with everything that is one of the secrets or looks like a credential replaced by the mask."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _LOOKS.sub(lambda found: (found["query"] or found["variable"] or "") + MASK, text)


def masked(value: object, name: str = "") -> object:
    """Return JSON-like data with credentials masked, at any depth.

    Args:
        value: mappings, sequences, text, numbers, booleans and None.
        name: the field the value stands under; None and booleans hold no secret under any name.
    """
    if value is None or isinstance(value, bool) or value == "":
        return value
    if is_secret_name(name):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item) for item in value]
    return masked_text(value) if isinstance(value, str) else value
