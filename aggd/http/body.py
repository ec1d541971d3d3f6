"""Bodies of requests: bounded, unpacked, decoded."""

import json
import zlib
from typing import Any

import msgspec
from aiohttp import web

from aggd.errors import RequestError

GZIP = 31  # zlib's window bits for a gzip header and trailer
STEP = 1 << 18  # bytes unpacked at a time


async def read(request: web.Request, media: tuple[str, ...], limit: int) -> tuple[str, bytes]:
    """Media type and body of a request, still packed; refuse what we don't take."""
    kind = request.content_type if "Content-Type" in request.headers else media[0]
    if kind not in media:
        raise _unsupported("Content-Type", " or ".join(media), kind)
    if _encoding(request) not in ("identity", "gzip"):
        raise _unsupported("Content-Encoding", "gzip or identity", _encoding(request))
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > limit:
                raise _too_large(limit)
    except (web.RequestPayloadError, ConnectionResetError) as error:
        raise RequestError("bad_body", f"the body can't be read: {error}") from None
    return kind, bytes(body)


def _unsupported(header: str, known: str, found: str) -> RequestError:
    code = "unsupported_" + ("media_type" if header == "Content-Type" else "encoding")
    return RequestError(code, f"{header} must be {known}, got {found!r}", header, 415)


def _too_large(limit: int) -> RequestError:
    message = f"a body may have {limit} bytes, counted after unpacking (http.max_body)"
    return RequestError("body_too_large", message, None, 413)


def _encoding(request: web.Request) -> str:
    return request.headers.get("Content-Encoding", "identity").strip().lower()


def packed(request: web.Request) -> bool:
    """Tell whether the body is gzip."""
    return _encoding(request) == "gzip"


def unpack(body: bytes, limit: int) -> bytes:
    """Undo gzip of one or more members, never holding much more than `limit` bytes."""
    out = bytearray()
    while body:
        member = zlib.decompressobj(GZIP)
        while not member.eof:
            try:
                piece = member.decompress(body, STEP)
            except zlib.error as error:
                raise RequestError("bad_body", f"the body is not gzip: {error}") from None
            body = member.unconsumed_tail
            out += piece
            if len(out) > limit:
                raise _too_large(limit)
            if not piece and not body and not member.eof:
                raise RequestError("bad_body", "the body is gzip without its end")
        body = member.unused_data
    return bytes(out)


def decode(text: bytes) -> Any:
    """Decode JSON.

    NaN, infinity and 1e999 are read as well, as some clients write them: such a
    point is refused alone, not with all its neighbours.
    """
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise RequestError("bad_json", "the body is nested too deep") from None
    except ValueError as error:
        return _lenient(text, error)


def _lenient(text: bytes, error: ValueError) -> Any:
    try:
        found = json.loads(text)
        msgspec.json.encode(found)  # refuses half of a surrogate pair, which no answer could quote
    except RecursionError:
        raise RequestError("bad_json", "the body is nested too deep") from None
    except ValueError:
        raise RequestError("bad_json", f"the body is not JSON: {error}") from None
    return found
