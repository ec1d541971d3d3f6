"""Streams: one computation for all who ask the same, and nobody waits for another."""

import asyncio
import json
import logging
import socket
import threading
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from aggd.flush import boundary_due
from aggd.http.live import MAX_CHANNELS, MAX_LISTENERS, WAITING, Listener
from aggd.http.service import Audience
from tests.http.server import Past, serving

T = 1_700_000_000  # what a FakeClock starts at
LIVE = "/api/v1/live"
LARGE = [f"{'long.' * 20}{i}:1|ms" for i in range(1000)]  # half a megabyte in an event


class Live:
    """A server on a clock that stands still, and its streams."""

    def __init__(self, client, clock, audience):
        self.client = client
        self.clock = clock
        self.audience = audience
        self.responses = []

    async def listen(self, query=""):
        """An open stream."""
        response = await self.client.session.get(f"{self.client.base}{LIVE}?{query}")
        self.responses.append(response)
        assert response.status == 200, await response.read()
        assert await response.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        return response

    async def connect(self, query="", receive_buffer=1 << 16):
        """A socket that has asked for a stream, and reads nothing."""
        host, port = self.client.base.removeprefix("http://").split(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (host, int(port)))
        before = self.audience.listeners
        await loop.sock_sendall(sock, f"GET {LIVE}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while self.audience.listeners == before:
            await asyncio.sleep(0)
        return sock

    async def advance(self, seconds=1, channels=1):
        """Let time pass when each channel waits for it, to answer and to keep alive."""
        await self.clock.sleeping(2 * channels)
        self.clock.advance(seconds)

    async def until_dropped(self, response):
        """Let time pass until somebody is dropped; the seconds of events that came meanwhile."""
        seconds = []
        while not self.audience.dropped:
            await self.advance()
            seconds.append((await event(response))[0])
            assert len(seconds) < 100  # the kernel can't hold that much
        return seconds

    async def left(self, listeners=0):
        """Let time pass until so many listen."""
        while self.audience.listeners > listeners:
            self.clock.advance(1)
            await asyncio.sleep(0)


@asynccontextmanager
async def streaming(clock, **changes):
    audience = changes.pop("audience", Audience())
    known = {"now": clock.now, "tick": partial(boundary_due, clock), "audience": audience}
    async with serving(Past(clock.now()), **{**known, **changes}) as client:
        live = Live(client, clock, audience)
        yield live
        for response in live.responses:
            response.close()


@pytest.fixture
async def live(clock):
    async with streaming(clock) as found:
        yield found


async def event(response):
    """The second and the data of the next event."""
    lines = (await response.content.readuntil(b"\n\n")).decode().splitlines()
    found = dict(line.split(": ", 1) for line in lines if line)
    assert list(found) == ["event", "id", "data"]
    assert found["event"] == "stats"
    return int(found["id"]), json.loads(found["data"])


class Calls:
    """Seconds since the epoch, and how often somebody asked for them."""

    def __init__(self, clock):
        self.clock = clock
        self.count = 0

    def __call__(self):
        self.count += 1
        return self.clock.now()


async def test_an_event_is_what_stats_answers_about_the_last_seconds(clock):
    async with streaming(clock, thresholds=(90.0,)) as live:
        past = live.client.past
        past.send("api.t:1|ms|#a:b", "api.t:9|ms|#a:b", "api.t:5|ms", "api.c:3|c", "db.t:1|ms")
        past.send("api.old:1|ms", age=600)
        query = "match=api.*&percentiles=50,99.9"
        response = await live.listen(query)
        await live.advance()
        second, data = await event(response)
        stats = await live.client.get(f"/api/v1/stats?last=10s&{query}")
    assert data == {"timestamp": "2023-11-14T22:13:21Z", **stats}
    assert second == T + 1
    assert [(s["name"], s["tags"], s["count"]) for s in data["series"]] == [
        ("api.c", {}, 1), ("api.old", {}, 0), ("api.t", {"a": "b"}, 2), ("api.t", {}, 1),
    ]  # fmt: skip
    assert data["series"][2]["p50"] == 5


async def test_the_next_event_has_what_came_since(live):
    response = await live.listen("match=c")
    counts = []
    for _ in range(3):
        live.client.past.send("c:1|c")
        await live.advance()
        counts += [s["count"] for s in (await event(response))[1]["series"]]
    assert counts == [1, 2, 3]


async def test_a_series_that_nobody_has_sent_yet_is_no_error(live):
    response = await live.listen("match=nothing.*")
    await live.advance()
    assert (await event(response))[1]["series"] == []


async def test_tags_kind_last_and_limit_narrow(live):
    live.client.past.send("t:1|ms|#a:b", "t:2|ms|#a:c", "t:3|c|#a:b", "u:4|ms|#a:b")
    live.client.past.send("t:7|ms|#a:b", age=60)
    response = await live.listen("tags=a:b&kind=timer&limit=1&last=5m")
    await live.advance()
    data = (await event(response))[1]
    assert [s["sum"] for s in data["series"]] == [8]
    assert data["truncated"] is True


async def test_events_come_at_multiples_of_every(clock):
    clock.advance(3.4)
    async with streaming(clock) as live:
        response = await live.listen("every=5s")
        await live.advance(2)
        assert (await event(response))[0] == T + 5
        await live.advance(4.7)
        assert (await event(response))[0] == T + 10
        await live.advance(17)
        assert (await event(response))[0] == T + 25


async def test_who_asks_the_same_shares_one_answer(clock):
    calls = Calls(clock)
    async with streaming(clock, now=calls) as live:
        queries = ("match=api.*&every=1s", "every=1&match=api.%2A", "match=api.*&last=10")
        responses = [await live.listen(query) for query in queries * 5]
        for asked in range(1, 4):
            await live.advance()
            events = [await event(response) for response in responses]
            assert all(found == events[0] for found in events)
            assert calls.count == asked
        assert live.audience == Audience(15, 0)


async def test_another_question_is_answered_apart(clock):
    calls = Calls(clock)
    async with streaming(clock, now=calls) as live:
        live.client.past.send("a:1|c", "b:1|c")
        responses = [await live.listen(f"match={name}") for name in "ab"]
        await live.advance(channels=2)
        found = [(await event(response))[1]["series"] for response in responses]
        assert [[s["name"] for s in series] for series in found] == [["a"], ["b"]]
        assert calls.count == 2


async def test_an_answer_that_takes_long_lets_ticks_pass(clock):
    started, go, calls = threading.Event(), threading.Event(), Calls(clock)

    def now():
        started.set()
        go.wait()
        return calls()

    async with streaming(clock, now=now) as live:
        response = await live.listen()
        await live.advance()
        await asyncio.to_thread(started.wait)
        for _ in range(5):
            clock.advance(1)
            await asyncio.sleep(0)
        go.set()
        assert (await event(response))[0] == T + 1
        await live.advance()
        assert (await event(response))[0] == T + 7
        assert calls.count == 2


async def test_slow_answers_leave_threads_to_other_questions(clock):
    go = threading.Event()

    def now():
        go.wait()
        return clock.now()

    async with streaming(clock, now=now) as live:
        responses = [await live.listen(f"match={i}") for i in range(8)]
        await live.advance(channels=8)
        assert await live.client.get("/healthz") == {"status": "ok"}
        go.set()
        assert [(await event(response))[0] for response in responses] == [T + 1] * 8


async def test_a_stream_without_events_is_kept_alive(clock):
    clock.advance(40)  # to a whole minute
    async with streaming(clock) as live:
        response = await live.listen("every=60")
        for _ in range(3):
            await live.advance(15)
            assert await response.content.readuntil(b"\n\n") == b":\n\n"
        await live.advance(15)
        found = [await response.content.readuntil(b"\n\n") for _ in range(2)]
        assert sorted(of[:6] for of in found) == [b":\n\n", b"event:"]
        for _ in range(2):
            await live.advance(15)
        assert await response.content.readuntil(b"\n\n") == b":\n\n"


async def test_a_stream_with_events_needs_nothing_more(live):
    response = await live.listen("every=5")
    seconds = []
    for _ in range(12):
        await live.advance(5)
        seconds.append((await event(response))[0])
    assert seconds == [T + 5 * k for k in range(1, 13)]


async def test_a_reader_that_never_reads_is_dropped_and_nobody_else_notices(live):
    live.client.past.send(*LARGE)
    response = await live.listen("limit=1000")
    await live.clock.sleeping(2)
    before = asyncio.all_tasks()
    stalled = await live.connect("limit=1000")
    seconds = await live.until_dropped(response)
    while asyncio.all_tasks() != before:
        await asyncio.sleep(0)
    await live.advance()
    seconds.append((await event(response))[0])
    assert seconds == [T + 1 + k for k in range(len(seconds))]
    assert live.audience == Audience(1, 1)
    await refused(stalled)


async def test_a_reader_is_dropped_once():
    async def read(listeners):
        listeners.append(Listener())
        await asyncio.Event().wait()

    listeners = []
    task = asyncio.create_task(read(listeners))
    await asyncio.sleep(0)
    taken = [listeners[0].offer(b":\n\n") for _ in range(WAITING + 3)]
    assert taken == [True] * WAITING + [False, True, True]
    with pytest.raises(asyncio.CancelledError):
        await task


async def refused(sock):
    """Write until it is refused, as the other side has closed what nobody reads."""
    with sock, suppress(ConnectionError):
        while sock.send(bytes(1024)):
            await asyncio.sleep(0)


async def test_a_reader_that_goes_away_leaves_nothing_behind(live, caplog):
    before = asyncio.all_tasks()
    responses = [await live.listen(query) for query in ("", "", "match=b")]
    responses[0].close()
    await live.left(2)
    assert (await event(responses[1]))[0] > T
    for response in responses:
        response.close()
    await live.left()
    while asyncio.all_tasks() != before:
        await asyncio.sleep(0)
    assert not caplog.records


async def test_a_question_is_started_again_after_its_last_listener_has_left(live):
    (await live.listen()).close()
    await live.left()
    response = await live.listen()
    await live.clock.sleeping(2)
    second = int(live.clock.now()) + 1
    live.clock.advance(1)
    assert (await event(response))[0] == second


async def test_the_end_of_the_server_ends_streams_at_once_read_or_not(clock):
    loop = asyncio.get_running_loop()
    async with streaming(clock) as live:
        live.client.past.send(*LARGE)
        response = await live.listen("limit=1000")
        stalled = [await live.connect("limit=1000")]
        for _ in range(WAITING // 2):
            await live.advance()
            await event(response)
        stalled.append(await live.connect("limit=1000"))  # half a queue from being dropped too
        await live.until_dropped(response)
        idle = await live.connect("match=nothing")
        start = loop.time()
    assert loop.time() - start < 5  # of the 60 that aiohttp would wait
    with idle:
        assert (await loop.sock_recv(idle, 1 << 20)).endswith(b"\r\n0\r\n\r\n")
    for sock in stalled:
        await refused(sock)
    assert live.audience == Audience(0, 1)


@pytest.mark.parametrize("query", ["every=0.5s", "every=0", "every=61", "every=1m1s", "every=",
                                   "every=-1", "every=nan", "every=1e999"])  # fmt: skip
async def test_every_is_whole_seconds_up_to_a_minute(live, query):
    status, error = await live.client.error("GET", f"{LIVE}?{query}")
    assert (status, error["code"], error["field"]) == (400, "bad_every", "every")
    assert error["message"].startswith("every must be whole seconds from 1s to 60s, got '")
    assert live.audience.listeners == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("evry=1s", "unknown_parameter"),
        ("from=0", "unknown_parameter"),
        ("last=0", "bad_last"),
        ("percentiles=101", "bad_percentiles"),
        ("limit=1001", "bad_limit"),
        ("tags=,", "bad_tags"),
        ("kind=x", "bad_kind"),
    ],
)
async def test_a_mistake_is_answered_before_the_stream_starts(live, query, code):
    status, error = await live.client.error("GET", f"{LIVE}?{query}")
    assert (status, error["code"]) == (400, code)
    response, _ = await live.client.raw("HEAD", f"{LIVE}?{query}")
    assert response.status == 400


