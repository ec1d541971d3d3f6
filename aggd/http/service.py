"""What the HTTP edge needs from the daemon, and what goes through it."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from aggd.outputs.prometheus import Family
from aggd.store.recorder import Recorder
from aggd.store.rollup import History
from aggd.store.series import Registry

JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
EVENTS = "text/event-stream"


class Reloaded(Protocol):
    """Keys of the configuration that changed, and those that will at the next start."""

    @property
    def changed(self) -> list[str]: ...

    @property
    def needs_restart(self) -> list[str]: ...


class LinesResult(NamedTuple):
    """What became of a body of lines: samples taken; (line number, reason, line) refused."""

    accepted: int
    rejected: Sequence[tuple[int | None, str, bytes]]


@dataclass(slots=True)
class Audience:
    """Who listens to streams; changed on the loop alone."""

    listeners: int = 0
    dropped: int = 0  # in all, for reading too slowly


@dataclass(slots=True)
class Service:
    """The daemon as its HTTP edge sees it; times in seconds since the epoch."""

    registry: Registry
    history: History
    recorder: Recorder
    lines: Callable[[bytes, float], LinesResult]  # records statsd lines
    now: Callable[[], float]
    tick: Callable[[int], Awaitable[int]]  # waits for the next multiple of so many seconds
    audience: Audience
    executor: ThreadPoolExecutor  # runs whatever takes longer than a look-up
    max_body: int  # bytes
    figures: Callable[[], list[Family]]
    reasons: Callable[[], list[str]]  # why the answers are not to be trusted yet; none: ready
    reload: Callable[[], Reloaded]  # reads the configuration again
    thresholds: Sequence[float] = ()  # statsd's percentiles, which every timer's stats show


class Asked(NamedTuple):
    """A request, read."""

    path: dict[str, str]  # of the parameters in the path
    query: dict[str, str]
    media: str  # of the body, without parameters
    body: bytes
    remote: str = ""  # address of the client


class Reply(NamedTuple):
    """An answer, written."""

    body: bytes
    media: str = JSON
    status: int = 200
