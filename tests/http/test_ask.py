"""Questions about windows: the answers' shape and their mistakes."""

import numpy as np
import pytest

from aggd.query import answer as answers
from aggd.store.series import Kind
from tests.http.server import NOW, Past, serving

STATS_KEYS = [
    "name", "kind", "tags", "from", "to", "resolution", "exact", "rank_error", "count", "sum",
    "rate", "mean", "median", "std", "min", "max", "last", "p50", "p90", "p95", "p99",
]  # fmt: skip
MINUTE_AGO, NOW_CEILED = "2023-11-14T22:12:20Z", "2023-11-14T22:13:30Z"


async def test_a_timer_has_all_keys_in_their_order(client):
    x = [3.0, 1.0, 4.0, 1.5, 9.0]
    client.past.send(*(f"t:{v}|ms|#env:prod" for v in x))
    answer = await client.get("/api/v1/stats/t?last=1m&percentiles=25,99.9")
    assert list(answer) == [*STATS_KEYS, "p25", "p99.9"]
    assert (answer["name"], answer["kind"], answer["tags"]) == ("t", "timer", {"env": "prod"})
    assert (answer["from"], answer["to"]) == (MINUTE_AGO, NOW_CEILED)
    assert (answer["resolution"], answer["exact"]) == ("10s", True)
    assert set(answer["rank_error"].values()) == {0.0}
    assert (answer["count"], answer["sum"]) == (5, sum(x))
    assert answer["rate"] == pytest.approx(5 / 63.5)  # what of the window is over
    assert answer["mean"] == pytest.approx(np.mean(x))
    assert answer["std"] == pytest.approx(np.std(x))
    assert answer["median"] == answer["p50"] == 3.0
    assert (answer["min"], answer["max"], answer["last"]) == (1.0, 9.0, None)
    for p in (25, 90, 95, 99, 99.9):
        assert answer[f"p{p}"] == pytest.approx(np.percentile(x, p))


async def test_a_counter_has_count_sum_and_rate(client):
    client.past.send("c:1|c", "c:2|c|@0.1")
    answer = await client.get("/api/v1/stats/c?last=10")
    assert (answer["count"], answer["sum"]) == (11, 21)
    assert answer["rate"] == pytest.approx(21 / 13.5)
    assert [answer[k] for k in ("mean", "median", "std", "min", "max", "p50", "p99")] == [None] * 7


async def test_a_set_has_unique_members(client):
    client.past.send("s:joe|s", "s:joe|s", "s:bob|s")
    answer = await client.get("/api/v1/stats/s")
    assert (answer["count"], answer["unique"], answer["sum"]) == (3, 2, None)


async def test_a_gauge_keeps_its_level_in_a_window_without_lines_that_reaches_now(client):
    client.past.send("g:10|g", "g:+5|g", age=600)
    answer = await client.get("/api/v1/stats/g?last=1m")
    assert (answer["count"], answer["last"], answer["max"]) == (0, 15, None)
    answer = await client.get("/api/v1/stats/g?last=15m")
    assert (answer["count"], answer["last"], answer["min"], answer["max"]) == (2, 15, 10, 15)
    past = await client.get(f"/api/v1/stats/g?from={NOW - 400}&to={NOW - 300}")
    assert past["last"] is None


async def test_merged_gauges_have_the_level_that_was_set_last(client):
    client.past.send("g:1|g|#h:a", age=500)
    client.past.send("g:2|g|#h:b", age=400)
    assert (await client.get("/api/v1/stats/g?last=1m"))["last"] == 2
    split = await client.get("/api/v1/stats/g?last=1m&by=h")
    assert [(s["tags"], s["last"]) for s in split["series"]] == [({"h": "a"}, 1), ({"h": "b"}, 2)]


async def test_a_known_name_without_data_in_the_window_is_200_with_nulls(client):
    client.past.send("t:1|ms", age=1800)
    answer = await client.get("/api/v1/stats/t?last=1m")
    assert answer["count"] == 0
    assert [answer[k] for k in STATS_KEYS[9:]] == [None] * len(STATS_KEYS[9:])


async def test_without_a_range_all_that_is_retained_counts_even_a_little_ahead_of_now(client):
    client.past.send("t:1|ms", age=3000)
    await client.post(
        "/api/v1/record", {"data": [{"name": "t", "value": 2, "timestamp": NOW + 50}]}
    )
    answer = await client.get("/api/v1/stats/t")
    assert answer["count"] == 2
    assert (answer["from"], answer["to"]) == ("2023-11-14T21:00:00Z", "2023-11-14T22:14:20Z")


