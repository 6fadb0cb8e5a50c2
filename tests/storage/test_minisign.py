"""Signatures: those of minisign 0.11 are read, those made here are of the same form."""

import base64
import stat

import pytest

from agent_forge.errors import CheckFailed, ConfigError, OutputError
from agent_forge.storage.minisign import (
    check_form,
    generate,
    read_public_key,
    read_secret_key,
    sign,
    verify,
    write_pair,
)

# Made by minisign 0.11: -G -W, then -S -W over `forge` and a line break.
CONTENT = b"forge\n"
PUBLIC = """untrusted comment: minisign public key 680CC4A56D4C7F5
RWT1x9RWSsyABqvtanvbfr4sdfQkaB45PXhGsEabEa3mYL+ptNm1+HJq
"""
SECRET = """untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA9cfUVkrMgAZbCDptZjaNfGEsiQJZwI47kP+nbMkgWx4O\
nNKcvCQSS6vtanvbfr4sdfQkaB45PXhGsEabEa3mYL+ptNm1+HJqAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
"""
SIGNED = b"""untrusted comment: signature from minisign secret key
RUT1x9RWSsyABn86+GDvp9Fx0MV68KmO+aIpivPCpKigN4qcmRZYoH4v1nor73heDXHx2HlI1CeWTtZCYxAkUxugZukcuWnZig4=
trusted comment: timestamp:1795762140\tfile:v.txt\thashed
vsDmPgrKHctwJVgnb8jxVmvukdqY/JyHn64V75t5uQ3K9jSqdq2teMj9lBYzfEuJDTKMJ5rPYV3RpOcENFaMCA==
"""


@pytest.fixture
def theirs(tmp_path):
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "key.pub").write_text(PUBLIC)
    return read_secret_key(tmp_path / "key"), read_public_key(tmp_path / "key.pub")


def test_minisigns_keys_and_signatures_are_read(theirs):
    secret, public = theirs
    assert secret.public == public
    assert verify(CONTENT, SIGNED, public, "x") == "timestamp:1795762140\tfile:v.txt\thashed"


def test_the_same_key_makes_the_same_signature(theirs):
    # Ed25519 is deterministic: equal to the byte but for the first line.
    made = sign(CONTENT, theirs[0], "timestamp:1795762140\tfile:v.txt\thashed").encode()
    assert made.splitlines()[1:] == SIGNED.splitlines()[1:]


def test_a_key_pair_comes_back_from_its_files(tmp_path):
    key = generate()
    public = write_pair(key, tmp_path / "key")
    assert read_secret_key(tmp_path / "key") == key and read_public_key(public) == key.public
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert key.seed.hex() not in repr(key) and base64.b64encode(key.seed).decode() not in repr(key)
    with pytest.raises(OutputError, match="never overwritten"):
        write_pair(key, tmp_path / "key")


@pytest.mark.parametrize("signature", ["ours", "theirs"])
def test_any_byte_of_a_signature_that_changes_is_noticed(theirs, signature):
    secret, public = theirs
    whole = SIGNED if signature == "theirs" else sign(CONTENT, secret, "of forge").encode()
    verify(CONTENT, whole, public, "x")
    for place, byte in enumerate(whole):
        changed = whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :]
        with pytest.raises(CheckFailed):
            verify(CONTENT, changed, public, "x")
        if signature == "ours":
            with pytest.raises(CheckFailed):
                check_form(changed, "x")


def test_other_content_and_other_keys_do_not_fit(theirs):
    with pytest.raises(CheckFailed, match="does not fit"):
        verify(b"forged\n", SIGNED, theirs[1], "x")
    with pytest.raises(CheckFailed, match="was made with key"):
        verify(CONTENT, SIGNED, generate().public, "x")


def test_locked_and_damaged_keys_are_refused_without_being_shown(tmp_path):
    raw = bytearray(base64.b64decode(SECRET.splitlines()[1]))
    locked = bytes(raw[:2]) + b"Sc" + bytes(raw[4:])
    raw[70] ^= 1
    for content, message in ((locked, "locked with a password"), (bytes(raw), "is damaged"), (b"x", "no secret key")):
        (tmp_path / "key").write_text(f"untrusted comment: x\n{base64.b64encode(content).decode()}\n")
        with pytest.raises(ConfigError, match=message) as caught:
            read_secret_key(tmp_path / "key")
        assert base64.b64encode(content).decode()[:20] not in str(caught.value) or content == b"x"
    with pytest.raises(ConfigError, match="cannot read"):
        read_secret_key(tmp_path / "none")
