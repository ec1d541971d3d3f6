"""Digests over HTTP, and statistics by statsd's names."""

import json

import numpy as np
import pytest
from tdigest import TDigest

from aggd.store.rollup import Tier
from aggd.store.series import Kind
from tests.http.server import NOW, Past, serving

DIGEST = {"n": 4, "delta": 0.01, "K": 25, "centroids": [{"m": 1.5, "c": 1.0}, {"m": 8, "c": 3.0}]}
URL = "/api/v1/digest/t"


def of(x) -> TDigest:
    theirs = TDigest()
    theirs.batch_update(x)
    return theirs


async def test_a_digest_of_the_package_is_merged_in_and_questions_answer_over_it(client):
    x = np.random.default_rng(1).lognormal(3, 1, 5000)
    client.past.send("t:1|ms|#env:prod")
    answer = await client.post(f"{URL}?tags=env:prod", of(x).to_dict())
    assert answer == {
        "name": "t",
        "kind": "timer",
        "tags": {"env": "prod"},
        "from": "2023-11-14T22:13:20Z",
        "to": "2023-11-14T22:13:30Z",
        "resolution": "10s",
        "exact": False,
        "count": 5000,
    }
    stats = await client.get("/api/v1/stats/t?last=1m&tags=env:prod")
    assert (stats["count"], stats["exact"]) == (5001, False)
    assert stats["mean"] == pytest.approx(np.append(x, 1.0).mean())
    ordered = np.sort(x)
    for p in (50, 90, 99):
        rank = ordered.searchsorted(stats[f"p{p}"]) / x.size
        assert abs(rank - p / 100) < stats["rank_error"][f"p{p}"] + 0.01
    buckets = await client.get(
        "/api/v1/aggregate?metric_name=t&interval=1m&aggregation=mean_90,trimmed_5"
    )
    assert buckets["buckets"][0]["trimmed_5"] == pytest.approx(ordered[250:-250].mean(), rel=0.02)
    assert set(buckets["rank_error"]) == {"mean_90", "trimmed_5"}


async def test_what_we_send_we_take_back_and_the_package_reads_it(client):
    client.past.send("t:1|ms", "t:2|ms", "t:9|ms")
    sent = await client.get(f"{URL}?last=1m")
    assert sent["centroids"] == [{"m": 1, "c": 1}, {"m": 2, "c": 1}, {"m": 9, "c": 1}]
    assert (sent["n"], sent["min"], sent["max"], sent["sum"]) == (3, 1, 9, 12)
    assert TDigest().update_from_dict(sent).percentile(50) == 2
    answer = await client.post("/api/v1/digest/copy", sent)
    assert (answer["count"], answer["exact"]) == (3, True)
    copy = await client.get("/api/v1/stats/copy")
    stats = await client.get("/api/v1/stats/t")
    assert {**copy, "name": "t"} == stats
    assert stats["exact"] is True


async def test_a_digest_goes_where_its_time_belongs_into_every_tier_that_has_closed(client):
    past = client.past
    await client.post(f"{URL}?timestamp={NOW - 86400 * 3}", DIGEST)
    await client.post(f"{URL}?timestamp=2023-11-14T22:00:05Z", DIGEST)
    window = await client.get(f"{URL}?from=2023-11-14T22:00:00Z&to=2023-11-14T22:01:00Z")
    assert (window["n"], window["sum"]) == (4, 25.5)
    assert (await client.get(f"{URL}?last=7d"))["n"] == 8
    assert (await client.get("/api/v1/stats/t?last=7d"))["count"] == 8
    assert past.recorder.figures.samples[Kind.TIMER] == 4


async def test_a_digest_leaves_the_samples_of_other_series_in_its_slot_exact(client):
    x = np.random.default_rng(2).gamma(2, 9, 3000)
    client.past.send(*(f"other:{v!r}|ms" for v in x.tolist()))
    await client.post(URL, DIGEST)
    client.past.history.close(int(NOW) + 60)
    other = await client.get("/api/v1/stats/other?last=1m")
    assert (other["exact"], other["p99"]) == (True, np.percentile(x, 99))
    assert (await client.get("/api/v1/stats/t?last=1m"))["exact"] is False


async def test_name_and_tags_are_cleaned_as_those_of_lines(client):
    answer = await client.post("/api/v1/digest/a%2Fb%20c?tags=z,b:2,a:1,b:2", DIGEST)
    assert (answer["name"], answer["tags"]) == ("a-b_c", {"a": "1", "b": "2", "z": ""})
    client.past.send("a/b c:1|ms|#z,a:1,b:2")
    assert len(client.past.registry) == 1


@pytest.mark.parametrize(
    ("path", "code", "field"),
    [
        (f"{URL}?timestamp={NOW + 61}", "future_timestamp", "timestamp"),
        (f"{URL}?timestamp=soon", "bad_timestamp", "timestamp"),
        (f"{URL}?tags=", "bad_tags", "tags"),
        (f"{URL}?last=5m", "unknown_parameter", "last"),
        (f"{URL}?name=x", "unknown_parameter", "name"),
        ("/api/v1/digest/%01", "empty_name", "name"),
        ("/api/v1/digest/" + "n" * 600, "name_too_long", "name"),
    ],
)
async def test_a_wrong_place_for_a_digest_is_400_and_named(client, path, code, field):
    past = client.past
    past.send("t:1|ms")
    status, error = await client.error("POST", path, DIGEST)
    assert (status, error["code"], error.get("field")) == (400, code, field)
    counted = code in ("future_timestamp", "name_too_long")
    assert past.recorder.figures.bad[code] == counted


