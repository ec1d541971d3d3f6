import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios

import pytest
from click.testing import CliRunner

from aggd import __version__
from aggd.cli import main
from aggd.config import FLAGS
from aggd.datagrams import ETHERNET_DATAGRAM
from tests.command import commanding, past
from tests.daemon import Daemon
from tests.http.server import Past


@pytest.fixture
def aggd():
    """Run the command in this process."""
    return lambda *words, **more: CliRunner().invoke(main, words, **more)


@pytest.fixture
def receiver():
    """A socket that datagrams can be sent to, and its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.settimeout(5)
        yield target, f"127.0.0.1:{target.getsockname()[1]}"


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
def test_every_help_has_examples(aggd, command):
    result = aggd(*command, "--help")
    assert result.exit_code == 0
    assert "Examples:\n    aggd " in result.output


def test_the_version_is_told(aggd):
    assert aggd("--version").output == f"aggd, version {__version__}\n"


@pytest.mark.parametrize("words", [["query", "x"], ["query", "x", "--plot"], ["top"], ["series"]])
def test_the_package_runs_as_a_module_and_asks_without_what_the_daemon_needs(words):
    program = (
        f"import runpy, sys; sys.argv = ['aggd', *{words}, '--url', 'http://127.0.0.1:0']\n"
        "try: runpy.run_module('aggd', run_name='__main__')\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'numpy', 'scipy', 'aiohttp', 'msgspec', 'orjson', 'asyncio'} & set(sys.modules)\n"
        "print(code, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "1 []\n"
    assert "can't reach http://127.0.0.1:0: " in done.stderr


def test_a_configuration_that_is_right_is_ok(aggd, tmp_path):
    file = tmp_path / "aggd.toml"
    file.write_text("flush.interval = '30s'\n")
    result = aggd("check-config", str(file), env={"AGGD_FLUSH__INTERVAL": "7s"})
    assert (result.exit_code, result.output) == (0, f"{file}: ok\n")
    result = aggd("check-config", "--json", str(file))
    assert json.loads(result.output) == {"file": str(file), "ok": True, "errors": []}


def test_a_configuration_that_is_wrong_is_told_by_line_and_exits_with_2(aggd, tmp_path):
    file = tmp_path / "aggd.toml"
    file.write_text("flush.interval = '7s'\nlisten.workers = 'two'\n")
    result = aggd("check-config", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    first, second = result.stderr.splitlines()
    assert first.startswith(f'{file}:1: flush.interval is "7s"; it must be ')
    assert second == f'{file}:2: listen.workers is "two"; it must be a whole number'
    result = aggd("check-config", "--json", str(file))
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {"file": str(file), "ok": False, "errors": [first, second]}


def test_run_refuses_what_is_wrong_wherever_it_was_written(aggd, tmp_path):
    file = tmp_path / "aggd.toml"
    file.write_text("limits.series = 0")
    flags = ["--udp", "a:1", "--udp", "here", "--http", "there", "--interval", "7s"]
    result = aggd("run", "-c", str(file), *flags, env={"AGGD_LOG__LEVEL": "loud"})
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        *[f"{file}:1", "AGGD_LOG__LEVEL", "--udp", "--http", "--interval"]
    ]
    assert '--udp: listen.udp is ["a:1", "here"]; it must be an address such as' in result.stderr


def test_every_flag_that_a_fault_may_name_is_an_option_of_run():
    options = {flag for option in main.commands["run"].params for flag in option.opts}
    assert set(FLAGS.values()) <= options


def test_lines_given_are_sent_in_one_datagram(aggd, receiver):
    target, address = receiver
    result = aggd("send", "--to", address, "--verbose", "a:1|c", " b:2|c\nc:3|c", "")
    assert result.output == f"3 lines in 1 datagrams to {address}\n"
    assert target.recv(65536) == b"a:1|c\nb:2|c\nc:3|c"


@pytest.mark.parametrize("words", [[], ["-"]])
def test_lines_of_standard_input_are_packed_into_datagrams(aggd, receiver, words):
    target, address = receiver
    text = b"".join(b"series.%d:1|c\r\n\n" % i for i in range(500)) + b"last:1|c"
    result = aggd("send", "--to", address, "--verbose", *words, input=text)
    assert result.exit_code == 0
    datagrams = int(result.output.split()[3])
    got = [target.recv(65536) for _ in range(datagrams)]
    assert max(map(len, got)) <= ETHERNET_DATAGRAM
    assert b"\n".join(got).split(b"\n") == text.replace(b"\r", b"").split()


def test_bytes_that_are_no_utf8_are_sent_as_they_are(aggd, receiver):
    target, address = receiver
    aggd("send", "--to", address, "-", input=b"caf\xe9:1|c\n")
    assert target.recv(65536) == b"caf\xe9:1|c"


def test_sending_to_where_nothing_listens_exits_with_1(aggd, receiver):
    target, address = receiver
    target.close()
    result = aggd("send", "--to", address, "a:1|c")
    assert result.exit_code == 1
    assert f"nothing listens on {address}; start it with 'aggd run'" in result.stderr


def test_a_line_that_fits_in_no_datagram_is_told(aggd, receiver):
    result = aggd("send", "--to", receiver[1], "-", input=b"a" * 70_000)
    assert result.exit_code == 1
    assert "Message too long" in result.stderr


def test_a_target_that_has_no_address_exits_with_1(aggd):
    result = aggd("send", "--to", "a..b:8125", "a:1|c")
    assert result.exit_code == 1
    assert "can't send to a..b:8125: " in result.stderr


def test_a_target_that_is_no_address_is_wrong_usage(aggd):
    result = aggd("send", "--to", "8125", "a:1|c")
    assert result.exit_code == 2
    assert "'8125'" in result.stderr


@pytest.fixture(scope="module")
def running():
    """A daemon that has heard of one series."""
    daemon = Daemon()
    daemon.send(b"\n".join(b"api.latency:%d|ms|#env:prod" % v for v in range(100)))
    daemon.stats("api.latency", 100)
    yield daemon
    assert daemon.stop()[0] == 0


def command(*words, **environment):
    """Run the command as a user does, in a process of its own."""
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-m", "aggd", *words], capture_output=True, env=env)


def test_the_command_asks_a_daemon(running):
    done = command("query", "api.latency", "--last", "1h", "-s", "count,p50", "--url", running.http)
    assert (done.returncode, done.stderr) == (0, b"")
    head, _, _, *rows = done.stdout.decode().splitlines()
    assert head == "api.latency  timer  env:prod"
    assert rows == ["count   100", "p50    49.5"]


def test_a_chart_is_ascii_where_nothing_else_can_be_printed(running):
    plot = ["query", "api.latency", "--last", "1h", "--plot", "--url", running.http]
    done = command(*plot, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("ascii").splitlines()
    assert len(lines[4:]) == 20
    drawing = "".join(lines[4:])
    assert set(drawing) - set(" .:0123456789") == set("*+-|")
    assert re.fullmatch(r" +\+[-+]+", lines[-2])


def on_a_terminal(*words, **environment):
    """What the command prints on a terminal of 60 columns and 30 rows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    env = {**kept, "TERM": "xterm", "PYTHONUTF8": "1", **environment}
    program = [sys.executable, "-m", "aggd", *words]
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, env=env):
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # so Linux says that the other end is closed
            pass
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gives_colour_and_width_unless_told_not_to(running):
    plot = ["query", "api.latency", "--last", "1h", "--plot", "--url", running.http]
    coloured = on_a_terminal(*plot)
    assert "\x1b[36m" in coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = on_a_terminal(*plot, **environment)
        assert "\x1b" not in plain
        assert max(map(len, plain.splitlines()[4:])) == 60


