"""The daemon about itself."""

from ipaddress import ip_address
from typing import Any

import orjson

from aggd.errors import ConfigError, RequestError
from aggd.http.questions import Nothing
from aggd.http.record import quoted
from aggd.http.service import Asked, Reply, Service
from aggd.outputs import prometheus
from aggd.protocol.times import format_time


def metrics(service: Service, question: Nothing) -> Reply:
    """Answer ``GET /metrics``."""
    return Reply(prometheus.render(service.figures()), prometheus.MEDIA)


def healthz(service: Service, question: Nothing) -> dict[str, Any]:
    """Answer ``GET /healthz``: a loop that answers is alive."""
    return {"status": "ok"}


def readyz(service: Service, question: Nothing) -> Reply:
    """Answer ``GET /readyz``."""
    reasons = service.reasons()
    answer = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    return Reply(orjson.dumps(answer), status=503 if reasons else 200)


def reload(service: Service, asked: Asked) -> dict[str, Any]:
    """Answer ``POST /api/v1/admin/reload``, from this machine only."""
    if not ip_address(asked.remote or "0.0.0.0").is_loopback:
        message = f"only this machine may do that, not {asked.remote}"
        raise RequestError("forbidden", message, None, 403)
    try:
        found = service.reload()
    except ConfigError as error:
        raise RequestError("bad_config", f"nothing has changed: {error}", None, 422) from None
    return {"changed": found.changed, "needs_restart": found.needs_restart}


def badlines(service: Service, question: Nothing) -> dict[str, Any]:
    """Answer ``GET /api/v1/badlines``, the newest first."""
    lines = list(service.recorder.figures.bad_lines.copy())
    return {
        "lines": [
            {
                "time": format_time(bad.time),
                "sender": bad.sender,
                "reason": bad.reason,
                "line": quoted(bad.line),
            }
            for bad in reversed(lines)
        ]
    }