async def test_series_of_one_name_are_merged_narrowed_and_split_by_tags(client):
    for host, env, value in (("a", "x", 1), ("b", "x", 2), ("a", "y", 4)):
        client.past.send(f"t:{value}|ms|#host:{host},env:{env}")
    assert (await client.get("/api/v1/stats/t"))["sum"] == 7
    assert (await client.get("/api/v1/stats/t"))["tags"] == {}
    narrowed = await client.get("/api/v1/stats/t?tags=env:x")
    assert (narrowed["sum"], narrowed["tags"]) == (3, {"env": "x"})
    assert (await client.get("/api/v1/stats/t?tags=env:x,host:b"))["sum"] == 2
    assert (await client.get("/api/v1/stats/t?tags=env:x&tags=host:b"))["sum"] == 2
    split = await client.get("/api/v1/stats/t?by=host")
    assert split["name"] == "t"
    assert [(s["tags"], s["sum"]) for s in split["series"]] == [
        ({"host": "a"}, 5),
        ({"host": "b"}, 2),
    ]
    columns = await client.get("/api/v1/stats/t?by=host,env&format=columns")
    assert columns["series"]["sum"] == [1, 4, 2]
    nobody = await client.get("/api/v1/stats/t?tags=env:z")
    assert (nobody["count"], nobody["tags"]) == (0, {"env": "z"})


async def test_one_name_of_two_kinds_is_a_timer_first_and_the_other_when_asked(client):
    client.past.send("x:5|c", "x:7|ms", "x:3|g")
    assert (await client.get("/api/v1/stats/x"))["kind"] == "timer"
    assert (await client.get("/api/v1/stats/x?kind=counter"))["sum"] == 5
    assert (await client.get("/api/v1/stats/x?kind=gauge"))["last"] == 3
    status, error = await client.error("GET", "/api/v1/stats/x?kind=set")
    assert (status, error["code"]) == (404, "unknown_name")


async def test_an_unknown_name_is_404_with_those_spelled_alike(client):
    client.past.send("api.latency:1|ms", "api.errors:1|c", "db.time:1|ms")
    for path in ("/api/v1/stats/api.latencyy", "/api/v1/stats/api.Latency"):
        status, error = await client.error("GET", path)
        assert (status, error["code"], error["field"]) == (404, "unknown_name", "name")
        assert "'api.latency'" in error["message"]
    body = {"metric_name": "nothing like it", "interval": "1m", "aggregation": "mean"}
    status, error = await client.error("POST", "/api/v1/aggregate", body)
    assert (status, error["code"]) == (404, "unknown_name")


async def test_a_percentile_of_a_counter_is_422(client):
    client.past.send("c:1|c")
    status, error = await client.error("GET", "/api/v1/stats/c?percentiles=99")
    assert (status, error["code"], error["field"]) == (422, "not_answerable", "percentiles")
    body = {"metric_name": "c", "interval": "1m", "aggregation": ["sum", "p99"]}
    status, error = await client.error("POST", "/api/v1/aggregate", body)
    assert (status, error["code"], error["field"]) == (422, "not_answerable", "aggregation")


async def test_names_in_paths_are_percent_encoded(client):
    past = client.past
    past.registry.resolve(Kind.TIMER, "a/b c%é?", (), NOW)
    answer = await client.get("/api/v1/stats/a%2Fb%20c%25%C3%A9%3F")
    assert answer["name"] == "a/b c%é?"
    for odd in ("%FF", "%ED%A0%80", "%00", "%", "%zz", "a%0Ab", "x" * 5000):
        status, error = await client.error("GET", f"/api/v1/stats/{odd}")
        assert (status, error["code"]) == (404, "unknown_name"), odd


async def test_every_series_that_matches_is_answered(client):
    client.past.send("api.a:1|ms", "api.b:3|ms|#h:1", "api.b:9|ms|#h:2", "api.c:1|c", "db:5|ms")
    answer = await client.get("/api/v1/stats?match=api.*&percentiles=10")
    found = [(s["name"], s["tags"], s["p10"]) for s in answer["series"]]
    assert found == [
        ("api.a", {}, 1),
        ("api.b", {"h": "1"}, 3),
        ("api.b", {"h": "2"}, 9),
        ("api.c", {}, None),
    ]
    assert answer["truncated"] is False
    by = await client.get("/api/v1/stats?match=api.b&by=env")
    assert [(s["tags"], s["count"]) for s in by["series"]] == [({"env": None}, 2)]
    assert (await client.get("/api/v1/stats?match=nothing*")) == {"series": [], "truncated": False}


