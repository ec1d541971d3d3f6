"""Every mistake is answered as JSON that names field and value, and nothing is HTML."""

import asyncio
import logging

import pytest

from aggd.store.recorder import BadLine
from tests.http.server import NOW, Client, serving

AGGREGATE = {"metric_name": "t", "interval": "1m", "aggregation": "mean"}


@pytest.fixture
async def known(client) -> Client:
    client.past.send("t:1|ms")
    return client


@pytest.mark.parametrize(
    ("query", "code", "field", "said"),
    [
        ("last=x", "bad_last", "last", "a positive duration such as 30s or 5min, got 'x'"),
        ("last=-5m", "bad_last", "last", "got '-5m'"),
        ("last=0", "bad_last", "last", "got '0'"),
        ("last=", "bad_last", "last", "got ''"),
        ("last=1e999", "bad_last", "last", "got '1e999'"),
        ("last=5m&last=6m", "bad_last", "last", "got '5m,6m'"),
        ("last=5m&from=0", "bad_last", "last", "not both"),
        ("from=yesterday", "bad_from", "from", "got 'yesterday'"),
        ("from=2023-02-30T00:00:00Z", "bad_from", "from", "got '2023-02-30"),
        ("to=-1", "bad_to", "to", "got '-1'"),
        ("to=1e300", "bad_to", "to", "got '1e300'"),
        ("to=99999999999999999999", "bad_to", "to", "got '9999"),
        ("from=nan", "bad_from", "from", "got 'nan'"),
        ("from=100&to=100", "bad_from", "from", "before to"),
        ("from=2099-01-01T00:00:00Z", "bad_from", "from", "before now"),
        ("percentiles=101", "bad_percentiles", "percentiles", "from 0 to 100"),
        ("percentiles=-1", "bad_percentiles", "percentiles", "got '-1'"),
        ("percentiles=nan", "bad_percentiles", "percentiles", "got 'nan'"),
        ("percentiles=5_0", "bad_percentiles", "percentiles", "got '5_0'"),
        ("percentiles=", "bad_percentiles", "percentiles", "got ''"),
        ("percentiles=50,,90", "bad_percentiles", "percentiles", "got '50,,90'"),
        ("percentiles=" + ",".join(f"0.{i}" for i in range(1000, 1200)),
         "bad_percentiles", "percentiles", "got"),
        ("tags=", "bad_tags", "tags", "got ''"),
        ("by=,", "bad_by", "by", "got ','"),
        ("kind=meter", "bad_kind", "kind", "timer, gauge, counter or set, got 'meter'"),
        ("format=xml", "bad_format", "format", "rows or columns, got 'xml'"),
        ("percentile=5", "unknown_parameter", "percentile", "did you mean percentiles?"),
        ("Last=5m", "unknown_parameter", "Last", "did you mean last?"),
        ("zzz=1", "unknown_parameter", "zzz", "known: "),
        ("name=x", "unknown_parameter", "name", "path"),
        ("=", "unknown_parameter", "", "unknown parameter ''"),
        ("%ff%ed%a0%80=1", "unknown_parameter", None, "unknown parameter"),
    ],
)  # fmt: skip
async def test_a_wrong_parameter_is_400_and_named(known, query, code, field, said):
    status, error = await known.error("GET", f"/api/v1/stats/t?{query}")
    assert (status, error["code"]) == (400, code)
    assert said in error["message"]
    assert field is None or error["field"] == field


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"interval": "x"}, "bad_interval",
         "interval must be a positive duration such as 30s or 5min, got 'x'"),
        ({"interval": "15s"}, "bad_interval", "multiple of the flush interval, 10s, got 15s"),
        ({"interval": 0.5}, "bad_interval", "multiple"),
        ({"interval": None}, "bad_interval", "got None"),
        ({"interval": True}, "bad_interval", "got True"),
        ({"interval": 10**400}, "bad_interval", "positive duration"),
        ({"interval": []}, "bad_interval", "got []"),
        ({"metric_name": 7}, "bad_metric_name", "got 7"),
        ({"aggregation": "avg"}, "bad_aggregation", "unknown statistic 'avg'"),
        ({"aggregation": []}, "bad_aggregation", "got []"),
        ({"aggregation": ["mean", 5]}, "bad_aggregation", "statistics such as"),
        ({"aggregation": "p101"}, "bad_aggregation", "'p101'"),
        ({"aggregation": "p9_9"}, "bad_aggregation", "'p9_9'"),
        ({"aggregation": "p\u0665"}, "bad_aggregation", "unknown"),
        ({"fill": "linear"}, "bad_fill", "null, zero or previous, got 'linear'"),
        ({"from": {}}, "bad_from", "got {}"),
        ({"from": False}, "bad_from", "got False"),
        ({"to": "2023-11"}, "bad_to", "got '2023-11'"),
        ({"tags": 5}, "bad_tags", "got 5"),
        ({"by": [1]}, "bad_by", "got [1]"),
        ({"kind": "x"}, "bad_kind", "got 'x'"),
        ({"limit": 5}, "unknown_key", "unknown key 'limit'"),
        ({"metric": "t"}, "unknown_key", "did you mean metric_name?"),
    ],
)  # fmt: skip
async def test_a_wrong_key_of_a_body_is_400_and_named(known, change, code, said):
    status, error = await known.error("POST", "/api/v1/aggregate", AGGREGATE | change)
    assert (status, error["code"]) == (400, code)
    assert said in error["message"]
    assert error["field"] == next(iter(change))


