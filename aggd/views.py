"""The views that ``aggd query`` has of a series: what each asks, and what it goes with.

    --interval 5m --by host     --->  POST aggregate {"metric_name", "interval": "5m", "by": "host"}
    --slo 300:0.99              --->  GET slo/NAME?threshold=300&objective=0.99
    'api.*' --sort -p99         --->  GET stats?match=api.*&sort=-p99

Options that exclude each other are refused by name: ValueError.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import NamedTuple

from aggd.client import Answer, Question, Reply
from aggd.errors import AnswerError
from aggd.terminal import analyses, answers
from aggd.terminal.answers import Shown, Table
from aggd.terminal.chart import TIME_STEPS, Size
from aggd.terminal.plot import plot
from aggd.units import format_duration, parse_duration

Options = Mapping[str, str]

WINDOW = ("last", "from", "to", "tags", "kind")
OUTPUTS = ("json", "csv", "plot")
ALWAYS = (*WINDOW, "json")  # go with every view
PACES = {"interval", "step"}  # of a view over time
GLOB = re.compile(r"[*?[]")
BINS = "20"  # of a histogram in a terminal

# What a view over time shows of a kind, where no statistics are asked for.
USUAL = {
    "timer": ("mean", "p50", "p99"),
    "counter": ("sum", "rate"),
    "gauge": ("last", "mean", "min", "max"),
    "set": ("unique",),
}


class View(NamedTuple):
    """One way to look at series."""

    title: str  # what messages call it
    takes: Sequence[str]  # options beside ALWAYS
    question: Callable[[str, Options], Question]
    text: Callable[[Answer, Shown], str]
    table: Callable[[Answer, Shown], Table] | None = None  # for CSV
    over_time: bool = False  # needs statistics, and can be drawn


def _sent(asked: Options, *more: str) -> dict[str, str]:
    return {key: text for key, text in asked.items() if key in WINDOW or key in more}


def _stats(name: str, asked: Options) -> Question:
    return Question(("stats", name), _sent(asked, "percentiles", "statistics", "by"), "name")


def _matching(name: str, asked: Options) -> Question:
    sent = _sent(asked, "percentiles", "statistics", "by", "sort", "limit")
    sorted_by = asked.get("sort", "name").removeprefix("-")
    if sorted_by != "name":  # rows are sorted by what they show
        sent["statistics"] = ",".join([*words(asked.get("statistics")), sorted_by])
    return Question(("stats",), {"match": name, **sent}, "series")


def words(text: str | None) -> list[str]:
    """The items of a list such as ``mean,p99``."""
    return [word.strip() for word in text.split(",") if word.strip()] if text else []


def _interval(name: str, asked: Options) -> Question:
    sent = _sent(asked, "by", "interval")
    sent |= {"metric_name": name, "aggregation": asked["statistics"]}
    return Question(("aggregate",), sent, "metric_name", posted=True)


def _rolling(name: str, asked: Options) -> Question:
    sent = _sent(asked, "by", "step")
    sent |= {"metric_name": name, "aggregation": asked["statistics"], "window": asked["rolling"]}
    return Question(("rolling",), sent, "metric_name", posted=True)


def _compare(name: str, asked: Options) -> Question:
    sent = {**_sent(asked, "percentiles"), "offset": asked["compare"]}
    return Question(("compare", name), sent, "current")


def _slo(name: str, asked: Options) -> Question:
    threshold, objective = asked["slo"].split(":")
    sent = {**_sent(asked), "threshold": threshold.strip(), "objective": objective.strip()}
    return Question(("slo", name), sent, "good")


def _distribution(name: str, asked: Options) -> Question:
    return Question(("distribution", name), {**_sent(asked), "bins": BINS}, "histogram")


def _top(name: str, asked: Options) -> Question:
    return Question(("top",), _sent(asked, "by", "limit"), "names")


STATS = View(
    "statistics of one window",
    ("percentiles", "by", "statistics", "csv"),
    _stats,
    answers.stats,
    answers.stats_table,
)
MATCHING = View(
    "a glob such as 'api.*'",
    ("percentiles", "by", "statistics", "sort", "limit", "csv"),
    _matching,
    answers.matching,
    answers.stats_table,
)
INTERVAL = View(
    "--interval",
    ("interval", "by", "statistics", "csv", "plot"),
    _interval,
    answers.buckets,
    answers.buckets_table,
    over_time=True,
)
ROLLING = INTERVAL._replace(
    title="--rolling",
    takes=("rolling", "step", "by", "statistics", "csv", "plot"),
    question=_rolling,
)
COMPARE = View(
    "--compare",
    ("compare", "percentiles", "csv"),
    _compare,
    analyses.compare,
    analyses.compare_table,
)
SLO = View("--slo", ("slo",), _slo, analyses.slo)
DISTRIBUTION = View("--distribution", ("distribution",), _distribution, analyses.distribution)
TOP = View("top", ("by", "limit", "csv"), _top, answers.top, answers.top_table)
ASKED_FOR = (INTERVAL, ROLLING, COMPARE, SLO, DISTRIBUTION)  # by the option in their title


def view(name: str, asked: Options) -> View:
    """The view that options ask for; raises ValueError where they exclude each other."""
    consistent(asked)
    among = [view for view in ASKED_FOR if view.title[2:] in asked]
    _one_of([view.title for view in among])
    if GLOB.search(name) and among:
        raise ValueError(f"{among[0].title} is for one name, not for a glob such as {name!r}")
    if among:
        found = among[0]
    elif GLOB.search(name):
        found = MATCHING
    else:
        found = INTERVAL._replace(title="--plot") if "plot" in asked else STATS
    _refuse_ignored(found, asked)
    return found


def consistent(asked: Options) -> None:
    """Refuse two windows, two ways to print one answer, an objective that is none."""
    if "last" in asked and ("from" in asked or "to" in asked):
        raise ValueError("--last is a window of its own: leave out --from and --to")
    _one_of([f"--{key}" for key in OUTPUTS if key in asked])
    if "slo" in asked and asked["slo"].count(":") != 1:
        raise ValueError(
            f"--slo must be THRESHOLD:OBJECTIVE such as 300:0.99, got {asked['slo']!r}"
        )


def _one_of(options: Sequence[str]) -> None:
    if len(options) > 1:
        raise ValueError(f"{' and '.join(options)} exclude each other")


def _refuse_ignored(found: View, asked: Options) -> None:
    """Refuse options that the view would have to ignore."""
    for key in asked:
        if key not in ALWAYS and key not in found.takes:
            others = [v.title for v in (STATS, MATCHING, *ASKED_FOR) if key in v.takes]
            raise ValueError(f"--{key} goes with {' or '.join(others)}, not with {found.title}")


def outline(found: View, name: str, asked: Options) -> Question | None:
    """What to ask first, where the kind or the window of a name decide what is asked then."""
    if not found.over_time or ("statistics" in asked and asked.keys() & PACES):
        return None
    return Question(("stats", name), _sent(asked), "kind")


def completed(asked: Options, about: Answer, columns: int) -> dict[str, str]:
    """Options with what was left open: the usual statistics, a pace that fits a chart."""
    full = {"statistics": ",".join(USUAL[about["kind"]]), **asked}
    if not asked.keys() & PACES:
        start, end = (datetime.fromisoformat(about[edge]).timestamp() for edge in ("from", "to"))
        pace = fitting(end - start, columns, about["resolution"])
        full["step" if "rolling" in asked else "interval"] = format_duration(pace)
    return full


def fitting(seconds: float, columns: int, resolution: str) -> float:
    """The shortest nice interval, in seconds, that makes no more buckets than columns."""
    finest, least = parse_duration(resolution), seconds / columns
    steps = (step for step, _ in TIME_STEPS if step >= least and step % finest == 0)
    return next(steps, finest * ceil(least / finest))


def rendered(view: View, name: str, asked: Options, reply: Reply, size: Size) -> str:
    """An answer as it shall be printed; raises AnswerError where nothing matches."""
    answer = reply.answer
    if view is MATCHING and not answer["series"]:
        raise AnswerError(f"nothing matches {name!r}; see what there is with 'aggd series'")
    if "json" in asked:
        return reply.text
    shown = _shown(name, asked, size)
    if "csv" in asked and view.table:
        return view.table(answer, shown).csv()
    return plot(answer, shown, size) if "plot" in asked else view.text(answer, shown)


def _shown(name: str, asked: Options, size: Size) -> Shown:
    sort = asked.get("sort", "name").removeprefix("-")
    first = [] if sort == "name" else [sort]
    # As the daemon names them: p99.9 where 99.90 was asked for.
    first += [f"p{float(p)!r}".removesuffix(".0") for p in words(asked.get("percentiles"))]
    by, statistics = words(asked.get("by")), words(asked.get("statistics"))
    return Shown(name, by, statistics, first, size.columns)


def narrowed(asked: Options) -> dict[str, str]:
    """What narrows a list of series."""
    return {key: text for key, text in asked.items() if key in ("tags", "kind")}


def listed(match: str, asked: Options, found: Sequence[Answer]) -> str:
    """A list of series as it shall be printed; raises AnswerError where there are none."""
    if "json" in asked:
        return json.dumps({"series": found, "cursor": None}, ensure_ascii=False)
    if not found:
        raise AnswerError(f"nothing matches {match!r}")
    return answers.series(found).csv() if "csv" in asked else answers.series_text(found)
