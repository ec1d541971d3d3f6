"""Clients that others wrote, over real sockets: all they can send, and the right numbers."""

import random
from datetime import timedelta
from time import time

import pytest
from aiodogstatsd import Client as AioDogStatsd
from datadog.dogstatsd import DogStatsd
from statsd import StatsClient

from tests.daemon import Daemon, eventually

SENT, RATE = 200, 0.25  # times, of which a client takes about a quarter
TWO_HOURS = 7200


@pytest.fixture
def statsd(daemon):
    client = StatsClient(*daemon.udp)
    yield client
    client.close()


@pytest.fixture
def dogstatsd(daemon):
    """Make clients of the daemon, which are stopped at the end."""
    clients = []

    def make(**options):
        host, port = daemon.udp
        clients.append(DogStatsd(host, port, **{"disable_telemetry": True, **options}))
        return clients[-1]

    yield make
    for client in clients:
        client.stop()


@pytest.fixture
def aiodogstatsd(daemon):
    """Make a client of the daemon; it has sent everything when it is left."""
    host, port = daemon.udp
    return lambda **options: AioDogStatsd(host=host, port=port, read_timeout=0.01, **options)


def taken(daemon, lines, events=0, checks=0):
    """Wait for this many lines; none of them was refused or doubted."""
    eventually(lambda: daemon.figure("aggd_lines_total") >= lines)
    assert daemon.figure("aggd_lines_total") == lines
    assert daemon.ask("/api/v1/badlines")["lines"] == []
    assert daemon.figure("aggd_lines_bad_total") == daemon.figure("aggd_warnings_total") == 0
    assert daemon.figure("aggd_events_total") == events
    assert daemon.figure("aggd_checks_total") == checks


def said(daemon, name, count, *keys):
    """Statistics of a series that has `count` samples."""
    answer = daemon.stats(name, count)
    return tuple(answer[key] for key in keys)


def sampled():
    """How many of `SENT` the clients will choose, which all ask `random`."""
    random.seed(8)
    chosen = sum(random.random() <= RATE for _ in range(SENT))
    random.seed(8)
    return chosen


def stood_for_all(daemon, name, kind, chosen):
    """A sampled series counts for `SENT`, as nearly as the client's choice allows."""
    assert daemon.stats(name, chosen / RATE)["kind"] == kind
    assert daemon.figure("aggd_samples_total", kind=kind) == chosen
    assert chosen / RATE == pytest.approx(SENT, rel=0.2)


def test_statsd_every_kind(daemon, statsd):
    statsd.incr("c")
    statsd.incr("c", 5)
    statsd.decr("c", 2)
    statsd.timing("t", 320)
    statsd.timing("t", timedelta(seconds=0.1205))
    statsd.gauge("g", 70)
    statsd.gauge("g", 5, delta=True)
    statsd.gauge("g", -15, delta=True)
    for member in ("joe", "bob", "joe", 7):
        statsd.set("s", member)
    assert said(daemon, "c", 3, "kind", "sum") == ("counter", 4)
    assert said(daemon, "t", 2, "kind", "min", "max", "mean") == ("timer", 120.5, 320, 220.25)
    assert said(daemon, "g", 3, "kind", "last", "min", "max") == ("gauge", 60, 60, 75)
    assert said(daemon, "s", 4, "kind", "unique") == ("set", 3)
    taken(daemon, 12)


def test_statsd_sets_a_gauge_below_zero_by_way_of_zero(daemon, statsd):
    statsd.gauge("g", 70)
    statsd.gauge("g", -3)
    assert said(daemon, "g", 3, "last", "max") == (-3, 70)
    taken(daemon, 3)


def test_statsd_timers_of_a_block_and_of_a_function(daemon, statsd):
    with statsd.timer("block") as timer:
        pass

    @statsd.timer("function")
    def timed():
        return 42

    assert (timed(), timed()) == (42, 42)
    (mean,) = said(daemon, "block", 1, "mean")
    assert mean == pytest.approx(timer.ms, abs=1e-6)
    low, high = said(daemon, "function", 2, "min", "max")
    assert 0 <= low <= high < 1000
    taken(daemon, 3)


