"""Answers of the daemon as text: what they are about first, then a table.

    api.latency  timer  env:prod
    2026-11-24T02:00:00Z to 2026-11-24T02:15:00Z, resolution 10s, estimated

    count      1234
    p99.9   303.123  rank within 0.14 %

The same rows, with all their digits and columns, are what CSV has.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aggd.terminal.table import MISSING, aligned, as_csv, number, percent, printable

Answer = Mapping[str, Any]
Group = tuple[Answer, Sequence[Answer]]  # tags and rows

WINDOW = ("from", "to", "resolution", "exact")
ABOUT = ("name", "kind", "tags", *WINDOW, "rank_error", "statsd")
USUAL = ("count", "rate", "mean", "p50", "p99", "max", "last", "unique")  # of many series
WEIGHTS = ("count", "series", "bytes")  # of what is heavy
FRACTION = re.compile(r"\.[0-9]+Z$")


class Shown(NamedTuple):
    """What of an answer is shown, and in how many columns."""

    title: str = ""
    by: Sequence[str] = ()
    statistics: Sequence[str] = ()  # all there are, where it is empty
    first: Sequence[str] = ()  # else these before the usual ones
    columns: int = 80


class Table(NamedTuple):
    """Rows under a header; the first `left` columns are words."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    left: int

    def text(self) -> list[str]:
        """The table as aligned lines."""
        return aligned([self.header, *([_word(v) for v in row] for row in self.rows)], self.left)

    def csv(self) -> str:
        """The table as CSV."""
        return as_csv(self.header, self.rows)


def _word(value: Any) -> str:
    return (value or MISSING) if isinstance(value, str) else number(value)


def tags(found: Mapping[str, Any]) -> str:
    """Tags as they are asked for: ``env:prod,region:eu``."""
    pairs = ((k, v) for k, vs in found.items() for v in (vs if isinstance(vs, list) else [vs]))
    return ",".join(f"{k}:{v}" if v else k for k, v in pairs if v is not None)


def head(title: Iterable[str], groups: Sequence[Answer]) -> list[str]:
    """What answers of one window are about, and how good they are."""
    one = groups[0]
    exact = "exact" if all(group["exact"] for group in groups) else "estimated"
    return [
        printable("  ".join(filter(None, title))),
        f"{one['from']} to {one['to']}, resolution {one['resolution']}, {exact}",
        "",
    ]


def name_of(answer: Answer) -> tuple[str, str, str]:
    """What one series, or several as one, is called."""
    return answer["name"], answer["kind"], tags(answer["tags"])


def stats(answer: Answer, shown: Shown) -> str:
    """Statistics of one name: one a row, or a group a row."""
    if not shown.by:
        lines = head(name_of(answer), [answer])
        return "\n".join(lines + _row_a_statistic(answer, shown))
    groups = answer["series"]
    if not groups:
        return f"{answer['name']}: nothing in this window"
    lines = head((answer["name"], groups[0]["kind"], f"by {','.join(shown.by)}"), groups)
    names = shown.statistics or _told(groups, statistics(groups))
    rows = [[*_values(group["tags"], shown.by), *map(group.get, names)] for group in groups]
    return "\n".join(lines + Table([*shown.by, *names], rows, len(shown.by)).text())


def _row_a_statistic(answer: Answer, shown: Shown) -> list[str]:
    answer = {**answer, **answer.get("statsd", {})}
    names = shown.statistics or _told([answer], statistics([answer]))
    off = answer["rank_error"]
    notes = [f"  rank within {percent(off[n], 2)}" if off.get(n) else "" for n in names]
    rows = aligned([[name, number(answer.get(name))] for name in names], left=1)
    return [row + note for row, note in zip(rows, notes, strict=True)]


def statistics(groups: Iterable[Answer]) -> list[str]:
    """The names of all statistics that any group has a key for."""
    return [key for key in dict.fromkeys(k for group in groups for k in group) if key not in ABOUT]


def _told(groups: Sequence[Answer], names: Iterable[str]) -> list[str]:
    """Those of the statistics that any of the groups has."""
    return [name for name in names if any(group.get(name) is not None for group in groups)]


def _values(found: Mapping[str, Any], keys: Iterable[str]) -> list[str | None]:
    """The values of some keys of tags; None where there is none."""
    values = (found.get(key) for key in keys)
    return [",".join(value) if isinstance(value, list) else value for value in values]


