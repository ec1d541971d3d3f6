"""Times as people and programs send them.

2026-11-24T02:10:00Z    2026-11-24 03:10:00.5+01:00    1790000000    1790000000.25
"""

import math
import re
from datetime import UTC, datetime

# fromisoformat takes much that RFC 3339 doesn't: weeks, commas, +05:99, later ones 24:00.
HOUR = r"(?:[01]\d|2[0-3]):[0-5]\d"
RFC3339 = re.compile(
    rf"\d{{4}}-\d\d-\d\d[Tt ]{HOUR}:[0-5]\d(?:\.\d+)?(?:[Zz]|[+-]{HOUR})", re.ASCII
)
LATEST = 253402300800.0  # the year 10000
TIMES = "RFC 3339 such as 2026-11-24T02:10:00Z, or seconds since the epoch, 1970 to 9999"


def parse_time(value: str | float) -> float:
    """Seconds since the epoch, from RFC 3339 text (to the microsecond) or such a number.

    Raises
    ------
    ValueError
        If it is neither, or before 1970, or after the year 9999.
    """
    if isinstance(value, str):
        seconds = _parse_rfc3339(value)
    elif not isinstance(value, bool):
        seconds = float(value) if abs(value) < LATEST else math.nan
    else:
        seconds = math.nan
    if not 0.0 <= seconds < LATEST:
        raise ValueError(f"time must be {TIMES}, got {value!r:.60}")
    return seconds


def _parse_rfc3339(text: str) -> float:
    if not RFC3339.fullmatch(text):
        return math.nan
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except ValueError:
        return math.nan


def format_time(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339 in UTC, with a fraction only where there is one."""
    when = datetime.fromtimestamp(seconds, UTC)
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{when.microsecond:06d}".rstrip("0") if when.microsecond else "") + "Z"