def test_statsd_pipelines_put_all_lines_in_one_datagram(daemon):
    client = StatsClient(*daemon.udp, prefix="app", maxudpsize=1432)
    with client.pipeline() as pipe:
        for value in range(30):
            pipe.timing("t", value)
        pipe.incr("c", 3)
        pipe.gauge("g", -1)
        pipe.set("s", "joe")
    client.close()
    assert said(daemon, "app.t", 30, "sum", "median", "max") == (pytest.approx(435), 14.5, 29)
    assert said(daemon, "app.c", 1, "sum") == (3,)
    assert said(daemon, "app.s", 1, "unique") == (1,)
    assert said(daemon, "app.g", 2, "last") == (-1,)
    taken(daemon, 34)
    assert daemon.figure("aggd_datagrams_total") == 1


@pytest.mark.parametrize("kind", ["counter", "timer"])
def test_what_statsd_sampled_stands_for_what_it_left_out(daemon, statsd, kind):
    chosen = sampled()
    for _ in range(SENT):
        if kind == "counter":
            statsd.incr("x", 3, rate=RATE)
        else:
            statsd.timing("x", 3, rate=RATE)
    stood_for_all(daemon, "x", kind, chosen)
    assert daemon.stats("x", chosen / RATE)["sum"] == 3 * chosen / RATE
    taken(daemon, chosen)


def test_datadog_every_kind(daemon, dogstatsd):
    client = dogstatsd(namespace="app", constant_tags=["env:prod"])
    client.increment("c")
    client.increment("c", 5, tags=["host:a"])
    client.decrement("c", 2, tags=["host:b", "canary"])
    client.count("c", 10)
    client.gauge("g", 12.5)
    for value in (1, 2, 6):
        client.histogram("h", value)
        client.distribution("d", value, tags=["host:a"])
        client.timing("t", value)
        client.set("s", value % 2)
    assert said(daemon, "app.c", 4, "kind", "sum", "tags") == ("counter", 14, {"env": "prod"})
    assert daemon.stats("app.c", 1, tags="host:a,env:prod")["sum"] == 5
    assert daemon.stats("app.c", 1, tags="canary")["sum"] == -2
    by_host = daemon.ask("/api/v1/stats/app.c?by=host")["series"]
    assert {group["tags"].get("host"): group["sum"] for group in by_host} == {
        **{None: 11, "a": 5, "b": -2}
    }
    assert said(daemon, "app.g", 1, "kind", "last") == ("gauge", 12.5)
    for name in ("app.h", "app.d", "app.t"):
        assert said(daemon, name, 3, "kind", "sum", "median", "max") == (
            "timer",
            pytest.approx(9),
            2,
            6,
        )
    assert said(daemon, "app.s", 3, "kind", "unique") == ("set", 2)
    taken(daemon, 17)


def test_datadog_timers_of_a_block_and_of_a_function(daemon, dogstatsd):
    client = dogstatsd()
    with client.timed("block") as timer:
        pass

    @client.distributed("function", use_ms=True, tags=["env:prod"])
    def timed():
        return 42

    assert timed() == 42
    assert said(daemon, "block", 1, "mean") == (timer.elapsed,)
    assert said(daemon, "function", 1, "kind", "tags") == ("timer", {"env": "prod"})
    taken(daemon, 2)


def test_datadog_events_and_service_checks(daemon, dogstatsd):
    client = dogstatsd(constant_tags=["env:prod"], container_id="ci-1")
    client.event("Man down!", "This server needs assistance.")
    client.event(
        "Zürich | déjà vu",
        "two\nlines, a | and #no tags",
        alert_type="error",
        aggregation_key="path/to",
        source_type_name="python",
        date_happened=1_700_000_000,
        priority="low",
        tags=["host:a"],
        hostname="web-1",
        cardinality="low",
    )
    client.service_check("agent.up", DogStatsd.OK)
    client.service_check(
        "agent.down",
        DogStatsd.CRITICAL,
        tags=["host:a"],
        timestamp=1_700_000_000,
        hostname="web-1",
        message="m: all\nis well #really",
        cardinality="high",
    )
    taken(daemon, 4, events=2, checks=2)
    assert daemon.figure("aggd_series") == 0


