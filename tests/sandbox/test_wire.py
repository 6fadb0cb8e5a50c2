"""Values pass unchanged, and nothing else gets through."""

import json
import os
import threading
from collections import Counter, OrderedDict, namedtuple
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.sandbox.values import Broken, Remote
from agent_forge.sandbox.wire import Link, exception_name

HASHABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False) | st.sampled_from([2**1100, -(3**900)]),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PLAIN = st.recursive(
    HASHABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=4) | st.sets(HASHABLE),
    max_leaves=12,
)
Pair = namedtuple("Pair", "one other")


class Colour(IntEnum):
    RED = 1


class AlwaysEqual(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def passed(value: object) -> object:
    """Return what the other side reads."""
    nothing = open(os.devnull, "rb"), open(os.devnull, "wb")  # noqa: SIM115, PTH123
    sender, receiver = (Link(*nothing, dict) for _ in range(2))
    try:
        return receiver.decode(json.loads(json.dumps(sender.encode(value))))
    finally:
        for stream in nothing:
            stream.close()


@given(PLAIN)
@settings(max_examples=200)
def test_plain_values_pass_unchanged(value: object) -> None:
    found = passed(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", [float("inf"), -0.0, "\ud800", range(2, 9, 3), bytearray(b"a"), int, type(None)])
def test_unusual_plain_values_pass_too(value: object) -> None:
    found = passed(value)
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (AlwaysEqual(3), 3),
        (Colour.RED, 1),
        (True, True),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (Pair(1, 2), (1, 2)),
        (OrderedDict(a=1).keys(), {"a": 1}.keys()),
    ],
)
def test_subclasses_pass_as_the_value_they_hold(value: object, plain: object) -> None:
    found = passed(value)
    assert type(found) is type(plain)
    assert found == plain


@pytest.mark.parametrize("view", [{"a": 1}.keys(), {"a": [1]}.items(), {}.keys()])
def test_views_of_a_dictionary_equal_what_views_equal(view) -> None:
    found = passed(view)
    assert found == view == set(found) if view and type(view) is type({}.keys()) else found == view
    assert found != list(view)


def test_iterators_pass_as_what_they_yield() -> None:
    found = passed(x * x for x in range(3))
    assert iter(found) is found
    assert list(found) == [0, 1, 4]


def test_an_object_stays_where_it_is_and_equals_nothing() -> None:
    found = passed(object())
    assert isinstance(found, Remote)
    for attempt in (
        lambda: found == found,
        lambda: bool(found),
        lambda: found in [1],
        lambda: len(found),
        lambda: found < 1,
    ):  # type: ignore
        with pytest.raises(TypeError, match="plain"):
            attempt()


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"unknown": 1},
        {"set": [[1]]},
        {"dict": [[[], 1]]},
        {"keys": [1]},
        {"items": {"mine": 0, "type": "dict"}},
        {"dict": [[1, 2, 3]]},
        {"int": "7 "+"x"},
        {"bytes": "0"},
        {"complex": [1, 2, 3]},
        {"range": [1, 2, 0]},
        {"type": "object"},
        {"yours": 0},
        {"yours": -1},
        {"yours": True},
        {"tuple": 3},
        {"mine": 1},
    ],
)  # fmt: skip
def test_what_is_no_value_breaks_the_link(told: object) -> None:
    link = Link(None, None, dict)  # type: ignore[arg-type]
    with pytest.raises(Broken):
        link.decode(told)


def test_nesting_is_limited_on_both_sides() -> None:
    deep: list = []
    for _ in range(500):
        deep = [deep]
    link = Link(None, None, dict)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="deep"):
        link.encode(deep)
    with pytest.raises(Broken):
        link.decode(deep)


@pytest.mark.parametrize(
    "sent",
    [b"", b"\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x05null", b"\x00\x00\x00\x04null", b"\x00\x00\x00\x02[]",
     b"\x00\x00\x00\x02{}", b'\x00\x00\x00\x0a{"told":1}', b"\x00\x00\x20\x00" + b"[" * 0x2000,
     b"\x00\x00\x20\x02" + b"1" * 0x2002],
)  # fmt: skip
def test_bytes_that_are_no_message_break_the_link(sent: bytes) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as incoming:
        with os.fdopen(writing, "wb") as outgoing:
            outgoing.write(sent)
        with pytest.raises(Broken):
            Link(incoming, None, dict).serve_forever()  # type: ignore[arg-type]


def test_requests_nest() -> None:
    """Each side may ask while it is being asked."""
    (a_in, b_out), (b_in, a_out) = os.pipe(), os.pipe()
    ends: list[Link] = []

    def count_down(me: int, request: dict) -> dict:
        left = request["left"]
        return {"sum": left + (ends[me].ask({"left": left - 1})["sum"] if left else 0)}

    for me, (reading, writing) in enumerate(((a_in, a_out), (b_in, b_out))):
        streams = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
        ends.append(Link(*streams, lambda request, me=me: count_down(me, request)))

    def serve() -> None:
        with pytest.raises(Broken):
            ends[1].serve_forever()

    server = threading.Thread(target=serve)
    server.start()
    assert ends[0].ask({"left": 10}) == {"sum": 55}
    ends[0]._outgoing.close()
    server.join()
    for stream in (ends[0]._incoming, ends[1]._incoming, ends[1]._outgoing):
        stream.close()


def test_an_exception_goes_by_its_nearest_built_in_name() -> None:
    class OwnError(KeyError):
        pass

    assert exception_name(OwnError()) == "KeyError"
    assert exception_name(SystemExit()) == "SystemExit"


@pytest.mark.parametrize("name", ["StopIteration", "StopAsyncIteration", "KeyboardInterrupt", "print", "no such", ""])
def test_an_exception_that_could_end_a_loop_or_is_none_is_an_ordinary_one(name: str) -> None:
    assert type(Link(None, None, dict).raised(name)) is RuntimeError  # type: ignore[arg-type]