def matching(answer: Answer, shown: Shown) -> str:
    """Statistics of many series, one a row."""
    groups = answer["series"]
    names = shown.statistics or _told(groups, dict.fromkeys((*shown.first, *USUAL)))
    rows = [[g["name"], g["kind"], tags(g["tags"]), *map(g.get, names)] for g in groups]
    lines = head((shown.title, f"{len(groups)} series"), groups)
    lines += Table(["name", "kind", "tags", *names], rows, 3).text()
    if answer["truncated"]:
        lines += ["", "More match: ask for them with --limit, or narrow the name."]
    return "\n".join(lines)


def stats_table(answer: Answer, shown: Shown) -> Table:
    """Statistics with all that they are about, a series or a group a row."""
    groups = answer.get("series", [answer])
    names = shown.statistics or list(dict.fromkeys((*statistics(groups), "unique")))
    header = ["name", "kind", *_tag_columns(shown.by), *WINDOW, *names]
    rows = [
        [
            *(group["name"], group["kind"]),
            *(_values(group["tags"], shown.by) if shown.by else [tags(group["tags"])]),
            *map(group.get, (*WINDOW, *names)),
        ]
        for group in groups
    ]
    return Table(header, rows, 3)


def _tag_columns(by: Sequence[str]) -> list[str]:
    return [f"tags.{key}" for key in by] or ["tags"]


def buckets(answer: Answer, shown: Shown) -> str:
    """Statistics over time: a bucket or a point a row."""
    table = buckets_table(answer, shown)
    if not table.rows:
        return f"{answer['metric_name']}: nothing in this window"
    words = [name.removeprefix("tags.") for name in table.header]
    return "\n".join(buckets_head(answer, shown) + table._replace(header=words).text())


def buckets_head(answer: Answer, shown: Shown) -> list[str]:
    """What statistics over time are about."""
    pace = (
        f"over {answer['window']}, every {answer['step']}"
        if "window" in answer
        else f"every {answer['interval']}"
    )
    by = f"by {','.join(shown.by)}" if shown.by else ""
    lines = head((answer["metric_name"], pace, by), [answer])
    off = answer["rank_error"].items()
    notes = [f"{name}: rank within {percent(error, 2)}" for name, error in off if error]
    return [*lines[:-1], *notes, ""]


def buckets_table(answer: Answer, shown: Shown) -> Table:
    """Buckets or points under the names of their statistics."""
    rows = [(of, row) for of, rows in over_time(answer) for row in rows]
    names = [name for name in shown.statistics if name != "count"]
    header = [*(_tag_columns(shown.by) if shown.by else ()), "timestamp", "count", *names]
    cells = [
        [*_values(of, shown.by), *map(row.get, ("timestamp", "count", *names))] for of, row in rows
    ]
    return Table(header, cells, len(shown.by) + 1)


def over_time(answer: Answer) -> Iterator[Group]:
    """The tags and the buckets, or the points, of every group."""
    for group in answer.get("series", [answer]):
        yield group.get("tags", {}), group["buckets"] if "buckets" in group else group["points"]


def top(answer: Answer, shown: Shown) -> str:
    """The heaviest names, then the heaviest prefixes."""
    lines = head((f"heaviest by {answer['by']}",), [answer])
    if not answer["names"]:
        return "\n".join([*lines, "Nothing in this window."])
    names = [[row["name"], row["kind"], *map(row.get, WEIGHTS)] for row in answer["names"]]
    lines += Table(["name", "kind", *WEIGHTS], names, 2).text()
    prefixes = [[row["prefix"], *map(row.get, WEIGHTS)] for row in answer["prefixes"]]
    return "\n".join([*lines, "", *Table(["prefix", *WEIGHTS], prefixes, 1).text()])


def top_table(answer: Answer, shown: Shown) -> Table:
    """Names and prefixes in one table; these have no kind."""
    rows = [
        [what, row[what], row.get("kind"), *map(row.get, WEIGHTS)]
        for what, key in (("name", "names"), ("prefix", "prefixes"))
        for row in answer[key]
    ]
    return Table(["what", "name", "kind", *WEIGHTS], rows, 3)


def series(rows: Sequence[Answer]) -> Table:
    """Which series there are, one a row."""
    header = ["name", "kind", "tags", "first_seen", "last_seen"]
    cells = [[r["name"], r["kind"], tags(r["tags"]), *map(r.get, header[3:])] for r in rows]
    return Table(header, cells, len(header))


def series_text(rows: Sequence[Answer]) -> str:
    """The same for people: times to the second."""
    table = series(rows)
    cells = [[*row[:3], *(FRACTION.sub("Z", at) for at in row[3:])] for row in table.rows]
    return "\n".join(table._replace(rows=cells).text())
