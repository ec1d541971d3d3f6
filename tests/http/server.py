"""The HTTP application over a real socket, on a clock that stands still."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
from aiohttp import web

from aggd.config import Config
from aggd.http.app import Audience, LinesResult, Service, make_app
from aggd.outputs.prometheus import Family
from aggd.protocol.lines import LineParser, Parsed, Sample
from aggd.reload import Reloaded
from aggd.store.naming import Policy
from aggd.store.recorder import Recorder
from aggd.store.rollup import History, Tier
from aggd.store.series import Limits, Registry

NOW = 1_700_000_003.5  # 2023-11-14T22:13:23.5Z, in the middle of an interval
TIERS = (
    Tier("interval", 10, 3600),
    Tier("minute", 60, 7 * 86400),
    Tier("hour", 3600, 90 * 86400),
    Tier("day", 86400, 5 * 365 * 86400),
)
MAX_BODY = 1 << 20


class Past:
    """A registry, a history and who records into them."""

    def __init__(self, now: float = NOW, tiers: tuple[Tier, ...] = TIERS) -> None:
        self.registry = Registry(Limits())
        self.history = History(tiers, 1 << 30, 1 << 28, now)
        self.recorder = Recorder(self.registry, self.history, Policy())
        self.now = now

    def lines(self, body: bytes, now: float) -> LinesResult:
        parsed = Parsed()
        parser = LineParser()
        for line in body.split(b"\n"):
            parser.line(line, parsed)
        samples = [record for record in parsed.records if isinstance(record, Sample)]
        refused = self.recorder.record(samples, now)
        bad = [(None, reason, line) for reason, line in parsed.bad]
        return LinesResult(len(samples) - len(refused), bad)

    def send(self, *lines: str, age: float = 0.0) -> None:
        """Record lines that arrived `age` seconds ago."""
        result = self.lines("\n".join(lines).encode(), self.now - age)
        assert not result.rejected, result.rejected


class Client:
    """Asks one server."""

    def __init__(self, past: Past, session: aiohttp.ClientSession, base: str) -> None:
        self.past = past
        self.session = session
        self.base = base

    async def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and decoded answer; every answer must be JSON but those of /metrics."""
        response, text = await self.raw(method, path, body, headers)
        assert response.content_type == "application/json", (response.status, text)
        return response.status, json.loads(text) if text else None

    async def raw(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**({"Content-Type": "application/json"} if data is not None else {}),
                   **(headers or {})}  # fmt: skip
        data = io.BytesIO(data) if isinstance(data, bytes) else data
        url = aiohttp.client.URL(self.base + path, encoded=True)
        async with self.session.request(method, url, data=data, headers=headers) as response:
            return response, await response.read()

    async def get(self, path: str) -> Any:
        """The answer to a question that must succeed."""
        status, answer = await self.request("GET", path)
        assert status == 200, (path, status, answer)
        return answer

    async def post(self, path: str, body: Any) -> Any:
        """The answer to a body that must succeed."""
        status, answer = await self.request("POST", path, body)
        assert status == 200, (path, status, answer)
        return answer

    async def error(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Status and what is under "error", which has no other keys than the contract's."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        status, answer = await self.request(method, path, body, named)
        assert status >= 400, answer
        assert set(answer["error"]) <= {"code", "message", "field"}
        return status, answer["error"]


async def never(_: int) -> int:
    """Time stands still: no multiple of any number of seconds comes."""
    return await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def serving(past: Past | None = None, **changes: Any) -> AsyncIterator[Client]:
    """A server on a free port of the loopback, and a client of it."""
    past = past or Past()
    executor = ThreadPoolExecutor(4)
    service = Service(
        registry=past.registry,
        history=past.history,
        recorder=past.recorder,
        lines=past.lines,
        now=lambda: past.now,
        tick=never,
        audience=Audience(),
        executor=executor,
        max_body=MAX_BODY,
        figures=lambda: [Family("aggd_series", "gauge", "Series.", [({}, len(past.registry))])],
        reasons=list,
        reload=lambda: Reloaded(Config(), ["log.level"], []),
    )
    runner = web.AppRunner(make_app(replace(service, **changes)), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(past, session, f"http://{host}:{port}")
    finally:
        await runner.cleanup()
        await asyncio.to_thread(executor.shutdown)
