"""POST /api/v1/record, as clients and as enemies send it."""

import asyncio
import gzip
import json
import zlib

import pytest

from tests.http.server import MAX_BODY, NOW

RECORD = "/api/v1/record"
SEED = {"data": [{"name": "api.latency", "value": 23.5, "timestamp": "2024-01-01T00:00:00Z"}]}


def point(value=1.0, **more):
    return {"name": "t", "value": value, **more}


async def test_the_point_of_2024_is_answered_by_stats_and_by_its_bucket(client):
    client.past.now = 1_800_000_000.0
    assert await client.post(RECORD, SEED) == {"accepted": 1, "rejected": []}
    stats = await client.get("/api/v1/stats/api.latency")
    assert [stats[k] for k in ("mean", "median", "p50", "p99", "min", "max")] == [23.5] * 6
    asked = {"metric_name": "api.latency", "interval": "5min", "aggregation": "mean"}
    answer = await client.post("/api/v1/aggregate", asked)
    assert answer["buckets"] == [{"timestamp": "2024-01-01T00:00:00Z", "count": 1, "mean": 23.5}]


async def test_a_refused_point_costs_only_itself(client):
    data = [point(1), point("x"), point(None), point(True), {"name": "t"}, point(2)]
    answer = await client.post(RECORD, {"data": data})
    assert answer["accepted"] == 2
    assert [refused["index"] for refused in answer["rejected"]] == [1, 2, 3, 4]
    assert all(refused["reason"] and refused["message"] for refused in answer["rejected"])
    assert (await client.get("/api/v1/stats/t"))["count"] == 2


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
async def test_a_number_that_is_not_finite_refuses_its_point_alone(client, value):
    body = b'{"data": [{"name": "t", "value": %s}, {"name": "t", "value": 2}]}' % value.encode()
    answer = await client.post(RECORD, body)
    assert answer["accepted"] == 1
    assert [refused["index"] for refused in answer["rejected"]] == [0]


async def test_points_outside_of_all_that_is_kept_are_reported(client):
    data = [point(1, timestamp=NOW + 3600), point(2), point(3, timestamp=NOW + 30)]
    answer = await client.post(RECORD, {"data": data})
    assert answer["accepted"] == 2
    assert [(r["index"], r["reason"]) for r in answer["rejected"]] == [(0, "future_timestamp")]
    assert (await client.get("/api/v1/stats/t"))["count"] == 2


async def test_400_when_every_point_is_refused(client):
    status, answer = await client.request("POST", RECORD, {"data": [point("x")]})
    assert status == 400
    assert answer["accepted"] == 0
    assert len(answer["rejected"]) == 1
    assert answer["error"]["code"] == answer["rejected"][0]["reason"]


async def test_no_points_are_no_mistake(client):
    assert await client.post(RECORD, {"data": []}) == {"accepted": 0, "rejected": []}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b"7", b"null", b'{"data": 1}', b'{"data": {}}', b'"\xff"', b"\0" * 100,
     b'{"date": []}', b'{"data": [], "x": 1}', b"[" * 100_000, b'{"data":' + b"[" * 100_000,
     b'{"data": ["\\ud800"]}', b"1" * 5000, SEED],
)  # fmt: skip
async def test_a_body_that_is_no_batch_of_points_is_refused(client, body):
    if body is SEED:  # the others differ from this one, which is right
        client.past.now = 1_800_000_000.0
        assert (await client.request("POST", RECORD, body))[0] == 200
        return
    status, error = await client.error("POST", RECORD, body)
    assert status == 400
    assert error["code"] in ("bad_json", "bad_body", "unknown_key")


async def test_one_point_a_line_and_a_broken_line_costs_only_itself(client):
    body = b'{"name": "t", "value": 1}\n\n{"name": \r\n{"name": "t", "value": NaN}\n'
    body += b'{"name": "t", "value": 4}'
    headers = {"Content-Type": "application/x-ndjson"}
    status, answer = await client.request("POST", RECORD, body, headers)
    assert status == 200
    assert answer["accepted"] == 2
    assert [refused["index"] for refused in answer["rejected"]] == [2, 3]


async def test_statsd_lines_are_taken_as_text(client):
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    status, answer = await client.request("POST", RECORD, b"t:5|ms\nbroken\nt:7|ms\n", headers)
    assert status == 200
    assert answer["accepted"] == 2
    (refused,) = answer["rejected"]
    assert refused["reason"] == "no_colon"
    assert "broken" in refused["message"]
    assert (await client.get("/api/v1/stats/t"))["sum"] == 12


async def test_lines_that_are_all_refused_are_400(client):
    status, error = await client.error("POST", RECORD, b"x\ny\n", Content_Type="text/plain")
    assert (status, error["code"]) == (400, "no_colon")


