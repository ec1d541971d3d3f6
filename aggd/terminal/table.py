"""Aligned columns, numbers as people read them, CSV, bars.

What senders call their series is untrusted text: whatever a terminal would obey
is written as an escape.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

MISSING = "-"
EIGHTHS = " ▏▎▍▌▋▊▉█"
DRAWN = re.compile("[\u2588-\u258f\u2800-\u28ff]+")
ALERT = re.compile("^ALERT .*$", re.MULTILINE)
# What stands for blocks, lines and dots where the output knows only ASCII.
PLAIN = {**dict.fromkeys(map(ord, EIGHTHS[1:]), "#"), ord("│"): "|", ord("┤"): "+",
         ord("┼"): "+", ord("└"): "+", ord("─"): "-", ord("┬"): "+", 0x2800: " ",
         **dict.fromkeys(range(0x2801, 0x2900), "*")}  # fmt: skip


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns as wide as their widest cell, the first `left` to the left, numbers to the right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths, left)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int], left: int) -> Iterable[str]:
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        blank = " " * (width - columns(cell))
        yield cell + blank if i < left else blank + cell


def columns(text: str) -> int:
    """Columns that a text takes in a terminal: two a wide letter, none a combining mark."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def printable(text: str) -> str:
    """A text without what a terminal obeys, such as the escapes that clear it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def number(value: float | None) -> str:
    """Six digits of a number, whole ones entire; absent is ``-``."""
    if value is None:
        return MISSING
    whole = abs(value) < 1e15 and (abs(value) >= 1e6 or float(value).is_integer())
    return f"{value:.0f}" if whole else f"{value:.6g}"


def percent(fraction: float | None, digits: int = 4, sign: str = "") -> str:
    """A fraction as ``12.5 %``; `sign` is ``+`` where it is a change."""
    return MISSING if fraction is None else f"{100 * fraction:{sign}.{digits}g} %"


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows under a header, numbers with all their digits; absent is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def bar(part: float, width: int) -> str:
    """A bar of a fraction of `width` columns, to the eighth; what isn't nothing is seen."""
    eighths = max(round(part * width * 8), int(part > 0))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def painted(text: str) -> str:
    """The same text with what is drawn in cyan, and alerts in red."""
    text = DRAWN.sub("\x1b[36m\\g<0>\x1b[0m", text)
    return ALERT.sub("\x1b[1;31m\\g<0>\x1b[0m", text)


def plain(text: str) -> str:
    """The same drawing in ASCII; other letters that it lacks become ``?``."""
    return text.translate(PLAIN).encode("ascii", "replace").decode()