async def test_a_digest_older_than_all_that_is_kept_is_stale_and_counted():
    past = Past(tiers=(Tier("interval", 10, 20),))
    for age in (0, 10, 20):
        past.send("t:1|ms", age=age)
    async with serving(past) as client:
        status, error = await client.error("POST", f"{URL}?timestamp={NOW - 300}", DIGEST)
        assert (status, error["code"], error["field"]) == (400, "stale_timestamp", "timestamp")
        assert past.recorder.figures.bad["stale_timestamp"] == 1
        assert (await client.get("/api/v1/stats/t"))["count"] == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_json"),
        (b"[]", 400, "bad_digest"),
        (b'{"centroids": [{"m": NaN, "c": 1}]}', 400, "bad_digest"),
        (b'{"centroids": [{"m": 1e999, "c": 1}]}', 400, "bad_digest"),
        (b"[" * 100_000, 400, "bad_json"),
        (b" " * (1 << 21), 413, "body_too_large"),
    ],
)
async def test_a_hostile_body_is_refused_and_nothing_is_recorded(client, body, status, code):
    found, error = await client.error("POST", URL, body)
    assert (found, error["code"]) == (status, code)
    assert len(client.past.registry) == 0


async def test_other_kinds_have_no_digest_and_unknown_names_are_404(client):
    client.past.send("c:1|c")
    status, error = await client.error("GET", "/api/v1/digest/c")
    assert (status, error["code"]) == (422, "not_answerable")
    assert (await client.error("GET", URL))[0] == 404
    status, error = await client.error("POST", URL, json.dumps(DIGEST).encode(), Content_Type="a/b")
    assert (status, error["code"]) == (415, "unsupported_media_type")


async def test_the_body_described_is_the_body_taken(client):
    described = (await client.get("/api/v1/openapi.json"))["paths"]["/api/v1/digest/{name}"]
    post = described["post"]
    assert {p["name"]: p["in"] for p in post["parameters"]} == {
        "name": "path", "timestamp": "query", "tags": "query",
    }  # fmt: skip
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    full = {**DIGEST, "min": 1.5, "max": 9, "sum": 25.5}
    assert set(schema["properties"]) <= set(full)
    assert (await client.post(URL, {key: full[key] for key in schema["required"]}))["count"] == 4
    assert (await client.post(URL, full))["count"] == 4
    for key in schema["properties"]:
        status, error = await client.error("POST", URL, full | {key: "x"})
        assert (status, error["field"]) == (400, key)


async def test_statistics_by_statsds_names_are_added_where_asked(client):
    client.past.send(*(f"t:{v}|ms" for v in range(1, 11)))
    names = "upper_90,sum_90,count_90,mean_90,lower_top10,sum_squares_top10,trimmed_10,p0.1,max"
    stats = await client.get(f"/api/v1/stats/t?statistics={names}&percentiles=99.99")
    assert [stats[name] for name in names.split(",")] == [
        9, 45, 9, 5, 10, 100, 5.5, pytest.approx(1.009), 10,
    ]  # fmt: skip
    assert stats["p99.99"] == pytest.approx(np.percentile(range(1, 11), 99.99))
    assert stats["rank_error"]["sum_90"] == 0
    assert "statsd" not in stats
    few = await client.get("/api/v1/stats/t?statistics=upper_1,count_1")
    assert (few["upper_1"], few["count_1"]) == (None, None)
    listed = await client.get("/api/v1/stats?statistics=upper_90&sort=-upper_90")
    assert [row["upper_90"] for row in listed["series"]] == [9]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("stats/t?percentiles=-10", 400, "statistics=upper_90 and lower_top10), got '-10'"),
        ("stats/t?statistics=upper_top10", 400, "unknown statistic 'upper_top10'; a timer has"),
        ("stats?statistics=upper_101", 400, "unknown statistic 'upper_101'; a timer has"),
        ("stats/t?statistics=unique", 422, "a timer has no 'unique'"),
        ("stats/c?statistics=upper_90", 422, "a counter has no 'upper_90'"),
        ("stats/t?statistics=", 400, "statistics such as mean"),
    ],
)
async def test_wrong_statistics_are_refused(client, path, status, said):
    client.past.send("t:1|ms", "c:1|c")
    found, error = await client.error("GET", f"/api/v1/{path}")
    assert found == status
    assert said in error["message"]


async def test_a_configured_family_stands_beside_the_statistics_of_every_timer():
    past = Past()
    past.send(*(f"t:{v}|ms" for v in range(1, 11)), "c:1|c")
    async with serving(past, thresholds=(90.0, -10.0)) as client:
        stats = await client.get("/api/v1/stats/t")
        assert stats["statsd"] == {
            "count_90": 9, "mean_90": 5, "upper_90": 9, "sum_90": 45, "sum_squares_90": 285,
            "count_top10": 1, "mean_top10": 10, "lower_top10": 10, "sum_top10": 10,
            "sum_squares_top10": 100,
        }  # fmt: skip
        assert "upper_90" not in stats
        assert "statsd" not in await client.get("/api/v1/stats/c")
        empty = await client.get(f"/api/v1/stats/t?to={NOW - 100}")
        assert set(empty["statsd"].values()) == {None}
        rows = (await client.get("/api/v1/stats?format=columns"))["series"]
        assert [row and row["upper_90"] for row in rows["statsd"]] == [None, 9]
        split = await client.get("/api/v1/stats/t?by=h")
        assert split["series"][0]["statsd"] == stats["statsd"]
