"""Windows that move and buckets that are judged, asked over HTTP."""

import numpy as np
import pytest

from tests.http.server import NOW

ROLLING = {"metric_name": "t", "window": "2m", "step": "1m", "aggregation": ["mean", "p50"]}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_points_stand_at_the_end_of_their_windows(client, method):
    for age, value in ((1, 10), (61, 20), (62, 30), (200, 40)):
        client.past.send(f"t:{value}|ms", age=age)
    asked = ROLLING | {"last": "4m"}
    if method == "POST":
        answer = await client.post("/api/v1/rolling", asked)
    else:
        asked["aggregation"] = "mean,p50"
        query = "&".join(f"{key}={value}" for key, value in asked.items())
        answer = await client.get(f"/api/v1/rolling?{query}")
    assert list(answer) == [
        "metric_name", "window", "step", "from", "to", "resolution", "exact", "rank_error",
        "count", "points",
    ]  # fmt: skip
    assert [answer[key] for key in ("metric_name", "window", "step")] == ["t", "2m", "1m"]
    assert (answer["from"], answer["to"]) == ("2023-11-14T22:09:00Z", "2023-11-14T22:13:30Z")
    assert (answer["count"], answer["exact"], answer["resolution"]) == (4, True, "10s")
    assert answer["points"] == [
        {"timestamp": "2023-11-14T22:11:00Z", "count": 1, "mean": 40, "p50": 40},
        {"timestamp": "2023-11-14T22:12:00Z", "count": 1, "mean": 40, "p50": 40},
        {"timestamp": "2023-11-14T22:13:00Z", "count": 2, "mean": 25, "p50": 25},
        {"timestamp": "2023-11-14T22:14:00Z", "count": 3, "mean": 20, "p50": 20},
    ]


async def test_points_are_parallel_arrays_and_a_series_for_each_tag(client):
    client.past.send("t:1|ms|#h:a", "t:2|ms|#h:b", "t:4|ms|#h:b", age=130)
    asked = ROLLING | {"aggregation": "sum", "by": "h", "last": "5m", "format": "columns"}
    answer = await client.post("/api/v1/rolling", asked)
    times = ["2023-11-14T22:12:00Z", "2023-11-14T22:13:00Z"]
    assert answer["series"] == [
        {"tags": {"h": "a"}, "points": {"timestamp": times, "count": [1, 1], "sum": [1, 1]}},
        {"tags": {"h": "b"}, "points": {"timestamp": times, "count": [2, 2], "sum": [6, 6]}},
    ]
    assert answer["count"] == 3
    assert "points" not in answer


async def test_a_moment_ago_counts_where_no_range_is_given(client):
    client.past.send("t:3|ms")
    answer = await client.post("/api/v1/rolling", ROLLING | {"window": "1h"})
    assert [p["mean"] for p in answer["points"]] == [3]
    assert (await client.post("/api/v1/rolling", ROLLING | {"tags": "no:such"}))["points"] == []


@pytest.mark.parametrize(
    ("change", "status", "code", "said"),
    [
        ({"window": "x"}, 400, "bad_window", "window must be a positive duration"),
        ({"window": "15s"}, 400, "bad_window", "multiple of the flush interval, 10s, got 15s"),
        ({"step": 0}, 400, "bad_step", "step must be a positive duration"),
        ({"step": 0.5}, 400, "bad_step", "multiple of the flush interval"),
        ({"aggregation": "avg"}, 400, "bad_aggregation", "unknown statistic 'avg'"),
        ({"metric_name": "u"}, 404, "unknown_name", "'u'"),
        ({"kind": "counter", "metric_name": "c"}, 422, "not_answerable", "no 'mean'"),
        ({"interval": "1m"}, 400, "unknown_key", "interval"),
        ({"window": "400d", "step": "10s"}, 422, "bad_window", "slots of 10s"),
    ],
)
async def test_a_wrong_question_is_named(client, change, status, code, said):
    client.past.send("t:1|ms", "c:1|c")
    got, error = await client.error("POST", "/api/v1/rolling", ROLLING | change)
    assert (got, error["code"]) == (status, code)
    assert said in error["message"]


@pytest.mark.parametrize("form", ["rows", "columns"])
async def test_buckets_are_judged_by_those_before_them(client, form):
    usual = [10, 11, 9, 10, 12, 10, 11]
    for age, value in zip(range(80, 0, -10), [*usual, 90], strict=True):
        client.past.send(f"t:{value}|ms|#h:a", age=age)
    asked = {"metric_name": "t", "interval": "10s", "aggregation": ["max", "count"], "last": "2m",
             "anomaly": "robust", "format": form}  # fmt: skip
    answer = await client.post("/api/v1/aggregate", asked)
    found = answer["buckets"]
    scores = found["anomaly"] if form == "columns" else [b["anomaly"] for b in found]
    assert scores[:5] == [None] * 5
    median = np.median(usual)
    mad = np.median(np.abs(usual - median))
    assert scores[-1] == pytest.approx((90 - median) / (1.4826 * mad))
    split = await client.post("/api/v1/aggregate", {**asked, "by": "h", "fill": "null"})
    of = split["series"][0]["buckets"]
    last = of["anomaly"][-2:] if form == "columns" else [b["anomaly"] for b in of[-2:]]
    assert last == [scores[-1], None]


async def test_a_trailing_window_asks_for_scores_and_must_fit(client):
    client.past.send("t:1|ms")
    asked = f"/api/v1/aggregate?metric_name=t&interval=1m&aggregation=mean&from={NOW - 600}"
    assert "anomaly" not in (await client.get(asked))["buckets"][0]
    answer = await client.get(asked + "&anomaly_window=10m")
    assert answer["buckets"][0]["anomaly"] is None
    for wrong in ("90s", "4m"):
        status, error = await client.error("GET", f"{asked}&anomaly_window={wrong}")
        assert (status, error["code"]) == (400, "bad_anomaly_window")
        assert "at least 5" in error["message"]
    status, error = await client.error("GET", f"{asked}&anomaly=magic")
    assert (status, error["code"]) == (400, "bad_anomaly")