async def test_head_has_the_headers_of_a_stream_and_its_end(live):
    response, text = await live.client.raw("HEAD", LIVE)
    assert (response.status, text, live.audience.listeners) == (200, b"", 0)
    streamed = await live.listen()
    for found in (response, streamed):
        assert found.headers["Content-Type"] == "text/event-stream"
        assert found.headers["Cache-Control"] == "no-store"
        assert found.headers["X-Accel-Buffering"] == "no"


async def test_more_listeners_than_there_may_be_are_told_to_come_back(clock):
    async with streaming(clock, audience=Audience(MAX_LISTENERS - 1)) as live:
        response = await live.listen()
        refused, text = await live.client.raw("GET", LIVE)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert json.loads(text)["error"]["code"] == "too_many_listeners"
        response.close()
        await live.left(MAX_LISTENERS - 1)
        await live.listen()


async def test_more_questions_than_there_may_be_are_told_to_come_back(live):
    responses = [await live.listen(f"match={i}") for i in range(MAX_CHANNELS)]
    status, error = await live.client.error("GET", f"{LIVE}?match=more")
    assert (status, error["code"]) == (503, "too_many_questions")
    assert error["message"].startswith("64 questions are live already")
    await live.listen("match=7")
    responses[0].close()
    await live.left(MAX_CHANNELS)
    await live.listen("match=more")


async def test_what_nobody_foresaw_is_logged_and_ends_the_stream_for_a_new_one(clock, caplog):
    calls = Calls(clock)

    def now():
        found = calls()
        assert calls.count > 1, "a bug"
        return found

    async with streaming(clock, now=now) as live:
        responses = [await live.listen() for _ in range(3)]
        with caplog.at_level(logging.ERROR):
            await live.advance()
            assert [await response.read() for response in responses] == [b""] * 3
        assert len(caplog.records) == 1
        assert "a bug" in caplog.text
        assert live.audience == Audience(0, 0)
        response = await live.listen()
        await live.advance()
        assert (await event(response))[0] == T + 2
