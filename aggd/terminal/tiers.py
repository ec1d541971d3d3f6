"""Tables of what a state directory holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from aggd.terminal.table import MISSING, aligned, number
from aggd.units import DAY, HOUR, MINUTE, YEAR

HEADER = (
    "tier",
    "from",
    "to",
    "slots",
    "of",
    "files",
    "bytes",
    "a slot",
    "series",
    "full",
    "reach",
)


def storage(answer: Mapping[str, Any]) -> str:
    """Tiers as a table, and below it what all of them take, now and when full."""
    rows = [HEADER, *map(_row, answer["tiers"])]
    now, budget, full = (size(answer[key]) for key in ("bytes", "max_bytes", "full_bytes"))
    fits = answer["full_bytes"] <= answer["max_bytes"]
    verdict = "fits" if fits else "doesn't fit: reach says how far back each goes then"
    lines = [
        f"{now} of storage.max_bytes {budget}",
        f"at the present load all tiers take {full} when full, which {verdict}",
    ]
    return "\n".join([*aligned(rows, 3), "", *lines])


def _row(tier: Mapping[str, Any]) -> Sequence[str]:
    return (
        tier["tier"],
        tier["from"] or MISSING,
        tier["to"] or MISSING,
        number(tier["slots"]),
        number(tier["capacity"]),
        number(tier["files"]),
        size(tier["bytes"]),
        size(tier["slot_bytes"]),
        number(tier["series"]),
        size(tier["full_bytes"]),
        span(tier["reach"]),
    )


def size(nbytes: float) -> str:
    """Three digits of a number of bytes, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1024
    return f"{nbytes:.3g} TiB"


def span(seconds: float) -> str:
    """Three digits of a length of time, in the largest unit of which it has two."""
    units = ((YEAR, "y"), (DAY, "d"), (HOUR, "h"), (MINUTE, "m"))
    length, unit = next((found for found in units if seconds >= 2 * found[0]), (1, "s"))
    return f"{seconds / length:.3g}{unit}"
