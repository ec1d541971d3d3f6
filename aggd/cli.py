"""The command ``aggd``: run the daemon, check its configuration, send lines, ask for statistics.

Exit codes: 0 done; 1 the other side is not there or doesn't know; 2 used or configured wrongly;
3 done, and an objective is in danger.
What a command needs is imported by it alone, so that a query starts without numpy and aiohttp.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from aggd import __version__
from aggd.commands import COMMANDS

if TYPE_CHECKING:
    from aggd.config import Config
    from aggd.sockets import Sockets
    from aggd.views import View

KINDS = ("timer", "gauge", "counter", "set")
MEASURES = ("count", "series", "memory")
URL = "http://127.0.0.1:8127"
ALERTING = 3  # exit code
CHART_ROWS = 20  # at most
AROUND_CHART = 6  # rows: what it is about before it, the prompt after it

Command = TypeVar("Command", bound=Callable[..., Any])


def _fail(message: str, code: int = 1) -> NoReturn:
    click.echo(f"aggd: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="aggd")
def main() -> None:
    """A StatsD-compatible daemon that answers any percentile over any window.

    \b
    Examples:
      aggd run
      echo 'api.latency:320|ms' | aggd send
      aggd query api.latency --last 15m
      aggd series --match 'api.*'
      aggd top --last 5m
    """


for _command in COMMANDS:
    main.add_command(_command)


@main.command(short_help="Run the daemon.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="TOML file with the options.")
@click.option("--udp", multiple=True, metavar="HOST:PORT", help="Receive lines here; repeatable.")
@click.option("--http", metavar="HOST:PORT", help="Answer HTTP here.")
@click.option("--interval", metavar="DURATION", help="Length of the finest slot.")
@click.option("--state-dir", metavar="DIRECTORY", help="Keep the past on disk here.")
@click.option("--takeover", is_flag=True, help="Go on where the daemon that runs now leaves off.")
def run(
    config: Path | None,
    udp: tuple[str, ...],
    http: str | None,
    interval: str | None,
    state_dir: str | None,
    takeover: bool,
) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C.

    Options given here override the environment (AGGD_FLUSH__INTERVAL=30s), which overrides the
    file, which overrides the defaults. SIGHUP reads all of them again. With --takeover the daemon
    that uses the same state directory hands over its sockets, writes everything and leaves, and
    no datagram is lost.

    \b
    Examples:
      aggd run
      aggd run --config /etc/aggd/aggd.toml
      aggd run --config /etc/aggd/aggd.toml --takeover
      aggd run --udp 0.0.0.0:8125 --udp '[::]:8125' --http 127.0.0.1:8127 --interval 30s
    """
    # Until the daemon listens to it, a reload has nothing to do, and must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from aggd.config import load
    from aggd.errors import ConfigError, StorageError

    flags = {
        "listen.udp": list(udp) or None,
        "http.listen": http,
        "flush.interval": interval,
        "storage.state_dir": state_dir,
    }
    try:
        settings = load(config, os.environ, flags)
        sockets = _bind(settings, takeover)
    except (ConfigError, StorageError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    from aggd import daemon

    sys.exit(daemon.run(settings, sockets, lambda: load(config, os.environ, flags)))


def _bind(settings: "Config", takeover: bool) -> "Sockets":
    """Have the sockets before what is large is imported, or after it where another serves them."""
    from aggd.sockets import open_sockets
    from aggd.systemd import activated
    from aggd.takeover import take_over

    if takeover:
        import aggd.daemon  # noqa: F401

        return open_sockets(settings, take_over(settings.storage.state_dir))
    return open_sockets(settings, [sock for _, sock in activated()])


@main.command("check-config", short_help="Tell what is wrong with a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check_config(file: Path, as_json: bool) -> None:
    """Tell what is wrong with a configuration file, and where; exit with 2 if anything is.

    \b
    Examples:
      aggd check-config /etc/aggd/aggd.toml
      aggd check-config conf/aggd.toml --json
    """
    from aggd.config import load
    from aggd.errors import ConfigError

    errors: list[str] = []
    try:
        load(file, {}, {})
    except ConfigError as error:
        errors = str(error).split("\n")
    if as_json:
        click.echo(json.dumps({"file": str(file), "ok": not errors, "errors": errors}))
    elif errors:
        click.echo("\n".join(errors), err=True)
    else:
        click.echo(f"{file}: ok")
    sys.exit(2 if errors else 0)


@main.command(short_help="Send statsd lines over UDP.")
@click.argument("lines", nargs=-1, metavar="[LINE]...")
@click.option(
    "--to", default="127.0.0.1:8125", metavar="HOST:PORT", show_default=True, help="Target."
)
@click.option("--verbose", is_flag=True, help="Tell how many lines and datagrams went out.")
def send(lines: tuple[str, ...], to: str, verbose: bool) -> None:
    """Send statsd lines over UDP, from standard input where none is given or one is -.

    Lines are packed into datagrams of up to 1432 bytes, which go out as soon as the lines that
    could be read at once are packed. UDP tells nothing of what is lost on the way; a target on
    which nothing listens is noticed where it says so, and the exit code is 1.

    \b
    Examples:
      aggd send 'api.latency:320|ms' 'api.requests:1|c|#env:prod'
      aggd send --to '[::1]:8125' --verbose < lines.txt
      tail -F app.metrics | aggd send -
    """
    from aggd import datagrams
    from aggd.options import parse_address

    try:
        host, port = parse_address(to)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    groups = datagrams.groups(lines or ("-",), cast(BufferedReader, sys.stdin.buffer))
    try:
        sent = datagrams.send(groups, host, port)
    except ConnectionRefusedError:
        _fail(f"nothing listens on {to}; start it with 'aggd run', or name another with --to")
    except (OSError, UnicodeError) as error:  # a name like a..b is no Unicode to the resolver
        _fail(f"can't send to {to}: {getattr(error, 'strerror', None) or error}")
    if verbose:
        click.echo(f"{sent[0]} lines in {sent[1]} datagrams to {to}")


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


@main.command(short_help="Print, compare or draw the statistics of a series.")
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
        _fail(error.message, error.code)


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


@main.command(short_help="Print what makes the most samples, series or bytes.")
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


@main.command(short_help="List the series there are.")
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


@main.command("install-service", short_help="Make aggd a service of systemd.")
@click.option("--user", is_flag=True, help="Of yours, which needs no rights, not the system's.")
@click.option("--dry-run", is_flag=True, help="Print the files and write none.")
@click.option("--force", is_flag=True, help="Replace files that were changed.")
@click.option(
    "--prefix",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    default="/",
    metavar="DIRECTORY",
    help="Root of the image to write to.",
)
def install_service(user: bool, dry_run: bool, force: bool, prefix: Path) -> None:
    """Write the units of systemd, and the commands that start them, for this installation.

    An aggd.toml that is there stays. A unit that somebody changed stays too, unless --force is
    given: what differs is shown, nothing is written, and the exit code is 1.

    \b
    Examples:
      aggd install-service --dry-run
      sudo /opt/aggd/bin/aggd install-service
      aggd install-service --user
    """
    from aggd import install

    command = install.running_command()
    if not user and (unseen := install.hidden(command)):
        click.echo(f"aggd: a service can't see {unseen}; install aggd in /opt/aggd", err=True)
    root, home = prefix, Path.home()
    files = install.user_files(root, command, home) if user else install.system_files(root, command)
    try:
        if not force and (changed := install.changed(files)):
            click.echo("".join(map(install.difference, changed)), nl=False)
            names = ", ".join(str(file.path) for file in changed)
            _fail(f"somebody changed {names}; nothing was written, --force replaces it")
        for file in files:
            if not dry_run:
                install.write(file)
            click.echo(f"# {file.path}\n{file.text}" if dry_run else f"wrote {file.path}")
    except OSError as error:
        _fail(f"can't write {error.filename}: {error.strerror}; be root, or give --user")
    click.echo("\n".join(("", "Next:", *install.next_commands(root, user))))
