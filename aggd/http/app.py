"""The HTTP application: routes, bounded bodies, errors as JSON.

    request --> read and bound the body --> [thread: unpack, question, answer, write] --> response

The loop itself never decodes, merges or writes anything large.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from aggd.errors import RequestError
from aggd.http import body
from aggd.http.live import Streams
from aggd.http.routes import ROUTES, Route
from aggd.http.service import JSON, Asked, Audience, LinesResult, Reply, Service

__all__ = ["Audience", "LinesResult", "Service", "make_app"]

log = logging.getLogger(__name__)

RETRY_AFTER = "5"  # seconds; what we have no room for now
COLUMNS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def make_app(service: Service) -> web.Application:
    """Put the application together."""
    # aiohttp would unpack bodies without a limit.
    app = web.Application(middlewares=[errors], handler_args={"auto_decompress": False})
    streams = Streams(service)
    app.on_shutdown.append(streams.end)
    for route in ROUTES:
        handle = _streaming(service, streams, route) if route.event else _handler(service, route)
        app.router.add_route(route.method, route.path, handle)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handle)
    return app


Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _handler(service: Service, route: Route) -> Handle:
    async def handle(request: web.Request) -> web.StreamResponse:
        media, text = "", b""
        if route.media:
            media, text = await body.read(request, route.media, service.max_body)
        asked = _asked(request, media, text)
        work = partial(_reply, service, route, asked, body.packed(request))
        reply = await asyncio.get_running_loop().run_in_executor(service.executor, work)
        return _response(reply)

    return handle


def _streaming(service: Service, streams: Streams, route: Route) -> Handle:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await streams.serve(request, route.answer, route.read(_asked(request)))

    return handle


def _asked(request: web.Request, media: str = "", text: bytes = b"") -> Asked:
    query = {key: ",".join(request.query.getall(key)) for key in request.query}
    return Asked(dict(request.match_info), query, media, text, request.remote or "")


def _reply(service: Service, route: Route, asked: Asked, packed: bool) -> Reply:
    """Everything that takes time, in a thread of its own."""
    if packed:
        asked = asked._replace(body=body.unpack(asked.body, service.max_body))
    found = route.answer(service, route.read(asked))
    return found if isinstance(found, Reply) else Reply(orjson.dumps(found, option=COLUMNS))


def _response(reply: Reply) -> web.Response:
    return web.Response(body=reply.body, status=reply.status, headers={"Content-Type": reply.media})


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure as JSON; what nobody foresaw is logged and becomes 500."""
    try:
        return await handler(request)
    except RequestError as error:
        return failure(error)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.path} takes {allowed}, not {request.method}"
        response = failure(RequestError("method_not_allowed", message, None, 405))
        response.headers["Allow"] = allowed
        return response
    except web.HTTPException as error:
        unknown = error.status == 404
        code = "not_found" if unknown else error.reason.lower().replace(" ", "_")
        message = f"there is no {request.path!r}" if unknown else error.reason
        return failure(RequestError(code, message, None, error.status))
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        message = "this question broke aggd; its log says where"
        return failure(RequestError("internal", message, None, 500))


def failure(error: RequestError) -> web.Response:
    """An error as every client reads it."""
    found = {"code": error.code, "message": error.message}
    if error.field is not None:
        found["field"] = error.field
    response = _response(Reply(orjson.dumps({"error": found}), JSON, error.status))
    if error.status in (429, 503):
        response.headers["Retry-After"] = RETRY_AFTER
    return response
