import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.config import QuietSTaRConfig
from agent_forge.report.redact import MASK, is_secret_name, masked, masked_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "name",
    ["token", "hub_token", "HF_TOKEN", "hubToken", "api_key", "apiKey", "AWS_ACCESS_KEY_ID", "secret", "db-password"],
)
def test_names_of_credentials_are_known(name):
    assert is_secret_name(name)
    assert masked({name: "abc"}) == {name: MASK}
    assert masked({name: {"value": ["abc"]}}) == {name: MASK}


@pytest.mark.parametrize("name", ["tokenizer", "author", "key", "max_answer_tokens", "monkey", "passes", "digest"])
def test_names_of_other_things_are_not(name):
    assert not is_secret_name(name)


def test_no_setting_is_taken_for_a_credential():
    assert [name for name in QuietSTaRConfig.model_fields if is_secret_name(name)] == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("hf_AbCdEfGhIjKl", MASK),
        ("use hf_AbCdEfGhIjKl.", f"use {MASK}."),
        ("https://user:pass@host/x", f"https://{MASK}@host/x"),
        ("https://token@host/x", f"https://{MASK}@host/x"),
        ("s3://KEY:ab/cd@bucket/x", f"s3://{MASK}@bucket/x"),
        ("redis://:p@ss@host:6379/0", f"redis://{MASK}@host:6379/0"),
        ("https://host/x?a=1&api_key=abc&b=2", f"https://host/x?a=1&api_key={MASK}&b=2"),
        ("HF_TOKEN=abc forge", f"HF_TOKEN={MASK} forge"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- rest", f"{MASK} rest"),
        ("-----BEGIN PRIVATE KEY-----\nabc", MASK),
        ("https://host:8080/x?mail=a@b.c", "https://host:8080/x?mail=a@b.c"),
        ("a@b.c", "a@b.c"),
        ("s3://bucket/model", "s3://bucket/model"),
        ("<|startofthought|>", "<|startofthought|>"),
        ("0" * 64, "0" * 64),
    ],
)
def test_credentials_are_known_by_their_looks(text, left):
    assert masked_text(text) == left


@given(JSON)
def test_masking_twice_changes_nothing_more(value):
    assert masked(masked(value)) == masked(value)


@given(JSON)
def test_a_value_under_a_secret_name_never_shows(value):
    left = masked({"password": value})
    assert left == {"password": value if value is None or isinstance(value, bool) or value == "" else MASK}
