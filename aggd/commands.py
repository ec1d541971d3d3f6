"""Commands on a state directory: what it holds, whether it is sound, out of it and into it."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import click

from aggd.exits import WRONG, Failure, Unusable

if TYPE_CHECKING:
    from aggd.config import Config
    from aggd.store.files import Trouble

STEPS = 1000  # of a progress bar
SHOWN = 100  # refused rows that are told one by one

Command = TypeVar("Command", bound=Callable[..., Any])


def _directory(command: Command) -> Command:
    """The options that say which directory."""
    state_dir = click.option(
        "--state-dir", metavar="DIRECTORY", help="What a daemon keeps its past in."
    )
    config = click.option(
        "-c", "--config", type=click.Path(path_type=Path), help="TOML file that names it."
    )
    return state_dir(config(command))


_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def _settings(state_dir: str | None, config: Path | None) -> "tuple[Config, Path]":
    """All settings, and the directory they name."""
    from aggd.config import load
    from aggd.errors import ConfigError

    try:
        settings = load(config, os.environ, {"storage.state_dir": state_dir})
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(WRONG)
    if not settings.storage.state_dir:
        raise click.UsageError("name a directory with --state-dir, or a file with --config.")
    return settings, Path(settings.storage.state_dir)


@contextmanager
def _failures() -> Iterator[None]:
    """What can't be read or written, as message and exit code."""
    import sqlite3

    from aggd.errors import StorageError

    try:
        yield
    except StorageError as error:
        raise Unusable(str(error)) from None
    except BrokenPipeError:
        raise  # click ends as quietly as others do
    except (OSError, sqlite3.Error) as error:
        raise Failure(str(error)) from None