async def test_the_list_is_sorted_and_cut_as_asked(client):
    client.past.send(*(f"t{i}:{i * 7 % 5}|ms" for i in range(5)), "c:1|c")
    asked = "/api/v1/stats?match=*&sort="
    names = {
        sort: [s["name"] for s in (await client.get(asked + sort))["series"]]
        for sort in ("name", "-name", "p99", "-p99", "sum")
    }
    assert names["name"] == ["c", "t0", "t1", "t2", "t3", "t4"]
    assert names["-name"] == names["name"][::-1]
    assert names["p99"] == ["t0", "t3", "t1", "t4", "t2", "c"]
    assert names["-p99"] == ["t2", "t4", "t1", "t3", "t0", "c"]
    assert names["sum"] == ["t0", "c", "t3", "t1", "t4", "t2"]
    cut = await client.get(asked + "-p99&limit=2")
    assert ([s["name"] for s in cut["series"]], cut["truncated"]) == (["t2", "t4"], True)
    columns = await client.get(asked + "name&limit=2&format=columns")
    assert columns["series"]["name"] == ["c", "t0"]
    status, error = await client.error("GET", asked + "p101")
    assert (status, error["code"]) == (400, "bad_sort")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_buckets_are_aligned_and_empty_ones_are_left_out(client, method):
    for age, value in ((1, 10), (61, 20), (62, 30), (200, 40)):
        client.past.send(f"t:{value}|ms", age=age)
    asked = {"metric_name": "t", "interval": "1m", "aggregation": ["mean", "p50"], "last": "5m"}
    if method == "POST":
        answer = await client.post("/api/v1/aggregate", asked)
    else:
        asked["aggregation"] = "mean,p50"
        query = "&".join(f"{key}={value}" for key, value in asked.items())
        answer = await client.get(f"/api/v1/aggregate?{query}")
    assert (answer["metric_name"], answer["interval"], answer["count"]) == ("t", "1m", 4)
    assert (answer["exact"], answer["resolution"]) == (True, "10s")
    assert answer["buckets"] == [
        {"timestamp": "2023-11-14T22:10:00Z", "count": 1, "mean": 40, "p50": 40},
        {"timestamp": "2023-11-14T22:12:00Z", "count": 2, "mean": 25, "p50": 25},
        {"timestamp": "2023-11-14T22:13:00Z", "count": 1, "mean": 10, "p50": 10},
    ]


@pytest.mark.parametrize(
    ("fill", "empty"), [("null", None), (None, None), ("zero", 0), ("previous", 1)]
)
async def test_empty_buckets_are_filled_as_asked(client, fill, empty):
    client.past.send("t:1|ms", age=130)
    client.past.send("t:9|ms", age=1)
    asked = {"metric_name": "t", "interval": 60, "aggregation": "max", "last": 300, "fill": fill}
    answer = await client.post("/api/v1/aggregate", asked)
    assert [b["count"] for b in answer["buckets"]] == [0, 0, 0, 1, 0, 1]
    before = None if fill == "previous" else empty
    assert [b["max"] for b in answer["buckets"]] == [before] * 3 + [1, empty, 9]
    assert len({b["timestamp"] for b in answer["buckets"]}) == 6


async def test_rates_are_of_the_part_of_a_bucket_that_the_window_covers(client):
    client.past.send("c:60|c")
    asked = {"metric_name": "c", "interval": "1h", "aggregation": "rate", "last": "1m"}
    (bucket,) = (await client.post("/api/v1/aggregate", asked))["buckets"]
    assert bucket["rate"] == pytest.approx(60 / 63.5)


async def test_columns_are_parallel_arrays(client):
    client.past.send("t:1|ms", age=70)
    client.past.send("t:3|ms")
    path = "/api/v1/aggregate?metric_name=t&interval=1m&aggregation=mean&format=columns&last=2m"
    answer = await client.get(path + "&fill=null")
    assert answer["buckets"] == {
        "timestamp": ["2023-11-14T22:11:00Z", "2023-11-14T22:12:00Z", "2023-11-14T22:13:00Z"],
        "count": [0, 1, 1],
        "mean": [None, 1, 3],
    }