@pytest.fixture
async def asking():
    """The command beside a server with a past."""
    async with commanding(past()) as command:
        yield command


async def test_json_is_the_answer_as_it_came(asking):
    found = json.loads(await asking.text("query", "api.latency", "--last", "1h", "--json"))
    listed = json.loads(await asking.text("query", "api.*", "--last", "1h", "--json"))
    assert (found["name"], found["count"], found["p50"]) == ("api.latency", 464, 62.5)
    assert [row["name"] for row in listed["series"]] == ["api.latency"] * 2 + ["api.requests"]


@pytest.mark.parametrize("format", ["--json", "--csv"])
async def test_what_nobody_sent_exits_with_1_and_names_what_is_spelled_alike(asking, format):
    said = await asking.refused("query", "api.latncy", format, code=1)
    assert said == "aggd: nobody has sent 'api.latncy'; did you mean 'api.latency'?\n"
    said = await asking.refused("query", "zz", format, "--last", "1h", code=1)
    assert said == "aggd: nobody has sent 'zz'; see what there is with 'aggd series'\n"
    said = await asking.refused("query", "zz*", format, code=1)
    assert said == "aggd: nothing matches 'zz*'; see what there is with 'aggd series'\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--last", "soon"], "last must be a positive duration such as 30s or 5min, got 'soon'"),
        (["--interval", "7s"], "interval must be a multiple of the flush interval, 10s, got 7s"),
        (["-s", "zz"], "unknown statistic 'zz'; a timer has count, sum"),
        (["--slo", "300:x"], "objective must be a number"),
    ],
)
async def test_what_the_daemon_refuses_exits_with_2(asking, words, said):
    assert said in await asking.refused("query", "api.latency", *words, code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--last", "1h", "--to", "5"], "--last is a window of its own: leave out --from"),
        (["x", "--csv", "--json"], "--json and --csv exclude each other"),
        (["x", "--slo", "3:0.9", "--interval", "1m"], "--interval and --slo exclude each other"),
        (["x", "--slo", "300"], "--slo must be THRESHOLD:OBJECTIVE such as 300:0.99, got '300'"),
        (["x*", "--rolling", "1h"], "--rolling is for one name, not for a glob such as 'x*'"),
        (["x", "--url", "127.0.0.1:8127"], "not an address such as http://127.0.0.1:8127"),
        (["x", "--kind", "timr"], "'timr' is not one of 'timer', 'gauge', 'counter', 'set'"),
        (["x", "--lst", "1h"], "No such option '--lst'"),
    ],
)
def test_a_question_asked_wrongly_exits_with_2_and_asks_nobody(aggd, words, said):
    result = aggd("query", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize("name", ["top", "series"])
def test_two_ways_to_print_one_answer_are_refused(aggd, name):
    result = aggd(name, "--csv", "--json")
    assert result.exit_code == 2
    assert "--json and --csv exclude each other." in result.stderr


async def test_a_list_follows_its_pages_and_stops_at_its_limit():
    about = Past()
    about.send(*(f"many.{i:04}:1|c" for i in range(2500)), "other:1|c")
    names = [f"many.{i:04}" for i in range(2500)]
    async with commanding(about) as asking:
        every = await asking.lines("series", "--match", "many.*", "--csv")
        some = json.loads(await asking.text("series", "--json", "--limit", "1200"))
        none = await asking.refused("series", "--match", "zz*", code=1)
        empty = json.loads(await asking.text("series", "--match", "zz*", "--json"))
    assert [line.split(",")[0] for line in every[1:]] == names
    assert [row["name"] for row in some["series"]] == names[:1200]
    assert none == "aggd: nothing matches 'zz*'\n"
    assert empty == {"series": [], "cursor": None}
