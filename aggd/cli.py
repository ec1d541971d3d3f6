"""The command ``aggd``: run the daemon, check its configuration, send lines, ask for statistics.

Exit codes: 0 done; 1 the other side is not there or doesn't know; 2 used or configured wrongly.
What a command needs is imported by it alone, so that a query starts without numpy and aiohttp.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn, cast

import click

from aggd import __version__

ETHERNET_DATAGRAM = 1432  # bytes that fit an Ethernet frame with room for tunnels, as clients use
ANSWER_SECONDS = 30.0  # a query over years of slots takes a second
ABOUT_THE_WINDOW = ("name", "kind", "tags", "from", "to", "resolution", "exact", "rank_error")
MISSING = "-"


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
    """


@main.command(short_help="Run the daemon.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="TOML file with the options.")
@click.option("--udp", multiple=True, metavar="HOST:PORT", help="Receive lines here; repeatable.")
@click.option("--http", metavar="HOST:PORT", help="Answer HTTP here.")
@click.option("--interval", metavar="DURATION", help="Length of the finest slot.")
@click.option("--state-dir", metavar="DIRECTORY", help="Keep the past on disk here.")
def run(
    config: Path | None,
    udp: tuple[str, ...],
    http: str | None,
    interval: str | None,
    state_dir: str | None,
) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C.

    Options given here override the environment (AGGD_FLUSH__INTERVAL=30s), which overrides the
    file, which overrides the defaults.

    \b
    Examples:
      aggd run
      aggd run --config /etc/aggd/aggd.toml
      aggd run --udp 0.0.0.0:8125 --udp '[::]:8125' --http 127.0.0.1:8127 --interval 30s
    """
    from aggd.config import load
    from aggd.errors import ConfigError

    flags = {
        "listen.udp": list(udp) or None,
        "http.listen": http,
        "flush.interval": interval,
        "storage.state_dir": state_dir,
    }
    try:
        settings = load(config, os.environ, flags)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    from aggd import daemon

    sys.exit(daemon.run(settings))


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
    from aggd.options import parse_address

    try:
        host, port = parse_address(to)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    groups = _given(lines) if lines else _read()
    try:
        sent = _send(groups, host, port)
    except ConnectionRefusedError:
        _fail(f"nothing listens on {to}; start it with 'aggd run', or name another with --to")
    except (OSError, UnicodeError) as error:  # a name like a..b is no Unicode to the resolver
        _fail(f"can't send to {to}: {getattr(error, 'strerror', None) or error}")
    if verbose:
        click.echo(f"{sent[0]} lines in {sent[1]} datagrams to {to}")


def _given(lines: Iterable[str]) -> Iterator[list[bytes]]:
    for piped, group in groupby(lines, lambda line: line == "-"):
        yield from _read() if piped else [os.fsencode("\n".join(group)).split(b"\n")]


def _read() -> Iterator[list[bytes]]:
    """Lines of standard input, those that can be read at once together."""
    stream = cast(BufferedReader, sys.stdin.buffer)
    rest = b""
    while chunk := stream.read1(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    yield [rest]


def _send(groups: Iterable[list[bytes]], host: str, port: int) -> tuple[int, int]:
    """Send every group of lines; how many lines and datagrams that were."""
    import socket

    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    lines = datagrams = 0
    with socket.socket(family, kind, protocol) as target:
        target.connect(address)
        for datagram in (packed for group in groups for packed in pack(group)):
            target.send(datagram)
            lines += datagram.count(b"\n") + 1
            datagrams += 1
        # The refusal of the last datagram has no later call to show up in.
        if error := target.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
    return lines, datagrams


def pack(lines: Iterable[bytes], size: int = ETHERNET_DATAGRAM) -> Iterator[bytes]:
    """Join lines to datagrams of up to `size` bytes; a longer line goes alone, a blank one not."""
    packed: list[bytes] = []
    used = 0
    for line in filter(None, map(bytes.strip, lines)):
        if packed and used + len(line) > size:
            yield b"\n".join(packed)
            packed, used = [], 0
        packed.append(line)
        used += len(line) + 1
    if packed:
        yield b"\n".join(packed)


@main.command(short_help="Print the statistics of a series.")
@click.argument("name")
@click.option("--last", metavar="DURATION", help="The window that ends now: 15m, 1h, 7d.")
@click.option("--from", "start", metavar="TIME", help="Start: 2026-11-24T02:10:00Z or seconds.")
@click.option("--to", "end", metavar="TIME", help="End, which isn't part of the window.")
@click.option("-p", "--percentiles", metavar="P[,P]", help="Such as 50,99.9.")
@click.option("--tags", metavar="TAG[,TAG]", help="Only series with these: env:prod,region:eu.")
@click.option("--by", metavar="KEY[,KEY]", help="One row for each value of these tags.")
@click.option("--url", default="http://127.0.0.1:8127", show_default=True, help="Where aggd is.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as it came.")
def query(name: str, url: str, as_json: bool, **asked: str | None) -> None:
    """Print the statistics of a series over a window; without one, over all that is kept.

    \b
    Examples:
      aggd query api.latency --last 15m
      aggd query api.latency --last 1d -p 50,99.9 --tags env:prod --by host
      aggd query api.latency --from 2026-11-24T02:00:00Z --to 2026-11-24T03:00:00Z --json
    """
    if asked["last"] and (asked["start"] or asked["end"]):
        raise click.UsageError("--last is a window of its own: leave out --from and --to.")
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(
            f"not an address such as http://127.0.0.1:8127: {url!r}", param_hint="--url"
        )
    asked["from"], asked["to"] = asked.pop("start"), asked.pop("end")
    status, body = _get(url, name, {key: text for key, text in asked.items() if text})
    try:
        answer = json.loads(body)
        message = "" if status == 200 else answer["error"]["message"]
        text = message or (body if as_json else _table(answer, asked["by"]))
    except (ValueError, TypeError, KeyError):
        _fail(f"{url} answered {status}, but not as aggd does; name aggd's address with --url")
    if status == 404:
        _fail(f"{message}; see what there is: curl '{url}/api/v1/series?match=*'")
    if message:
        _fail(f"{url}: {message}", 2 if status in (400, 422) else 1)
    click.echo(text)


def _get(url: str, name: str, asked: dict[str, str]) -> tuple[int, str]:
    """Ask for statistics; the status and the body. (urllib.request would mind http_proxy.)"""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import quote, urlencode, urlsplit

    try:
        base = urlsplit(url)
        connect = HTTPSConnection if base.scheme == "https" else HTTPConnection
        path = f"{base.path.rstrip('/')}/api/v1/stats/{quote(name, safe='')}?{urlencode(asked)}"
        connection = connect(base.netloc, timeout=ANSWER_SECONDS)
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        _fail(f"can't reach {url}: {why}; start it with 'aggd run', or name its address with --url")


def _table(answer: dict[str, Any], by: str | None) -> str:
    """The answer as aligned text: a statistic a row, or with `by` a group a row."""
    groups = answer["series"] if by else [answer]
    if not groups:
        return f"{answer['name']}: nothing in this window"
    one = groups[0]
    exact = "exact" if all(group["exact"] for group in groups) else "estimated"
    head = [
        f"{answer['name']}  {one['kind']}  {f'by {by}' if by else _tags(one['tags'])}".rstrip(),
        f"{one['from']} to {one['to']}, resolution {one['resolution']}, {exact}",
        "",
    ]
    body = _row_a_group(groups, by.split(",")) if by else _row_a_statistic(answer)
    return "\n".join(head + body)


def _tags(tags: dict[str, Any]) -> str:
    return ",".join(f"{key}:{value}" for key, value in tags.items())


def _row_a_statistic(answer: dict[str, Any]) -> list[str]:
    names = _statistics(answer)
    off = answer.get("rank_error") or {}
    notes = [f"  rank within {100 * off[name]:.2g} %" if name in off else "" for name in names]
    rows = _aligned([[name, _number(answer[name])] for name in names], left=1)
    return [row + note for row, note in zip(rows, notes, strict=True)]


def _row_a_group(groups: list[dict[str, Any]], keys: list[str]) -> list[str]:
    statistics = _statistics(groups[0])
    rows = [keys + statistics]
    for group in groups:
        tags = [str(group["tags"].get(key, MISSING)) for key in keys]
        rows.append(tags + [_number(group.get(key)) for key in statistics])
    return _aligned(rows, left=len(keys))


def _statistics(answer: dict[str, Any]) -> list[str]:
    return [key for key in answer if key not in ABOUT_THE_WINDOW]


def _aligned(rows: list[list[str]], left: int) -> list[str]:
    """Columns as wide as their widest cell, the first `left` to the left, numbers to the right."""
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width[i]) if i < left else cell.rjust(width[i]) for i, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def _number(value: float | None) -> str:
    if value is None:
        return MISSING
    whole = float(value).is_integer() and abs(value) < 1e15
    return f"{value:.0f}" if whole else f"{value:.6g}"
