"""Signatures in minisign's format (https://jedisct1.github.io/minisign/): made here, checked by `minisign -V` too.

    untrusted comment: ...                    not signed
    base64(ED, key id, signature)             Ed25519 over the BLAKE2b-512 of the file
    trusted comment: ...
    base64(signature)                         Ed25519 over the first signature and the trusted comment

Signatures made here carry the sha256 of their other three lines in the untrusted comment, so that damage shows without
a key. Secret keys are read from files as `forge keygen` and `minisign -G -W` write them: without a password.
"""

import base64
import binascii
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from agent_forge.errors import CheckFailed, ConfigError, OutputError

SIGNATURE = "manifest.json.minisig"
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
_OURS = "agent_forge signature, sha256 of the lines below: "
_THEIRS = "signature from minisign secret key"
_LARGEST = 2**14


@dataclass(frozen=True)
class PublicKey:
    """A public key and its id, eight bytes."""

    key_id: bytes
    key: bytes

    def text(self) -> str:
        """Return the content of a public key file."""
        return f"{_UNTRUSTED}minisign public key {self.name}\n{_encoded(b'Ed' + self.key_id + self.key)}\n"

    @property
    def name(self) -> str:
        """The id as minisign prints it."""
        return self.key_id[::-1].hex().upper()


@dataclass(frozen=True)
class SecretKey:
    """A secret key, its public half, and the id of both; the secret is not in its repr."""

    public: PublicKey
    seed: bytes = field(repr=False)

    def text(self) -> str:
        """Return the content of a secret key file: Ed, no password, B2, salt and limits (unused), key, checksum."""
        body = self.public.key_id + self.seed + self.public.key
        unlocked = b"Ed" + bytes(2) + b"B2" + bytes(32 + 8 + 8)
        return f"{_UNTRUSTED}minisign secret key\n{_encoded(unlocked + body + _checksum(body))}\n"


def generate() -> SecretKey:
    """Make a key pair.

    Raises:
        ConfigError: when the package cryptography is not installed.
    """
    seed = secrets.token_bytes(32)
    return SecretKey(PublicKey(secrets.token_bytes(8), _public_half(seed)), seed)


def write_pair(key: SecretKey, path: Path) -> Path:
    """Write a secret key, readable by its owner only, and the public key beside it; return the public key's path.

    Raises:
        OutputError: when one of them is there already, or the place cannot be written to.
    """
    public = path.with_name(f"{path.name}.pub")
    try:
        for place, text, mode in ((path, key.text(), 0o600), (public, key.public.text(), 0o644)):
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
                stream.write(text)
    except FileExistsError as cause:
        raise OutputError(f"{cause.filename} exists; a key is never overwritten: choose another name") from cause
    except OSError as cause:
        raise OutputError(f"cannot write {path}: {cause.strerror}; choose another place") from cause
    return public


def read_secret_key(path: Path) -> SecretKey:
    """Read a secret key file.

    Raises:
        ConfigError: when it is none, or locked with a password; its content is never part of the message.
    """
    raw = _key_file(path, "secret key")
    if len(raw) != 158 or raw[:2] != b"Ed":
        raise ConfigError(f"{path} holds no secret key of minisign's; make one with forge keygen")
    if raw[2:4] != bytes(2):
        raise ConfigError(f"{path} is locked with a password; give a key without one: minisign -C -W, or forge keygen")
    body, seed = raw[54:126], raw[62:94]
    public = PublicKey(raw[54:62], raw[94:126])
    # minisign itself leaves the checksum of a key without password at zero.
    if raw[126:] not in (_checksum(body), bytes(32)) or _public_half(seed) != public.key:
        raise ConfigError(
            f"{path} is damaged: its checksum does not fit; restore it, or make another with forge keygen"
        )
    return SecretKey(public, seed)