async def test_a_long_list_of_refused_points_is_cut_and_says_so(client):
    data = [point(1), *[0] * 5000]
    answer = await client.post(RECORD, {"data": data})
    assert answer["accepted"] == 1
    assert len(answer["rejected"]) + answer["rejected_not_listed"] == 5000


async def test_gzip_is_unpacked_however_many_members_it_has(client):
    first, second = b'{"data": [{"name": "t",', b' "value": 3}]}'
    body = gzip.compress(first) + gzip.compress(second)
    status, answer = await client.request("POST", RECORD, body, {"Content-Encoding": "gzip"})
    assert (status, answer["accepted"]) == (200, 1)


async def test_a_gzip_bomb_is_refused_at_the_limit(client):
    body = gzip.compress(b" " * (200 * MAX_BODY))
    assert len(body) < MAX_BODY
    status, error = await client.error("POST", RECORD, body, Content_Encoding="gzip")
    assert (status, error["code"]) == (413, "body_too_large")


async def test_a_bomb_of_empty_members_ends_as_well(client):
    body = gzip.compress(b"") * 40_000
    status, error = await client.error("POST", RECORD, body, Content_Encoding="gzip")
    assert status in (400, 413), error


@pytest.mark.parametrize("cut", [1, 5, 15, -1, -8, -12])
async def test_a_torn_gzip_is_refused(client, cut):
    body = gzip.compress(json.dumps(SEED).encode())[:cut]
    status, error = await client.error("POST", RECORD, body, Content_Encoding="gzip")
    assert (status, error["code"]) == (400, "bad_body")


async def test_what_is_called_gzip_and_is_not_is_refused(client):
    for body in (b"plain", zlib.compress(b"{}"), gzip.compress(b"{}") + b"trailing junk"):
        status, error = await client.error("POST", RECORD, body, Content_Encoding="gzip")
        assert (status, error["code"]) == (400, "bad_body")


async def test_a_body_over_the_limit_is_413_announced_or_not(client):
    status, error = await client.error("POST", RECORD, b" " * (MAX_BODY + 1))
    assert (status, error["code"]) == (413, "body_too_large")

    async def pieces():
        for _ in range(40):
            yield b" " * (MAX_BODY // 20)

    headers = {"Content-Type": "application/json"}
    async with client.session.post(client.base + RECORD, data=pieces(), headers=headers) as chunked:
        assert chunked.status == 413
        assert (await chunked.json())["error"]["code"] == "body_too_large"


async def test_a_body_of_just_the_limit_is_read(client):
    body = json.dumps({"data": [point()]}).encode().ljust(MAX_BODY)
    assert (await client.post(RECORD, body))["accepted"] == 1


@pytest.mark.parametrize(
    "headers",
    [{"Content_Type": "application/xml"}, {"Content_Type": "application/x-www-form-urlencoded"},
     {"Content_Encoding": "br"}, {"Content_Encoding": "gzip, gzip"}],
)  # fmt: skip
async def test_other_types_and_encodings_are_415(client, headers):
    status, error = await client.error("POST", RECORD, b"{}", **headers)
    assert status == 415
    assert error["field"] == next(iter(headers)).replace("_", "-")


async def test_record_has_no_parameters(client):
    status, error = await client.error("POST", RECORD + "?x=1", SEED)
    assert (status, error["code"], error["field"]) == (400, "unknown_parameter", "x")


async def test_a_recorded_point_is_seen_by_the_next_question_whoever_else_writes(client):
    async def write_and_read(name):
        for count in range(1, 16):
            await client.post(RECORD, {"data": [{"name": name, "value": count}]})
            answer = await client.get(f"/api/v1/stats/{name}?last=1m")
            assert (answer["count"], answer["max"]) == (count, count)

    await asyncio.gather(*(write_and_read(f"t{i}") for i in range(8)))


async def test_all_kinds_and_tags_are_recorded(client):
    data = [
        {"name": "c", "value": 2, "type": "counter", "sample_rate": 0.5},
        {"name": "g", "value": -4, "type": "gauge"},
        {"name": "s", "value": "joe", "type": "set"},
        {"name": "s", "value": 17, "type": "set"},
        {"name": "t", "value": 9, "type": "timer", "tags": {"env": "prod"}},
    ]
    assert (await client.post(RECORD, {"data": data}))["accepted"] == 5
    assert (await client.get("/api/v1/stats/c"))["sum"] == 4
    assert (await client.get("/api/v1/stats/g"))["last"] == -4
    assert (await client.get("/api/v1/stats/s"))["unique"] == 2
    assert (await client.get("/api/v1/stats/t?tags=env:prod"))["count"] == 1
