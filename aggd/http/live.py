"""Server-sent events: one computation for all who ask the same.

                          channel: one question        listener: one connection
    tick --> [thread: answer, write] --> event --+--> queue --> socket
                                                 +--> queue --> socket
                                                 +--> full: ended and counted

Nobody waits for another: an answer that takes long lets ticks pass, and a reader
that falls behind loses its connection.  A channel starts with its first listener
and ends with its last.  All of this is on the loop; only answers are not.

Source: html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import orjson
from aiohttp import web

from aggd.errors import RequestError
from aggd.http.questions import Live
from aggd.http.service import EVENTS, Service

Answer = Callable[[Service, Live], object]

MAX_LISTENERS = 1024
MAX_CHANNELS = 64
AT_ONCE = 2  # answers being computed; other questions need threads too
WAITING = 8  # events that a reader may be behind
PIECE = 1 << 16  # bytes of an event handed to a socket before the ones before have left
KEEP_ALIVE = 15  # seconds; proxies end what is silent for 60
COMMENT = b":\n\n"
RETRY = b"retry: 2000\n\n"  # ms before a reader that lost us comes back
HEADERS = {
    "Content-Type": EVENTS,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect events
}

log = logging.getLogger(__name__)


class Listener:
    """One connection, and the events it has yet to be sent; for the task that serves it."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._events: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._ended = False

    def offer(self, event: bytes) -> bool:
        """Take an event to send; False once, and the end, where the reader is too far behind."""
        if self._ended:
            return True
        if self._events.full():
            self.end()
            return False
        self._events.put_nowait(event)
        return True

    def end(self) -> None:
        """End the stream, whatever it waits for."""
        if not self._ended:
            self._ended = True
            self._task.cancel()

    async def serve(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send events until the stream is ended or the reader has gone."""
        try:
            with suppress(ConnectionError):
                await response.prepare(request)
                await self._send(response)
        except asyncio.CancelledError:
            if not self._ended:
                raise
            self._task.uncancel()
            transport = request.transport
            if transport is not None and transport.get_write_buffer_size():
                transport.abort()  # closing would wait for who doesn't read

    async def _send(self, response: web.StreamResponse) -> None:
        await response.write(RETRY)
        while True:
            event = memoryview(await self._events.get())
            for at in range(0, len(event), PIECE):
                await response.write(event[at : at + PIECE])


class Channel:
    """One question, answered at every multiple of its `every`, and who listens."""

    def __init__(
        self, service: Service, answer: Answer, question: Live, room: asyncio.Semaphore
    ) -> None:
        self.question = question
        self.listeners: set[Listener] = set()
        self._service = service
        self._answer = answer
        self._room = room
        self._silent = True
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._answers())
            both.create_task(self._keep_alive())

    async def _answers(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = await self._service.tick(int(self.question.every))
            async with self._room:
                event = await loop.run_in_executor(self._service.executor, self._event, due)
            self._silent = False
            self._publish(event)

    def _event(self, due: int) -> bytes:
        data = orjson.dumps(self._answer(self._service, self.question))
        return b"event: stats\nid: %d\ndata: %b\n\n" % (due, data)

    async def _keep_alive(self) -> None:
        while True:
            await self._service.tick(KEEP_ALIVE)
            if self._silent:
                self._publish(COMMENT)
            self._silent = True

    def _publish(self, event: bytes) -> None:
        for listener in self.listeners:
            if not listener.offer(event):
                self._service.audience.dropped += 1


class Streams:
    """All channels of an application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._channels: dict[Live, Channel] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def serve(
        self, request: web.Request, answer: Answer, question: Live
    ) -> web.StreamResponse:
        """Answer a question again and again, until one of the two sides ends it.

        Raises
        ------
        RequestError
            503 where there are too many listeners or questions.
        """
        response = web.StreamResponse(headers=HEADERS)
        if request.method != "HEAD":
            with self._listening(answer, question) as listener:
                await listener.serve(request, response)
        return response

    async def end(self, _: web.Application) -> None:
        """End all streams."""
        for channel in [*self._channels.values()]:
            self._close(channel)

    @contextmanager
    def _listening(self, answer: Answer, question: Live) -> Iterator[Listener]:
        channel, listener = self._channel(answer, question), Listener()
        channel.listeners.add(listener)
        self._service.audience.listeners += 1
        try:
            yield listener
        finally:
            self._service.audience.listeners -= 1
            channel.listeners.remove(listener)
            if not channel.listeners:
                self._close(channel)

    def _channel(self, answer: Answer, question: Live) -> Channel:
        if self._service.audience.listeners >= MAX_LISTENERS:
            raise _refused("listeners", MAX_LISTENERS)
        if question not in self._channels:
            if len(self._channels) >= MAX_CHANNELS:
                raise _refused("questions", MAX_CHANNELS)
            channel = Channel(self._service, answer, question, self._room)
            channel.task.add_done_callback(lambda _: self._ended(channel))
            self._channels[question] = channel
        return self._channels[question]

    def _ended(self, channel: Channel) -> None:
        if not channel.task.cancelled() and (error := channel.task.exception()):
            log.error("answering %s failed", channel.question, exc_info=error)
            self._close(channel)

    def _close(self, channel: Channel) -> None:
        """Forget a channel and end what belongs to it; once or again."""
        if self._channels.get(channel.question) is channel:
            del self._channels[channel.question]
        channel.task.cancel()
        for listener in channel.listeners:
            listener.end()


def _refused(what: str, most: int) -> RequestError:
    message = f"{most} {what} are live already, which is the most there may be; try again later"
    return RequestError(f"too_many_{what}", message, None, 503)