def read_public_key(path: Path) -> PublicKey:
    """Read a public key file.

    Raises:
        ConfigError: when it is none.
    """
    raw = _key_file(path, "public key")
    if len(raw) != 42 or raw[:2] != b"Ed":
        raise ConfigError(f"{path} holds no public key of minisign's; give the .pub file that forge keygen wrote")
    return PublicKey(raw[2:10], raw[10:])


def sign(content: bytes, key: SecretKey, comment: str) -> str:
    """Return the signature file of some content.

    Args:
        content: what is signed.
        key: the key.
        comment: is signed too; one line.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    signature = private.sign(hashlib.blake2b(content).digest())
    lines = [
        _encoded(b"ED" + key.public.key_id + signature),
        _TRUSTED + comment,
        _encoded(private.sign(signature + comment.encode())),
    ]
    below = "\n".join(lines) + "\n"
    return f"{_UNTRUSTED}{_OURS}{hashlib.sha256(below.encode()).hexdigest()}\n{below}"


def check_form(signature: bytes, source: str) -> None:
    """Check what can be checked of a signature file without a key.

    Raises:
        CheckFailed: when it is none, or not as it was written.
    """
    _lines(signature, source)


def verify(content: bytes, signature: bytes, key: PublicKey, source: str) -> str:
    """Check a signature; return its trusted comment.

    Raises:
        CheckFailed: when it is another key's, does not fit, or was damaged.
        ConfigError: when the package cryptography is not installed.
    """
    first, comment, last = _lines(signature, source)
    if first[2:10] != key.key_id:
        raise CheckFailed(f"{source} was made with key {first[2:10][::-1].hex().upper()}, not with {key.name}")
    # Signatures from before minisign 0.10, Ed, are over the content itself.
    signed = hashlib.blake2b(content).digest() if first[:2] == b"ED" else content
    if not _fits(key.key, first[10:], signed):
        raise CheckFailed(f"{source} does not fit: the manifest is not what the holder of key {key.name} signed")
    if not _fits(key.key, last, first[10:] + comment.encode()):
        raise CheckFailed(f"{source} does not fit: its trusted comment is not what the holder of {key.name} signed")
    return comment


def _lines(signature: bytes, source: str) -> tuple[bytes, str, bytes]:
    """Return the signature, the trusted comment and the signature over both; refuse every other way to write them."""
    damaged = CheckFailed(f"{source} is no signature file as minisign or this program writes it, or was damaged")
    try:
        untrusted, first, trusted, last, rest = signature.decode().split("\n")
        signed, both = _decoded(first), _decoded(last)
    except ValueError as cause:
        raise damaged from cause
    below = f"{first}\n{trusted}\n{last}\n".encode()
    known = {_UNTRUSTED + _THEIRS, _UNTRUSTED + _OURS + hashlib.sha256(below).hexdigest()}
    whole = len(signed) == 74 and signed[:2] in (b"ED", b"Ed") and len(both) == 64 and not rest
    if len(signature) > _LARGEST or not whole or untrusted not in known or not trusted.startswith(_TRUSTED):
        raise damaged
    return signed, trusted.removeprefix(_TRUSTED), both


def _fits(key: bytes, signature: bytes, content: bytes) -> bool:
    _require()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _public_half(seed: bytes) -> bytes:
    _require()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return bytes(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def _require() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as cause:
        raise ConfigError("signatures need the package cryptography; install agent-forge[sign]") from cause


def _key_file(path: Path, what: str) -> bytes:
    """Return what a key file's second line encodes; its comment line may say anything."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.stat().st_size <= _LARGEST else []
        return base64.b64decode(lines[1], validate=True)
    except OSError as cause:
        raise ConfigError(f"cannot read {path}: {cause.strerror}; a {what} file is expected there") from cause
    except (IndexError, ValueError):
        # Without its cause: that could hold the key.
        raise ConfigError(f"{path} holds no {what} of minisign's; make one with forge keygen") from None


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(b"Ed" + body, digest_size=32).digest()


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decoded(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    if _encoded(raw) != text:
        raise binascii.Error("not as it is written")
    return raw
