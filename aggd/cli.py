"""The command ``aggd``: run the daemon, check its configuration, send lines, ask for statistics.

What a command needs is imported by it alone, so that a query starts without numpy and aiohttp.
"""

import json
import os
import signal
import sys
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from aggd import __version__, asking, commands
from aggd.exits import WRONG, Failure, Unusable

if TYPE_CHECKING:
    from aggd.config import Config
    from aggd.sockets import Sockets


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


for _command in (*asking.COMMANDS, *commands.COMMANDS):
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
        sys.exit(WRONG)
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
    sys.exit(WRONG if errors else 0)


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
        raise Failure(
            f"nothing listens on {to}; start it with 'aggd run', or name another with --to"
        ) from None
    except (OSError, UnicodeError) as error:  # a name like a..b is no Unicode to the resolver
        raise Failure(f"can't send to {to}: {getattr(error, 'strerror', None) or error}") from None
    if verbose:
        click.echo(f"{sent[0]} lines in {sent[1]} datagrams to {to}")


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
        message = f"a service can't see {unseen}; install aggd in /opt/aggd"
        if prefix == Path("/") and not (dry_run or force):
            raise Unusable(f"{message}, or give --force")
        click.echo(f"aggd: {message}", err=True)
    root, home = prefix, Path.home()
    files = install.user_files(root, command, home) if user else install.system_files(root, command)
    try:
        if not force and (changed := install.changed(files)):
            click.echo("".join(map(install.difference, changed)), nl=False)
            names = ", ".join(str(file.path) for file in changed)
            raise Failure(f"somebody changed {names}; nothing was written, --force replaces it")
        for file in files:
            if not dry_run:
                install.write(file)
            click.echo(f"# {file.path}\n{file.text}" if dry_run else f"wrote {file.path}")
    except BrokenPipeError:
        raise  # of whoever reads what is printed
    except OSError as error:
        raise Failure(
            f"can't write {error.filename}: {error.strerror}; be root, or give --user"
        ) from None
    click.echo("\n".join(("", "Next:", *install.next_commands(root, user))))
