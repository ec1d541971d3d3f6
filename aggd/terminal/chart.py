"""A line over time, drawn with braille dots: two across and four down in every cell.

    300 ┤     ⢀⠔⠁⠈⠖⠒⠒⢲          ⢀⡄
        │   ⡰⢣⠃      ⠈⣆⡀       ⢠⢆⠎
    200 ┤ ⡰⠁           ⠈⠢⡀    ⠰⠁⠈
        └┬───────────┬───────────┬─
         16:00       16:10       16:20

Points further apart than a step of the question aren't joined: nothing is known between them.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil, floor, log10
from typing import NamedTuple

from aggd.terminal.table import number
from aggd.units import DAY, HOUR, MINUTE, YEAR

BLANK = 0x2800  # the braille cell without dots
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # bits of a cell, by column and row
ROWS_A_LABEL = 2
LEAST_ROWS, LEAST_COLUMNS = 4, 20
BETWEEN_TIMES = 4  # columns
HUGE, TINY = 1e300, 1e-300  # what is further out is drawn at the edge, what is nearer as zero
CONSTANT = 1e-12  # of the level: what varies less is the rounding of sums

# The nice distances of times on an axis, in seconds, and how such times are written.
TIME_STEPS = (
    *((n, "%H:%M:%S") for n in (1, 2, 5, 10, 15, 30)),
    *((n * MINUTE, "%H:%M") for n in (1, 2, 5, 10, 15, 30)),
    *((n * HOUR, "%H:%M") for n in (1, 2, 3, 6, 12)),
    *((n * DAY, "%m-%d") for n in (1, 2, 7, 14, 28, 91, 182)),
    *((n * YEAR, "%Y-%m") for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
)


class Curve(NamedTuple):
    """Points of one line; times in seconds since the epoch, ascending, and None for no value."""

    times: Sequence[float]
    values: Sequence[float | None]
    step: float  # seconds; a longer gap parts the line


class Size(NamedTuple):
    """Columns and rows of a chart, its axes among them."""

    columns: int
    rows: int

    @property
    def inner(self) -> int:
        """Rows that the line has."""
        return max(self.rows - 2, LEAST_ROWS)


class Span(NamedTuple):
    """What an axis reaches over, and the distance of its labels."""

    low: float
    high: float
    step: float = 0.0

    @property
    def length(self) -> float:
        """From end to end; never zero."""
        return (self.high - self.low) or 1.0

    def place(self, value: float, dots: int) -> int:
        """The dot, of so many, that a value falls on; the first or the last if it is outside."""
        place = round((value - self.low) / self.length * (dots - 1))
        return min(max(place, 0), dots - 1)


def scale(values: Sequence[float], rows: int) -> Span:
    """A span of nice numbers around all values; from zero, where they reach near it."""
    bounded = [0.0 if abs(v) < TINY else max(-HUGE, min(v, HUGE)) for v in values]
    low, high = min(bounded, default=0.0), max(bounded, default=1.0)
    if 0 < low <= high / 2:
        low = 0.0
    elif low / 2 <= high < 0:
        high = 0.0
    if high - low <= CONSTANT * max(abs(low), abs(high)):
        around = abs(low) / 2 or 0.5
        low, high = low - around, high + around
    step = nice((high - low) / max(1, rows // ROWS_A_LABEL))
    return Span(floor(low / step) * step, ceil(high / step) * step, step)


def nice(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** floor(log10(step))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= step * (1 - 1e-9))


def chart(curve: Curve, size: Size, time: Span, level: Span) -> list[str]:
    """The lines of a chart over `time`; `level` as `scale` gives it."""
    labels = _labels(level, size.inner)
    margin = max(map(len, labels.values()))
    width = max(size.columns - margin - 2, LEAST_COLUMNS)
    lines = draw(curve, Size(width, size.inner), time, level)
    drawn = [
        f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}{line}".rstrip()
        for row, line in enumerate(lines)
    ]
    axis, times = _time_axis(time, width)
    return [*drawn, f"{'':{margin}} └{axis}", f"{'':{margin}}  {times}".rstrip()]


def _labels(level: Span, rows: int) -> dict[int, str]:
    """Labels of the vertical axis, by row."""
    decimals = max(0, -floor(log10(level.step)))
    values = [level.low + level.step * i for i in range(round(level.length / level.step) + 1)]
    return {
        rows - 1 - level.place(value, rows): (
            f"{value:.{decimals}f}" if abs(value) < 1e9 and decimals < 9 else number(value)
        )
        for value in values
    }


def draw(curve: Curve, size: Size, time: Span, level: Span) -> list[str]:
    """The line alone, as a text a row."""
    cells = [[BLANK] * size.columns for _ in range(size.rows)]
    for x, y in _dots(curve, Size(size.columns * 2, size.rows * 4), time, level):
        down = size.rows * 4 - 1 - y
        cells[down // 4][x // 2] |= DOTS[x % 2][down % 4]
    return ["".join(map(chr, row)).replace(chr(BLANK), " ") for row in cells]


def _dots(curve: Curve, dots: Size, time: Span, level: Span) -> Iterator[tuple[int, int]]:
    """Every dot that the line touches, counted from the left and from the bottom."""
    points = [
        (at, time.place(at, dots.columns), level.place(value, dots.rows))
        for at, value in zip(curve.times, curve.values, strict=True)
        if value is not None
    ]
    for _, x, y in points[:1]:
        yield x, y
    for (before, x0, y0), (at, x, y) in pairwise(points):
        joined = at - before <= 1.5 * curve.step
        steps = max(x - x0, abs(y - y0), 1) if joined else 1
        for i in range(1, steps + 1):
            yield x0 + round((x - x0) * i / steps), y0 + round((y - y0) * i / steps)


def _time_axis(time: Span, width: int) -> tuple[str, str]:
    """The horizontal axis, and the times under it in UTC."""
    axis, labels = ["─"] * width, [" "] * width
    for at, text in _times(time, width):
        x = time.place(at, width)
        axis[x] = "┬"
        if x + len(text) <= width:
            labels[x : x + len(text)] = text
    return "".join(axis), "".join(labels)


def _times(time: Span, width: int) -> list[tuple[float, str]]:
    """Nice times of a span, as many as there is room for; its start where there is none."""
    for step, form in TIME_STEPS:
        room = width * step / time.length
        if room >= len(_written(0, form)) + BETWEEN_TIMES:
            break
    nice_ones = range(ceil(time.low / step), floor(time.high / step) + 1)
    return [(n * step, _written(n * step, form)) for n in nice_ones] or [
        (time.low, _written(time.low, "%Y-%m-%d %H:%M"))
    ]


def _written(seconds: float, form: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(form)
