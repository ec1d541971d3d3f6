import json
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from aggd import __version__
from aggd.cli import ETHERNET_DATAGRAM, main, pack
from aggd.config import FLAGS

WINDOW = {
    "from": "2026-11-24T02:00:00Z",
    "to": "2026-11-24T02:15:00Z",
    "resolution": "10s",
    "exact": False,
}
TIMER = {
    **{"name": "api.latency", "kind": "timer", "tags": {"env": "prod", "region": "eu"}, **WINDOW},
    **{"count": 1234, "sum": 29000.5, "rate": 1.3711111111, "mean": 23.501215559},
    **{"median": 21.25, "std": 11.75, "min": 1.0, "max": 310.0, "last": None},
    **{"p50": 21.25, "p99.9": 303.123456789},
    "rank_error": {"p50": 0.0441, "p99.9": 0.00137},
}
GROUPS = {
    "name": "api.latency",
    "series": [
        {
            **{"name": "api.latency", "kind": "timer", "tags": {"host": "web-1"}, **WINDOW},
            **{"count": 1234, "mean": 23.501215559, "p99": 300.0, "rank_error": {"p99": 0.01}},
        },
        {
            **{"name": "api.latency", "kind": "timer", "tags": {}, **WINDOW},
            **{"count": 0, "mean": None, "p99": None, "rank_error": {}},
        },
    ],
}
UNKNOWN = {"error": {"code": "unknown_series", "message": "no series 'x'", "field": "name"}}
BAD_LAST = {"error": {"code": "bad_last", "message": "last must be a duration, got 'soon'"}}


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


@pytest.fixture
def server():
    """An HTTP server that gives one recorded answer and remembers what it was asked."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            status, body = self.server.answer
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as http:
        http.asked, http.answer = [], (200, TIMER)
        http.url = f"http://127.0.0.1:{http.server_port}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield http
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
def test_every_help_has_examples(aggd, command):
    result = aggd(*command, "--help")
    assert result.exit_code == 0
    assert "Examples:\n    aggd " in result.output


def test_the_version_is_told(aggd):
    assert aggd("--version").output == f"aggd, version {__version__}\n"


def test_the_package_runs_as_a_module_and_a_query_starts_without_numpy():
    program = (
        "import runpy, sys; sys.argv = ['aggd', 'query', 'x', '--url', 'http://127.0.0.1:0']\n"
        "try: runpy.run_module('aggd', run_name='__main__')\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'numpy', 'scipy', 'aiohttp', 'msgspec', 'asyncio'} & set(sys.modules)\n"
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


@given(
    st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))), st.integers(1, 99)
)
def test_packing_keeps_every_line_and_fills_no_datagram_over_its_size(lines, size):
    got = list(pack(lines, size))
    assert [x for d in got for x in d.split(b"\n")] == [x.strip() for x in lines if x.strip()]
    assert all(len(datagram) <= size or b"\n" not in datagram for datagram in got)
    for one, following in pairwise(got):
        assert len(one) + 1 + len(following.split(b"\n")[0]) > size


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


def test_an_answer_is_an_aligned_table(aggd, server):
    result = aggd("query", "api.latency", "--url", server.url)
    assert result.exit_code == 0
    table = """\
api.latency  timer  env:prod,region:eu
2026-11-24T02:00:00Z to 2026-11-24T02:15:00Z, resolution 10s, estimated

count      1234
sum     29000.5
rate    1.37111
mean    23.5012
median    21.25
std       11.75
min           1
max         310
last          -
p50       21.25  rank within 4.4 %
p99.9   303.123  rank within 0.14 %
"""
    assert result.output == table


def test_groups_are_a_row_each(aggd, server):
    server.answer = 200, GROUPS
    result = aggd("query", "api.latency", "--by", "host", "--url", server.url)
    table = """\
api.latency  timer  by host
2026-11-24T02:00:00Z to 2026-11-24T02:15:00Z, resolution 10s, estimated

host   count     mean  p99
web-1   1234  23.5012  300
-          0        -    -
"""
    assert result.output == table


def test_no_group_in_the_window_is_said(aggd, server):
    server.answer = 200, {"name": "api.latency", "series": []}
    result = aggd("query", "api.latency", "--by", "host", "--url", server.url)
    assert result.output == "api.latency: nothing in this window\n"


def test_the_question_is_asked_as_the_interface_has_it(aggd, server):
    words = ["--last", "15m", "-p", "50,99.9", "--tags", "env:prod,region:eu", "--by", "a,b"]
    aggd("query", "api/late ncy", *words, "--url", f"{server.url}/proxied/")
    aggd("query", "x", "--from", "2026-11-24T02:00:00+01:00", "--to", "5", "--url", server.url)
    first, second = map(urlsplit, server.asked)
    assert first.path == "/proxied/api/v1/stats/api%2Flate%20ncy"
    assert parse_qs(first.query) == {
        "last": ["15m"],
        "percentiles": ["50,99.9"],
        "tags": ["env:prod,region:eu"],
        "by": ["a,b"],
    }
    assert parse_qs(second.query) == {"from": ["2026-11-24T02:00:00+01:00"], "to": ["5"]}


def test_json_is_printed_as_it_came(aggd, server):
    result = aggd("query", "api.latency", "--json", "--url", server.url)
    assert result.output == json.dumps(TIMER) + "\n"


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ((404, UNKNOWN), 1, "aggd: no series 'x'; see what there is: curl '{}/api/v1/series?match"),
        ((400, BAD_LAST), 2, "aggd: {}: last must be a duration, got 'soon'"),
        ((503, BAD_LAST), 1, "aggd: {}: last must be a duration, got 'soon'"),
        ((404, b"<html>not here</html>"), 1, "aggd: {} answered 404, but not as aggd does"),
        ((200, {"hello": "world"}), 1, "aggd: {} answered 200, but not as aggd does"),
        ((200, [1]), 1, "aggd: {} answered 200, but not as aggd does"),
    ],
)
def test_an_answer_that_is_none_exits_with_what_to_do(aggd, server, answer, code, message):
    server.answer = answer
    result = aggd("query", "x", "--url", server.url)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(message.format(server.url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:0", "http://[::1", "http://x:y", "http://a..b"])
def test_a_daemon_that_is_out_of_reach_exits_with_what_to_do(aggd, url):
    result = aggd("query", "x", "--url", url)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"aggd: can't reach {url}: ")
    assert "start it with 'aggd run', or name its address with --url" in result.stderr


@pytest.mark.parametrize(
    "words", [["--last", "1h", "--from", "5"], ["--url", "127.0.0.1:8127"], ["--lst", "1h"]]
)
def test_a_question_asked_wrongly_exits_with_2(aggd, words):
    assert aggd("query", "x", *words).exit_code == 2
