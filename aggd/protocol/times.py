"""Times as people and programs send them.

2026-11-24T02:10:00Z    2026-11-24 03:10:00.5+01:00    1790000000    1790000000.25
"""

import math
import re
from datetime import UTC, datetime

RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-]\d\d:\d\d))", re.ASCII
)
LATEST = 253402300800.0  # the year 10000


def parse_time(value: object) -> float:
    """Seconds since the epoch, from RFC 3339 text or a number of such seconds.

    Raises
    ------
    ValueError
        If it is neither, or before 1970, or after the year 9999.
    """
    if isinstance(value, str):
        seconds = _parse_rfc3339(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < LATEST else math.nan
    else:
        seconds = math.nan
    if not 0.0 <= seconds < LATEST:
        raise ValueError(
            "time must be RFC 3339 such as 2026-11-24T02:10:00Z, or seconds since the epoch, "
            f"got {str(value)[:60]!r}"
        )
    return seconds


def _parse_rfc3339(text: str) -> float:
    found = RFC3339.fullmatch(text)
    if not found:
        return math.nan
    date, clock, fraction, zulu, offset = found.groups()
    try:
        whole = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if zulu else offset}")
        return whole.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)
    except (ValueError, OverflowError):
        return math.nan


def format_time(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339 in UTC, with a fraction only where there is one."""
    when = datetime.fromtimestamp(seconds, UTC)
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{when.microsecond:06d}".rstrip("0") if when.microsecond else "") + "Z"
