"""Durations and sizes as people write them, and back: the one place that knows units."""

import math
import re

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

# Lower case only: M is a month to some readers and a minute to others.
_SECONDS_IN = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), HOUR),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("w", "week", "weeks"), 7 * DAY),
    **dict.fromkeys(("y", "year", "years"), YEAR),
}
# Divisors: 300 / 1e6 is the float nearest to 0.0003, 300 * 1e-6 is its neighbour.
_PARTS_OF_SECOND = {"ms": 1_000, "us": 1_000_000, "\N{MICRO SIGN}s": 1_000_000}
_BYTES_IN = {
    **{"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
    **{"kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB},
}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|\.[0-9]+)?\s*([^\W\d_]*)")


def parse_duration(text: str) -> float:
    """Seconds in ``10s``, ``5m``, ``1h``, ``7d``, ``1w``, ``5y``, ``300us``, ``5 minutes``.

    A number alone is seconds, a word alone (``hour``) is one of it, a year has 365 days.
    Raises ValueError for anything else, a sign and infinity among them.
    """
    number, unit = _amount(text)
    if unit in _PARTS_OF_SECOND:
        seconds = float(number or 1) / _PARTS_OF_SECOND[unit]
    elif unit in _SECONDS_IN or (number and not unit):
        seconds = float(number or 1) * _SECONDS_IN.get(unit, 1)
    else:
        seconds = math.inf
    if math.isinf(seconds):
        raise ValueError(f"not a duration such as 10s, 5min, 1h or 7d: {text!r}")
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds in the largest unit that keeps them whole: ``90s``, ``1h``, ``300us``."""
    for unit, size in (("y", YEAR), ("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1)):
        whole = seconds // size
        if whole and whole * size == seconds:
            return f"{whole:.0f}{unit}"
    for unit, parts in (("ms", 1_000), ("us", 1_000_000)):
        whole = round(seconds * parts)
        if whole and whole / parts == seconds:
            return f"{whole}{unit}"
    return f"{seconds:g}s" if float(f"{seconds:g}") == seconds else f"{float(seconds)!r}s"


def parse_size(text: str) -> int:
    """Bytes in ``256MiB``, ``1.5 GiB``, ``10MB``, ``512``; MiB is 2**20 and MB is 10**6.

    A bare ``M`` is refused with everything else that is no size (ValueError): half of the
    programs around us take it for 10**6, half for 2**20.
    """
    number, unit = _amount(text)
    size = float(number or "nan") * _BYTES_IN.get(unit.lower(), math.nan)
    if not size.is_integer():
        raise ValueError(f"not a whole number of bytes such as 512, 16KiB or 256MiB: {text!r}")
    return int(size)


def format_size(size: int) -> str:
    """Write bytes in the largest binary unit that keeps them whole: ``256MiB``, ``1000B``."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _amount(text: str) -> tuple[str, str]:
    """Split ``1.5 GiB`` into number and unit; either may be empty, ``?`` is no unit."""
    found = _AMOUNT.fullmatch(text.strip())
    return (found[1] or "", found[2]) if found else ("", "?")
