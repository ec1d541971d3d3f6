"""The daemon about itself."""

from typing import Any

import orjson

from aggd.http.questions import Nothing
from aggd.http.record import quoted
from aggd.http.service import Reply, Service
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
