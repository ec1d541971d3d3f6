"""Series over HTTP: forgetting them, values of tags, heavy hitters."""

import asyncio

from tests.http.server import NOW


async def test_a_forgotten_name_is_unknown_at_once_and_comes_back_without_its_past(client):
    client.past.send("api.a:1|c", "api.b:2|ms", "db:3|c", "g:7|g")
    client.past.send("api.a:5|c", age=600)
    assert await client.request("DELETE", "/api/v1/series?match=api.*") == (200, {"forgotten": 2})
    for path in ("/api/v1/stats/api.a", "/api/v1/stats/api.b"):
        status, error = await client.error("GET", path)
        assert (status, error["code"]) == (404, "unknown_name")
    assert (await client.get("/api/v1/stats?match=api.*"))["series"] == []
    client.past.send("api.a:10|c")
    assert (await client.get("/api/v1/stats/api.a"))["sum"] == 10
    assert (await client.get("/api/v1/stats/db"))["sum"] == 3


async def test_a_gauge_that_is_forgotten_starts_from_0(client):
    client.past.send("g:7|g")
    await client.request("DELETE", "/api/v1/series?match=g")
    await client.post("/api/v1/record", {"data": [{"name": "t", "value": 1}]})
    client.past.send("g:+2|g")
    assert (await client.get("/api/v1/stats/g"))["last"] == 2


async def test_only_what_fits_tags_and_kind_is_forgotten(client):
    client.past.send("x:1|c|#h:a", "x:2|c|#h:b", "x:4|ms|#h:a")
    asked = "/api/v1/series?match=*&tags=h:a&kind=counter"
    assert await client.request("DELETE", asked) == (200, {"forgotten": 1})
    assert await client.request("DELETE", asked) == (200, {"forgotten": 0})
    assert (await client.get("/api/v1/stats/x?kind=counter"))["sum"] == 2
    assert (await client.get("/api/v1/stats/x?kind=timer"))["sum"] == 4


async def test_nothing_is_forgotten_without_a_match(client):
    client.past.send("x:1|c")
    status, error = await client.error("DELETE", "/api/v1/series?kind=counter")
    assert (status, error["code"], error["field"]) == (400, "missing_parameter", "match")
    status, error = await client.error("DELETE", "/api/v1/series?match=*&limit=1")
    assert (status, error["code"]) == (400, "unknown_parameter")
    assert (await client.get("/api/v1/stats/x"))["sum"] == 1


async def test_answers_hold_while_series_are_forgotten_and_come_again(client):
    client.past.send(*(f"n{i}:1|c|#h:{i % 3}" for i in range(300)))

    async def forget():
        for i in range(40):
            status, answer = await client.request("DELETE", f"/api/v1/series?match=n{i}*")
            assert status == 200, answer
            await asyncio.to_thread(client.past.send, *(f"n{j}:1|c" for j in range(300)))

    async def ask():
        while not done.done():
            for path in (
                "/api/v1/stats?match=n*",
                "/api/v1/series",
                "/api/v1/stats?match=*9&by=h",
                "/api/v1/tags/h?match=n*",
                "/api/v1/top?by=memory",
                "/api/v1/stats/n299",
            ):
                status, answer = await client.request("GET", path)
                assert status in (200, 404), answer

    done = asyncio.ensure_future(forget())
    await asyncio.gather(done, ask(), ask())
    client.past.registry._check()


async def test_values_of_a_tag_are_counted(client):
    client.past.send("a.x:1|c|#env:prod", "a.y:1|c|#env:dev", "b:1|c|#env:prod,other")
    assert await client.get("/api/v1/tags/env") == {
        "key": "env",
        "values": [{"value": "dev", "series": 1}, {"value": "prod", "series": 2}],
        "truncated": False,
    }
    found = await client.get("/api/v1/tags/env?match=a.*&limit=1")
    assert (found["values"], found["truncated"]) == ([{"value": "dev", "series": 1}], True)
    assert (await client.get("/api/v1/tags/other"))["values"] == [{"value": "", "series": 1}]
    for path in ("/api/v1/tags/nope", "/api/v1/tags/other?match=a.*"):
        status, error = await client.error("GET", path)
        assert (status, error["code"], error["field"]) == (404, "unknown_tag", "key")


async def test_heavy_hitters_are_names_and_prefixes(client):
    client.past.send(*["api.a:1|ms"] * 3, "api.b:1|c|#h:1", "api.b:1|c|#h:2", "db:1|g")
    answer = await client.get("/api/v1/top?last=1m")
    assert (answer["by"], answer["count"], answer["resolution"]) == ("count", 6, "10s")
    assert [(of["name"], of["kind"], of["count"], of["series"]) for of in answer["names"]] == [
        ("api.a", "timer", 3, 1),
        ("api.b", "counter", 2, 2),
        ("db", "gauge", 1, 1),
    ]
    (prefix,) = answer["prefixes"]
    assert (prefix["prefix"], prefix["count"], prefix["series"]) == ("api.", 5, 3)
    assert prefix["bytes"] == sum(of["bytes"] for of in answer["names"][:2])
    by_series = await client.get("/api/v1/top?by=series&limit=1")
    assert [of["name"] for of in by_series["names"]] == ["api.b"]
    before = await client.get(f"/api/v1/top?from=0&to={NOW - 3600}")
    assert (before["names"], before["prefixes"], before["count"]) == ([], [], 0)
    status, error = await client.error("GET", "/api/v1/top?by=size")
    assert (status, error["code"], error["field"]) == (400, "bad_by", "by")
