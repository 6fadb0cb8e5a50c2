"""Plain values as JSON, and what stands for everything else.

Plain are None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict and views of it, range and the
built-in types themselves. Instances of their subclasses pass as the plain value they hold, and iterators as an iterator
over what they yield. Anything else stays where it is, and the other side gets a `Remote` for it. Nothing that is read
can make the reader run code.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Protocol

DEEPEST = 100
MOST_YIELDED = 100_000
# Decimal digits of larger integers cost quadratic time, and reading them is refused by default.
LARGEST_DECIMAL = 2**1000

Message = dict[str, Any]
TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict, range, type(None))
}
_VIEWS: dict[str, type] = {"keys": type({}.keys()), "values": type({}.values()), "items": type({}.items())}


class Broken(BaseException):
    """The other side has ended or does not keep to the protocol; no test may catch this by accident."""


class Asker(Protocol):
    """What a `Remote` asks the other side through."""

    def call(self, remote: "Remote", args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call an object of the other side's."""
        ...

    def attribute(self, remote: "Remote", name: str) -> Any:
        """Read an attribute of one."""
        ...

    def set_attribute(self, remote: "Remote", name: str, value: Any) -> None:
        """Set an attribute of one."""
        ...


class Remote:
    """An object of the other side's: it can be called, its attributes read and set; it equals nothing."""

    __slots__ = ("_link", "_number", "_type")

    def __init__(self, link: "Asker", number: int, type_name: str) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_type", type_name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Have the other side call it."""
        return self._link.call(self, args, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._link.attribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.set_attribute(self, name, value)

    def _refuse(self, *_: object) -> Any:
        raise TypeError("only plain values can be judged")

    __hash__ = object.__hash__
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _refuse
    __iter__ = __len__ = __contains__ = __getitem__ = __str__ = __repr__ = __format__ = _refuse
    __reduce__ = __reduce_ex__ = _refuse


class Values:
    """Encodes values, keeps those that are not plain, and decodes what the other side encoded."""

    def __init__(self) -> None:
        self._kept: list[object] = []
        self._numbers: dict[int, int] = {}

    def keep(self, value: object) -> Any:
        """Keep an object for the other side to refer to; returns what stands for it."""
        number = self._numbers.setdefault(id(value), len(self._kept))
        if number == len(self._kept):
            self._kept.append(value)
        return {"mine": number, "type": type(value).__name__[:80]}

    def kept(self, number: int) -> object:
        """Return an object that was kept.

        Raises:
            Broken: when there is none of this number.
        """
        if type(number) is not int or not 0 <= number < len(self._kept):
            raise Broken
        return self._kept[number]

    def remote(self, number: int, type_name: str) -> Remote:
        """Return what stands here for an object that the other side keeps."""
        raise NotImplementedError

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Return what stands for a value in JSON."""
        if value is None or value is True or value is False:
            return value
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        kind = type(value)
        if kind is Remote:
            return {"yours": value._number}
        if isinstance(value, int):
            whole = int(value)
            return whole if -LARGEST_DECIMAL < whole < LARGEST_DECIMAL else {"int": hex(whole)}
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return str.__str__(value)
        if (encoded := self._encode_held(value, depth)) is not None:
            return encoded
        if kind is type and value in TYPES.values():
            return {"type": str(value.__name__)}
        if type(value).__module__ == "numpy" and hasattr(value, "dtype") and not getattr(value, "ndim", 1):
            return self.encode(value.item(), depth + 1)
        return self.keep(value)

    def _encode_held(self, value: Any, depth: int) -> Any:
        if isinstance(value, list):
            return [self.encode(item, depth + 1) for item in list.__iter__(value)]
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item, depth + 1) for item in tuple.__iter__(value)]}
        if isinstance(value, dict):
            return {"dict": [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in dict.items(value)]}
        if isinstance(value, (set, frozenset)):
            name = "set" if isinstance(value, set) else "frozenset"
            return {name: [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, (bytes, bytearray)):
            return {"bytes" if isinstance(value, bytes) else "bytearray": value.hex()}
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        if isinstance(value, range):
            return {"range": [self.encode(part) for part in (value.start, value.stop, value.step)]}
        for view, kind in _VIEWS.items():
            if isinstance(value, kind):
                return {view: self.encode(_seen(view, value), depth + 1)}
        if isinstance(value, Iterator):
            yielded = list(itertools.islice(value, MOST_YIELDED + 1))
            if len(yielded) > MOST_YIELDED:
                raise ValueError("yields without end")
            return {"iterator": [self.encode(one, depth + 1) for one in yielded]}
        return None

    def decode(self, told: Any, depth: int = 0) -> Any:
        """Return the value that JSON stands for.

        Raises:
            Broken: when it stands for none.
        """
        if told is None or isinstance(told, (bool, int, float, str)):
            return told
        if depth > DEEPEST:
            raise Broken
        if isinstance(told, list):
            return [self.decode(item, depth + 1) for item in told]
        try:
            return self._decode_marked(told, depth)
        except Exception as cause:  # a value of the wrong shape, an unhashable key, a number out of range
            raise Broken from cause

    def _decode_marked(self, told: Message, depth: int) -> Any:
        def items(name: str) -> Iterator[Any]:
            return (self.decode(item, depth + 1) for item in told[name])

        match next(iter(told)):
            case "tuple":
                return tuple(items("tuple"))
            case "dict":
                return dict(tuple(pair) for pair in items("dict"))
            case "keys" | "values" | "items" as view:
                return getattr(dict, view)(self.decode(told[view], depth + 1))
            case "set":
                return set(items("set"))
            case "frozenset":
                return frozenset(items("frozenset"))
            case "iterator":
                return iter(list(items("iterator")))
            case "int":
                return int(told["int"], 16)
            case "bytes":
                return bytes.fromhex(told["bytes"])
            case "bytearray":
                return bytearray.fromhex(told["bytearray"])
            case "complex":
                return complex(*map(float, told["complex"]))
            case "range":
                return range(*items("range"))
            case "type":
                return TYPES[told["type"]]
            case "mine":
                return self.remote(told["mine"], str(told["type"]))
            case "yours":
                return self.kept(told["yours"])
        raise Broken


def _seen(view: str, value: Any) -> dict[Any, Any]:
    """Return a dictionary that a view would see the same of."""
    if view == "values":
        return dict(enumerate(value))
    return dict.fromkeys(value) if view == "keys" else dict(value)
