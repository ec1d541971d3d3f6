"""What an option takes: how its value is read from text, what it must be, its bounds."""

import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from msgspec import Meta

from aggd.units import MINUTE, format_duration, format_size, parse_duration, parse_size


class Address(NamedTuple):
    """Where to bind or send: a pair that a socket takes as it is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``127.0.0.1:8125``, ``[::1]:8125`` or ``localhost:8125``; else raise ValueError."""
    found = re.fullmatch(r"(?:\[([^][\s]+)]|([^][\s:,]+)):([0-9]{1,5})", text.strip())
    if not found or int(found[3]) > 65535:
        raise ValueError(f"not an address such as 127.0.0.1:8125 or [::1]:8125: {text!r}")
    return Address(found[1] or found[2], int(found[3]))


class Reader(NamedTuple):
    """How a value is read from text, what it is, and how a bound of it is written."""

    read: Callable[[str], Any]  # raises ValueError
    what: str
    write: Callable[[Any], str] = str


def _addresses(text: str) -> tuple[Address, ...]:
    return tuple(parse_address(item) for item in text.split(",")) if text.strip() else ()


def _whole_seconds(text: str) -> int:
    seconds = parse_duration(text)
    if not seconds.is_integer():
        raise ValueError(f"not whole seconds: {text!r}")
    return int(seconds)


def _interval(text: str) -> int:
    seconds = _whole_seconds(text)
    if not seconds or MINUTE % seconds:
        raise ValueError(f"does not divide a minute: {text!r}")
    return seconds


def _thresholds(text: str) -> tuple[float, ...]:
    """Each number once; every comparison with NaN is false."""
    found = tuple(dict.fromkeys(float(item) for item in text.split(","))) if text.strip() else ()
    if not all(0 < abs(p) <= 100 for p in found):
        raise ValueError(f"not from -100 to 100, or 0: {text!r}")
    return found


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"neither true nor false: {text!r}")
    return text.lower() == "true"


_INTERVALS = ", ".join(f'"{n}s"' for n in range(1, MINUTE + 1) if MINUTE % n == 0)
_ADDRESS = 'an address such as "127.0.0.1:8125" or "[::1]:8125"'
_THRESHOLD = "a number from -100 to 100 other than 0"
_DURATION = 'a duration such as "10s", "5min", "1h" or "7d"'
_READERS = {
    int: Reader(int, "a whole number"),
    bool: Reader(_truth, "true or false"),
    str: Reader(str, "a string"),
}

Bind = Annotated[Address, Reader(parse_address, _ADDRESS)]
Binds = Annotated[tuple[Address, ...], Reader(_addresses, f"{_ADDRESS}, or a list of such")]
Bytes = Annotated[int, Reader(parse_size, 'a size such as "512KiB" or "16MiB"', format_size)]
Interval = Annotated[int, Reader(_interval, f"one that divides a minute: {_INTERVALS}")]
Pause = Annotated[float, Reader(parse_duration, 'a duration such as "300us"', format_duration)]
Thresholds = Annotated[tuple[float, ...], Reader(_thresholds, f"{_THRESHOLD}, or a list of such")]
Seconds = Annotated[int, Reader(_whole_seconds, f"{_DURATION}, in whole seconds", format_duration)]


class Option(NamedTuple):
    """What a key takes."""

    reader: Reader
    low: float | None
    high: float | None
    types: tuple[type, ...]  # of its value in the file; elsewhere all is text


def option(hint: Any) -> Option:
    """Tell from the annotation of a field what its key takes."""
    base, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    own = next((x for x in extras if isinstance(x, Reader)), None)
    reader = own or _READERS.get(base) or _choice(get_args(base))
    bounds = next((x for x in extras if isinstance(x, Meta)), Meta())
    types = {
        str: (str,),
        tuple[Address, ...]: (str, list),
        tuple[float, ...]: (str, int, float, list),
    }.get(base, (str, int, float))
    return Option(reader, bounds.ge, bounds.le, types)


def _choice(words: tuple[str, ...]) -> Reader:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return Reader(read, "one of " + ", ".join(f'"{word}"' for word in words))