async def test_buckets_by_tag_are_a_series_each(client):
    client.past.send("t:1|ms|#h:a", "t:2|ms|#h:b", "t:4|ms|#h:b")
    asked = {"metric_name": "t", "interval": "10s", "aggregation": "sum", "by": "h", "last": "1m"}
    answer = await client.post("/api/v1/aggregate", asked)
    assert [(s["tags"], [b["sum"] for b in s["buckets"]]) for s in answer["series"]] == [
        ({"h": "a"}, [1]),
        ({"h": "b"}, [6]),
    ]
    assert "buckets" not in answer
    assert answer["count"] == 3


async def test_buckets_of_a_name_without_data_are_none(client):
    client.past.send("t:1|ms", age=1800)
    asked = {"metric_name": "t", "interval": "1m", "aggregation": "mean", "last": "5m"}
    answer = await client.post("/api/v1/aggregate", asked)
    assert (answer["buckets"], answer["count"]) == ([], 0)
    assert (await client.post("/api/v1/aggregate", {**asked, "tags": {"no": "such"}}))["count"] == 0


async def test_too_many_filled_buckets_are_refused(client):
    client.past.send("t:1|ms")
    asked = {"metric_name": "t", "interval": "10s", "aggregation": "mean", "fill": "zero",
             "from": 0}  # fmt: skip
    status, error = await client.error("POST", "/api/v1/aggregate", asked)
    assert (status, error["code"]) == (422, "too_many_buckets")


@pytest.mark.parametrize(("limit", "most"), [("MAX_LOOKED", 5), ("MAX_BUCKETS", 3)])
async def test_too_many_buckets_of_all_groups_are_refused(client, monkeypatch, limit, most):
    for age in (0, 60):
        client.past.send(*(f"t:1|ms|#h:{'abc'[i]}" for i in range(3 if age else 1)), age=age)
    asked = {"metric_name": "t", "interval": "1m", "aggregation": "mean", "by": "h"}
    monkeypatch.setattr(answers, limit, most + 1)
    assert (await client.post("/api/v1/aggregate", asked))["count"] == 4
    monkeypatch.setattr(answers, limit, most)
    status, error = await client.error("POST", "/api/v1/aggregate", asked)
    assert (status, error["code"], error["field"]) == (422, "too_many_buckets", "interval")
    assert f"up to {most} are answered" in error["message"]


async def test_series_are_listed_page_by_page(client):
    client.past.send("b:1|ms|#h:1", "b:1|ms|#h:2", "a:1|c", "c:1|g", "a:1|ms")
    seen, cursor = [], ""
    while cursor is not None:
        page = await client.get("/api/v1/series?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        seen += [(s["name"], s["kind"], s["tags"]) for s in page["series"]]
        cursor = page["cursor"]
    assert seen == [
        ("a", "counter", {}),
        ("a", "timer", {}),
        ("b", "timer", {"h": "1"}),
        ("b", "timer", {"h": "2"}),
        ("c", "gauge", {}),
    ]
    (series,) = (await client.get("/api/v1/series?match=?&kind=timer&tags=h:2"))["series"]
    assert (series["first_seen"], series["last_seen"]) == ("2023-11-14T22:13:23.5Z",) * 2


async def test_many_samples_agree_with_numpy_and_windows_without_samples_say_their_error():
    past = Past()
    rng = np.random.default_rng(5)
    x = rng.lognormal(3, 1, 40_000)
    for i in range(0, x.size, 4000):
        past.send(
            *(f"t:{v!r}|ms" for v in x[i : i + 4000].tolist()), age=30.0 * (x.size - i) / 4000
        )
    async with serving(past) as client:
        answer = await client.get("/api/v1/stats/t?last=15m&percentiles=99.9")
        assert (answer["count"], answer["exact"]) == (x.size, True)
        for p in (50, 90, 95, 99, 99.9):
            assert answer[f"p{p}"] == np.percentile(x, p)
        asked = "/api/v1/aggregate?metric_name=t&interval=1h&aggregation=p99,std,mean"
        buckets = await client.get(asked)
        assert (buckets["exact"], buckets["count"]) == (True, x.size)
        past.history.samples_memory = 0
        past.history.close(int(past.now))
        answer = await client.get("/api/v1/stats/t?last=15m&percentiles=99.9")
        assert answer["exact"] is False
        ordered = np.sort(x)
        for p in (50, 90, 95, 99, 99.9):
            rank = ordered.searchsorted(answer[f"p{p}"]) / x.size
            assert abs(rank - p / 100) <= answer["rank_error"][f"p{p}"] + 1 / x.size
            assert 0 < answer["rank_error"][f"p{p}"] < 0.05
        assert answer["mean"] == pytest.approx(x.mean())
        assert answer["std"] == pytest.approx(x.std())