@contextmanager
def _progress(label: str) -> Iterator[Callable[[float], None]]:
    """What takes the fraction that is done; a bar on standard error where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=STEPS, label=label, file=sys.stderr) as bar:
        yield lambda done: bar.update(round(done * STEPS) - bar.pos)


def _tell(troubles: "list[Trouble]") -> None:
    for trouble in troubles:
        click.echo(f"aggd: {trouble.path}: {trouble.message}", err=True)


@click.command(short_help="Tell what a state directory holds and will take.")
@_directory
@_as_json
def storage(state_dir: str | None, config: Path | None, as_json: bool) -> None:
    """Tell what a state directory holds, tier by tier, and what it takes when all are full.

    The estimate is the bytes that the newest slots take, times the slots that are kept. Where
    that is more than storage.max_bytes, reach says how far back each tier goes then. A daemon may
    be using the directory.

    \b
    Examples:
      aggd storage --state-dir /var/lib/aggd
      aggd storage --config /etc/aggd/aggd.toml --json
    """
    settings, directory = _settings(state_dir, config)
    from aggd import inventory
    from aggd.backup import Source
    from aggd.terminal import tiers

    with _failures():
        source = Source(directory, settings)
        answer = inventory.answer(source, settings.storage.max_bytes)
    _tell(source.troubles)
    click.echo(json.dumps(answer) if as_json else tiers.storage(answer))


@click.command(short_help="Read all of a state directory and tell what is damaged.")
@_directory
@_as_json
def verify(state_dir: str | None, config: Path | None, as_json: bool) -> None:
    """Read every row of every file: pages, checksums, and whether rows are what they must be.

    Each fault is told with file and slot, and the exit code is 1; 0 where all is good, 2 where
    the directory can't be read at all. Nothing is changed, and a daemon may be using it.

    \b
    Examples:
      aggd verify --state-dir /var/lib/aggd
      aggd verify --config /etc/aggd/aggd.toml --json
    """
    settings, directory = _settings(state_dir, config)
    from aggd import inventory
    from aggd.backup import Source

    with _failures(), _progress("verify") as done:
        answer = inventory.verified(Source(directory, settings), done)
    faults = answer["faults"]
    if as_json:
        click.echo(json.dumps(answer))
    else:
        for fault in faults:
            click.echo(f"{fault['file']}: {fault['slot'] or 'all'}: {fault['message']}")
        found = f"{len(faults)} faults" if faults else "all good"
        click.echo(f"{directory}: {answer['rows']} rows, {answer['bytes']} bytes: {found}")
    sys.exit(1 if faults else 0)


@click.command(short_help="Write a state directory as NDJSON or Parquet.")
@_directory
@click.option("--from", "start", metavar="TIME", help="Slots from here on: 2026-11-24T02:10:00Z.")
@click.option("--to", "end", metavar="TIME", help="Slots before.")
@click.option("--match", default="*", metavar="GLOB", help="Only series called so: 'api.*'.")
@click.option("--tags", metavar="TAG[,TAG]", help="Only series with these: env:prod,host:a.")
@click.option("--kind", type=click.Choice(("timer", "gauge", "counter", "set")))
@click.option(
    "--resolution",
    type=click.Choice(("interval", "minute", "hour", "day")),
    help="Only slots of this tier.",
)
@click.option(
    "--format", "form", type=click.Choice(("ndjson", "parquet")), default="ndjson",
    show_default=True,
)  # fmt: skip
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to; - is standard output.")
def export(state_dir: str | None, config: Path | None, **options: str | None) -> None:
    """Write one row for each series and slot, with all that is known: digests, members of sets.

    Without --resolution all tiers are written, so that 'aggd import' gives the same answers; who
    adds up rows takes those of one width. A window takes all slots that overlap it. A daemon may
    be using the directory.

    \b
    Examples:
      aggd export --state-dir /var/lib/aggd | zstd > aggd.ndjson.zst
      aggd export --state-dir /var/lib/aggd --match 'api.*' --resolution hour --format parquet -o api.parquet
      aggd export --state-dir /var/lib/aggd --from 2026-11-24T00:00:00Z --to 2026-11-25T00:00:00Z
    """  # noqa: E501
    settings, directory = _settings(state_dir, config)
    from aggd import backup, ndjson, parquet

    asked = _asked(options)
    with _failures():
        if options["form"] == "parquet":
            parquet.require()
        source = backup.Source(directory, settings)
        output = str(options["output"])
        with _opened(output) as out, _progress("export") as done:
            writer = ndjson.Writer(out) if options["form"] == "ndjson" else parquet.Writer(out)
            rows = backup.export(source, asked, writer, done)
    _tell(source.troubles)
    if output != "-":
        click.echo(f"{rows} rows to {output}", err=True)
    if source.troubles or source.damaged:
        raise Failure("some rows can't be read and are missing; see 'aggd verify'")


def _asked(options: dict[str, str | None]) -> Any:
    """What of a directory is wanted."""
    from aggd.backup import Asked
    from aggd.protocol.names import normal_tags
    from aggd.protocol.times import parse_time
    from aggd.store.series import Kind

    found = Asked(match=str(options["match"]), resolution=options["resolution"])
    try:
        if options["start"]:
            found = found._replace(start=int(parse_time(_number(options["start"]))))
        if options["end"]:
            found = found._replace(end=-int(-parse_time(_number(options["end"])) // 1))
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if options["tags"]:
        found = found._replace(tags=normal_tags(options["tags"].encode())[0])
    if options["kind"]:
        found = found._replace(kind=Kind[options["kind"].upper()])
    return found


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


@contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    if output == "-":
        yield cast(BufferedWriter, sys.stdout.buffer)
        return
    with Path(output).open("wb") as file:
        yield file


@click.command("import", short_help="Take in what export wrote, or another state directory.")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@_directory
@click.option("--merge", is_flag=True, help="Add to slots that have a series already.")
def import_(
    files: tuple[Path, ...], state_dir: str | None, config: Path | None, merge: bool
) -> None:
    """Take in NDJSON (- for standard input) and Parquet as export writes them, whole state
    directories of other aggds, and single files of one, beside whose folder its catalogue.db is.

    No daemon may use the directory. Rows join the slots of their width beside what is there. A row
    whose slot has its series already is passed over, each resolution by itself; with --merge it
    is added, and importing a file twice doubles its counts. Where a file has no coarser slot for
    its rows, they are rolled up into one.

    Rows that are wrong are refused one by one, with their number and why, and the exit code is 1.

    \b
    Examples:
      aggd import --state-dir /var/lib/aggd aggd.ndjson
      zstd -dc aggd.ndjson.zst | aggd import --state-dir /var/lib/aggd -
      aggd import --state-dir /var/lib/aggd --merge /backup/of/another/aggd
    """
    settings, directory = _settings(state_dir, config)
    import time

    from aggd.restore import restoring
    from aggd.sources import take

    refused = 0
    with _failures(), restoring(directory, settings, int(time.time()), merge) as restoration:
        _tell(restoration.troubles)
        for file in files:
            with _progress(file.name) as done:
                for refusal in take(restoration, file, settings, done):
                    refused += 1
                    if refused <= SHOWN:
                        click.echo(f"{file}:{refusal.place}: {refusal.reason}", err=True)
    for line in restoration.told():
        click.echo(line)
    if refused:
        raise Failure(f"{refused} were refused")


COMMANDS = (storage, verify, export, import_)