@pytest.mark.parametrize("key", list(AGGREGATE))
async def test_a_missing_key_is_named(known, key):
    body = {name: value for name, value in AGGREGATE.items() if name != key}
    status, error = await known.error("POST", "/api/v1/aggregate", body)
    assert (status, error["code"], error["field"]) == (400, "missing_key", key)
    query = "&".join(f"{name}={value}" for name, value in body.items())
    status, error = await known.error("GET", f"/api/v1/aggregate?{query}")
    assert (status, error["code"], error["field"]) == (400, "missing_parameter", key)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 10_000, b'"x"'])
async def test_a_body_that_is_no_object_is_400(known, body):
    status, error = await known.error("POST", "/api/v1/aggregate", body)
    assert status == 400
    assert error["code"] in ("bad_json", "bad_body")


async def test_a_question_is_not_asked_in_lines(known):
    status, error = await known.error(
        "POST", "/api/v1/aggregate", b"t:1|ms", Content_Type="text/plain"
    )
    assert (status, error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "x", "1.5", "9" * 400])
async def test_a_wrong_limit_is_400(known, limit):
    for path in ("/api/v1/stats", "/api/v1/series"):
        status, error = await known.error("GET", f"{path}?limit={limit}")
        assert (status, error["code"], error["field"]) == (400, "bad_limit", "limit")


@pytest.mark.parametrize("cursor", ["x", "e30=", "%00", "W10", "a" * 999, "WzEsMixbXV0="])
async def test_a_wrong_cursor_is_400_or_a_place_in_the_list(known, cursor):
    status, answer = await known.request("GET", f"/api/v1/series?cursor={cursor}")
    assert status == 200 or (status, answer["error"]["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize("match", ["[", "[!", "[]", "*" * 300, "[z-a]", "(?<", "\\", "[a-", "[["])
async def test_any_glob_is_answered(known, match):
    answer = await known.get(f"/api/v1/stats?match={match}")
    assert answer["truncated"] is False


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api/v1", "/api/v1/rolled", "/api/v1/stats/", "/api/v2/stats", "//", "/%"],
)
async def test_an_unknown_path_is_404_as_json(client, path):
    status, error = await client.error("GET", path)
    assert (status, error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/record", "POST"),
        ("DELETE", "/api/v1/stats/t", "GET, HEAD"),
        ("PUT", "/api/v1/aggregate", "GET, HEAD, POST"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("PATCH", "/healthz", "GET, HEAD"),
    ],
)
async def test_another_method_is_405_and_told_which_there_are(client, method, path, allowed):
    response, _ = await client.raw(method, path)
    assert response.status == 405
    assert response.headers["Allow"] == allowed
    assert response.content_type == "application/json"


async def test_head_is_get_without_the_body(known):
    response, text = await known.raw("HEAD", "/api/v1/stats/t")
    assert (response.status, text) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100


async def test_what_nobody_foresaw_is_logged_once_and_answered_500_without_its_trace(caplog):
    def broken():
        raise ZeroDivisionError("the secret of the trace")

    async with serving(figures=broken) as client:
        with caplog.at_level(logging.ERROR):
            status, error = await client.error("GET", "/metrics")
        assert (status, error["code"]) == (500, "internal")
        assert "secret" not in str(error)
        assert [record.message for record in caplog.records] == ["GET /metrics failed"]
        assert (await client.get("/healthz")) == {"status": "ok"}


async def test_readiness_gives_its_reasons(client):
    assert await client.get("/readyz") == {"status": "ready", "reasons": []}
    async with serving(reasons=lambda: ["the disk is full"]) as other:
        status, answer = await other.request("GET", "/readyz")
        assert (status, answer["reasons"]) == (503, ["the disk is full"])


async def test_refused_lines_are_shown_the_newest_first_whatever_bytes_they_hold(client):
    lines = [b"a:x|c", b"\xff\xfe\x00no colon", b"long" * 1000]
    client.past.recorder.figures.bad_lines.extend(
        BadLine(NOW, "1.2.3.4:5", f"r{i}", line) for i, line in enumerate(lines)
    )
    shown = (await client.get("/api/v1/badlines"))["lines"]
    assert [bad["reason"] for bad in shown] == ["r2", "r1", "r0"]
    assert [bad["line"][:5] for bad in shown] == ["longl", "\\xff\\"[:5], "a:x|c"]
    assert all(len(bad["line"]) < 1000 for bad in shown)
    assert shown[0]["time"] == "2023-11-14T22:13:23.5Z"


async def test_a_connection_is_kept_through_answers_and_mistakes(known):
    host, port = known.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for path, expected in (("/healthz", 200), ("/no", 404), ("/api/v1/stats/t?last=x", 400)) * 3:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"HTTP/1.1 {expected} ".encode() in head
        length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n",
     b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
     b"POST /api/v1/record HTTP/1.1\r\nContent-Length: x\r\n\r\n",
     b"POST /api/v1/record HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
     b"GET / HTTP/1.1\r\nAccept: text/html\r\nX: \0\r\n\r\n"],
)  # fmt: skip
async def test_broken_http_is_4xx_and_no_page(known, request_):
    host, port = known.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert b"text/html" not in head
    writer.close()
    await writer.wait_closed()
    assert (await known.get("/healthz")) == {"status": "ok"}


async def test_a_client_that_goes_away_costs_nothing(known, caplog):
    host, port = known.base.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/v1/record HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await known.get("/healthz")) == {"status": "ok"}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