def test_datadog_puts_values_at_the_time_they_carry(daemon, dogstatsd):
    client, then = dogstatsd(), int(time()) - TWO_HOURS
    client.gauge_with_timestamp("g", 12, then)
    client.gauge_with_timestamp("g", 3, then + 1, tags=["host:a"], cardinality="low")
    client.count_with_timestamp("c", 124, then)
    client.count("c", 1)
    window = {"from": str(then - 60), "to": str(then + 60)}
    assert daemon.stats("c", 1, **window)["sum"] == 124
    assert daemon.stats("c", 1, last="1h")["sum"] == 1
    assert said(daemon, "c", 2, "sum") == (125,)
    assert daemon.stats("g", 1, tags="host:a", **window)["last"] == 3
    assert daemon.stats("g", 2, **window)["max"] == 12
    assert daemon.stats("g", 0, last="1h")["max"] is None
    taken(daemon, 4)


@pytest.mark.parametrize("kind", ["counter", "timer"])
def test_what_datadog_sampled_stands_for_what_it_left_out(daemon, dogstatsd, kind):
    client, chosen = dogstatsd(default_sample_rate=RATE), sampled()
    for _ in range(SENT):
        if kind == "counter":
            client.increment("x", 3, tags=["env:prod"])
        else:
            client.distribution("x", 3)
    stood_for_all(daemon, "x", kind, chosen)
    assert daemon.stats("x", chosen / RATE)["sum"] == 3 * chosen / RATE
    taken(daemon, chosen)


def test_datadog_buffers_lines_into_few_datagrams(daemon, dogstatsd):
    client = dogstatsd(disable_buffering=False, flush_interval=1000)
    for value in range(200):
        client.timing("t", value, tags=["env:prod"])
    client.event("title", "text")
    client.service_check("agent.up", DogStatsd.OK, message="well")
    client.flush()
    assert said(daemon, "t", 200, "sum", "median") == (19900, 99.5)
    taken(daemon, 202, events=1, checks=1)
    assert daemon.figure("aggd_datagrams_total") < 10


def test_datadog_adds_up_what_it_can_before_it_sends(daemon, dogstatsd):
    client = dogstatsd(
        disable_aggregation=False, flush_interval=1000, max_metric_samples_per_context=100
    )
    for value in range(10):
        client.increment("c", value)
        client.gauge("g", value)
        client.set("s", value % 3)
        client.histogram("h", value)
        client.distribution("d", value)
        client.timing("t", value)
    client.flush_aggregated_metrics()
    assert said(daemon, "c", 1, "sum") == (45,)
    assert said(daemon, "g", 1, "last") == (9,)
    assert said(daemon, "s", 3, "unique") == (3,)
    for name in ("h", "d", "t"):
        assert said(daemon, name, 10, "sum", "median", "max") == (pytest.approx(45), 4.5, 9)
    taken(daemon, 35)


def test_datadog_tells_of_itself(daemon, dogstatsd):
    client = dogstatsd(
        disable_telemetry=False, telemetry_min_flush_interval=-1, constant_tags=["env:prod"]
    )
    client.increment("c")
    client.event("title", "text")
    client.service_check("agent.up", DogStatsd.OK)
    telemetry = "datadog.dogstatsd.client"
    assert said(daemon, f"{telemetry}.packets_dropped_writer", 3, "kind", "sum") == ("counter", 0)
    assert said(daemon, f"{telemetry}.metrics", 3, "sum") == (1,)
    assert said(daemon, f"{telemetry}.events", 3, "sum") == (1,)
    assert said(daemon, f"{telemetry}.service_checks", 3, "sum") == (1,)
    tags = daemon.stats(f"{telemetry}.metrics", 3)["tags"]
    assert (tags["client"], tags["client_transport"], tags["env"]) == ("py", "udp", "prod")
    known = daemon.ask(f"/api/v1/stats?match={telemetry}.*")["series"]
    assert {series["count"] for series in known} == {3}
    taken(daemon, 3 + 3 * len(known), events=1, checks=1)


