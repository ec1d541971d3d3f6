"""Commands that ask a running daemon: statistics of series, what is heavy, which there are."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aggd.exits import ALERTING, WRONG, Failure, Unusable

if TYPE_CHECKING:
    from aggd.views import View

KINDS = ("timer", "gauge", "counter", "set")
MEASURES = ("count", "series", "memory")
URL = "http://127.0.0.1:8127"
CHART_ROWS = 20  # at most
AROUND_CHART = 6  # rows: what it is about before it, the prompt after it

Command = TypeVar("Command", bound=Callable[..., Any])


def _address(context: click.Context, option: click.Parameter, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"not an address such as {URL}: {url!r}")
    return url


WINDOW_OPTIONS = (
    click.option("--last", metavar="DURATION", help="The window that ends now: 15m, 1h, 7d."),
    click.option("--from", metavar="TIME", help="Start: 2026-11-24T02:10:00Z or seconds."),
    click.option("--to", metavar="TIME", help="End, which isn't part of the window."),
)
SERIES_OPTIONS = (
    click.option("--tags", metavar="TAG[,TAG]", help="Only series with these: env:prod,host:a."),
    click.option("--kind", type=click.Choice(KINDS), help="Which of those that share a name."),
)
OUTPUT_OPTIONS = (
    click.option("--url", default=URL, show_default=True, callback=_address, help="Where aggd is."),
    click.option("--json", is_flag=True, help="Print the answer as it came."),
    click.option("--csv", is_flag=True, help="Print rows with a header, all digits kept."),
)


def _all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order of --help."""
    return lambda command: reduce(lambda done, option: option(done), reversed(options), command)


@click.command(short_help="Print, compare or draw the statistics of a series.")
@click.argument("name")
@_all(*WINDOW_OPTIONS, *SERIES_OPTIONS)
@click.option("-p", "--percentiles", metavar="P[,P]", help="Such as 50,99.9.")
@click.option("--by", metavar="KEY[,KEY]", help="One row for each value of these tags.")
@click.option("-s", "--statistics", metavar="S[,S]", help="Which to show: mean,p99.")
@click.option("--interval", metavar="DURATION", help="A row for each such part of the window.")
@click.option("--rolling", metavar="DURATION", help="A row a step, each over as much before it.")
@click.option("--step", metavar="DURATION", help="From row to row of --rolling.")
@click.option("--compare", metavar="OFFSET", help="With the same window, so much earlier: 1d.")
@click.option(
    "--slo",
    metavar="THRESHOLD:OBJECTIVE",
    help="300:0.99: what is good, the budget, how fast it burns.",
)
@click.option("--distribution", is_flag=True, help="A histogram, and what fits it best.")
@click.option("--plot", is_flag=True, help="Draw the first statistic over time.")
@click.option("--sort", metavar="STATISTIC", help="Of a glob; -p99 for the largest first.")
@click.option("--limit", metavar="N", help="Of a glob: so many series at most.")
@_all(*OUTPUT_OPTIONS)
def query(name: str, url: str, **options: str | bool | None) -> None:
    """Print the statistics of a series over a window; without one, over all that is kept.

    NAME may be a glob, 'api.*', for a row for each series that matches.

    The objective --slo 300:0.99 is that 99 % of the samples are at or under 300. The exit code is 3
    while its budget burns so fast that somebody should be told; else 0, or 1 if aggd isn't there or
    doesn't know the name, or 2 if the question is wrong.

    \b
    Examples:
      aggd query api.latency --last 15m
      aggd query api.latency --last 1d -p 50,99.9 --tags env:prod --by host
      aggd query api.latency --from 2026-11-24T02:00:00Z --to 2026-11-24T03:00:00Z --json
      aggd query api.latency --last 1h --interval 5m -s mean,p99 --csv
      aggd query api.latency --last 6h --rolling 1h --step 1m -s p99 --plot
      aggd query api.latency --last 1d --plot --by host
      aggd query api.latency --last 1h --compare 1d
      aggd query api.latency --slo 300:0.99; echo $?
      aggd query api.latency --last 1h --distribution
      aggd query 'api.*' --last 5m --sort -p99 --limit 20
    """
    from aggd import views

    asked = _given(options)
    with _usage():
        view = views.view(name, asked)
    _show(view, name, asked, url)


def _given(options: dict[str, str | bool | None]) -> dict[str, str]:
    return {key: str(found) for key, found in options.items() if found}


@contextmanager
def _usage() -> Iterator[None]:
    """Options that exclude each other, as wrong usage."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


@contextmanager
def _refusals() -> Iterator[None]:
    """What a daemon doesn't answer, as message and exit code."""
    from aggd.errors import AnswerError

    try:
        yield
    except AnswerError as error:
        failure = Unusable if error.code == WRONG else Failure
        raise failure(error.message) from None


def _show(view: "View", name: str, asked: dict[str, str], url: str) -> None:
    """Ask, print the answer; exit with 3 where it says that an objective is in danger."""
    from shutil import get_terminal_size

    from aggd import views
    from aggd.client import ask
    from aggd.terminal.chart import Size

    columns, lines = get_terminal_size((80, CHART_ROWS + AROUND_CHART))
    size = Size(columns, min(CHART_ROWS, lines - AROUND_CHART))
    with _refusals():
        if first := views.outline(view, name, asked):
            asked = views.completed(asked, ask(url, first).answer, size.columns)
        reply = ask(url, view.question(name, asked))
        text = views.rendered(view, name, asked, reply, size)
    _print(text)
    if reply.answer.get("alerting"):
        sys.exit(ALERTING)


def _print(text: str) -> None:
    """Print in colour where somebody looks, in ASCII where there is nothing else."""
    from aggd.terminal.table import painted, plain

    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        text = plain(text)
    plain_asked = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    colours = sys.stdout.isatty() and not plain_asked
    click.echo(painted(text) if colours else text)


@click.command(short_help="Print what makes the most samples, series or bytes.")
@_all(*WINDOW_OPTIONS)
@click.option("--by", default="count", show_default=True, type=click.Choice(MEASURES), help="What.")
@click.option("--limit", default="20", show_default=True, metavar="N", help="So many of each.")
@_all(*OUTPUT_OPTIONS)
def top(url: str, **options: str | bool | None) -> None:
    """Print the names, and the prefixes of names, that make the most samples, series or bytes.

    For the series that have most of a statistic see 'aggd query "*" --sort -p99'.

    \b
    Examples:
      aggd top --last 5m
      aggd top --by memory --limit 5
      aggd top --last 1h --by series --csv
    """
    from aggd import views

    asked = _given(options)
    with _usage():
        views.consistent(asked)
    _show(views.TOP, "", asked, url)


@click.command(short_help="List the series there are.")
@click.option("--match", default="*", metavar="GLOB", help="Only those called so: 'api.*'.")
@_all(*SERIES_OPTIONS)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="So many at most.")
@_all(*OUTPUT_OPTIONS)
def series(match: str, limit: int | None, url: str, **options: str | bool | None) -> None:
    """List the series there are by name, with their kind, their tags and when they were seen.

    \b
    Examples:
      aggd series
      aggd series --match 'api.*' --tags env:prod --kind timer
      aggd series --json --limit 10
    """
    from aggd import views
    from aggd.client import pages

    asked = _given(options)
    with _usage():
        views.consistent(asked)
    with _refusals():
        found = list(pages(url, {"match": match, **views.narrowed(asked)}, limit))
        text = views.listed(match, asked, found)
    _print(text)


COMMANDS = (query, top, series)
