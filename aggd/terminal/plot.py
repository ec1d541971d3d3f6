"""Charts of a statistic over time: one, or one a group on one scale so that they compare."""

from collections.abc import Sequence
from datetime import datetime

from aggd.terminal.answers import Answer, Shown, buckets_head, over_time, tags
from aggd.terminal.chart import Curve, Size, Span, chart, scale
from aggd.terminal.table import printable
from aggd.units import parse_duration

GROUP_ROWS = 10  # of a chart that isn't alone
MOST_CHARTS = 12  # what a person can compare; the rest is counted


def plot(answer: Answer, shown: Shown, size: Size) -> str:
    """Draw the first statistic over the window of the answer."""
    statistic = shown.statistics[0]
    step = parse_duration(answer["step" if "step" in answer else "interval"])
    found = [(tags(of), _curve(rows, statistic, step)) for of, rows in over_time(answer)]
    values = [v for _, curve in found for v in curve.values if v is not None]
    if not values:
        return f"{answer['metric_name']}: nothing in this window"
    size = size if len(found) == 1 else Size(size.columns, GROUP_ROWS)
    time, level = Span(_seconds(answer["from"]), _seconds(answer["to"])), scale(values, size.inner)
    lines = buckets_head(answer, shown)
    for title, curve in found[:MOST_CHARTS]:
        lines += [printable(f"{statistic}  {title}".rstrip()), *chart(curve, size, time, level), ""]
    if len(found) > MOST_CHARTS:
        lines += [f"and {len(found) - MOST_CHARTS} more groups: narrow them with --tags", ""]
    return "\n".join(lines[:-1])


def _curve(rows: Sequence[Answer], statistic: str, step: float) -> Curve:
    times = [_seconds(row["timestamp"]) for row in rows]
    return Curve(times, [row.get(statistic) for row in rows], step)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