async def test_aiodogstatsd_every_kind(daemon, aiodogstatsd):
    async with aiodogstatsd(namespace="app", constant_tags={"env": "prod"}) as client:
        client.increment("c")
        client.increment("c", value=5, tags={"host": "a"})
        client.decrement("c", value=2, tags={"host": "b"})
        client.gauge("g", value=70)
        client.gauge("g", value=12.5)
        for value in (1, 2, 6):
            client.histogram("h", value=value)
            client.distribution("d", value=value, tags={"host": "a"})
            client.timing("t", value=value)
    assert said(daemon, "app.c", 3, "kind", "sum", "tags") == ("counter", 4, {"env": "prod"})
    assert daemon.stats("app.c", 1, tags="host:a,env:prod")["sum"] == 5
    assert said(daemon, "app.g", 2, "kind", "last", "min") == ("gauge", 12.5, 12.5)
    for name in ("app.h", "app.d", "app.t"):
        assert said(daemon, name, 3, "kind", "sum", "median", "max") == (
            "timer",
            pytest.approx(9),
            2,
            6,
        )
    assert daemon.stats("app.d", 3)["tags"] == {"env": "prod", "host": "a"}
    taken(daemon, 14)


async def test_aiodogstatsd_timers_of_a_block_and_of_a_task(daemon, aiodogstatsd):
    async def forty_two():
        return 42

    async with aiodogstatsd() as client:
        with client.timeit("block", tags={"env": "prod"}):
            pass
        assert await client.timeit_task(forty_two(), "task") == 42
    assert said(daemon, "block", 1, "kind", "tags") == ("timer", {"env": "prod"})
    assert said(daemon, "task", 1, "kind", "tags") == ("timer", {})
    taken(daemon, 2)


@pytest.mark.parametrize("kind", ["counter", "timer"])
async def test_what_aiodogstatsd_sampled_stands_for_what_it_left_out(daemon, aiodogstatsd, kind):
    chosen = sampled()
    async with aiodogstatsd(sample_rate=RATE) as client:
        for _ in range(SENT):
            if kind == "counter":
                client.increment("x", value=3, tags={"env": "prod"})
            else:
                client.histogram("x", value=3)
    stood_for_all(daemon, "x", kind, chosen)
    assert daemon.stats("x", chosen / RATE)["sum"] == 3 * chosen / RATE
    taken(daemon, chosen)


@pytest.mark.parametrize("compiled", ["true", "false"])
async def test_a_gauge_below_zero_is_set_by_a_line_with_tags_where_signs_are_auto(compiled):
    daemon = Daemon(AGGD_LISTEN__COMPILED=compiled, AGGD_PROTOCOL__GAUGE_SIGN="auto")
    host, port = daemon.udp
    datadog = DogStatsd(host, port, constant_tags=["env:prod"])
    plain = StatsClient(host, port)
    async with AioDogStatsd(host=host, port=port, read_timeout=0.01) as aio:
        for value in (70, -3):
            datadog.gauge("datadog", value)
            aio.gauge("aio", value=value, tags={"env": "prod"})
            plain.gauge("plain", value, delta=True)
    datadog.stop()
    plain.close()
    assert said(daemon, "datadog", 2, "last", "max") == (-3, 70)
    assert said(daemon, "aio", 2, "last", "max") == (-3, 70)
    assert said(daemon, "plain", 2, "last", "max") == (67, 70)
    assert daemon.stop()[0] == 0
