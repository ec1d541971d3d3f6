"""The description and the routes are one."""

import pytest

from aggd.http.routes import ROUTES
from aggd.protocol.points import KEYS

EXAMPLES = {
    "last": "5m", "from": "0", "to": "2099-01-01T00:00:00Z", "tags": "a:b", "by": "a",
    "kind": "timer", "format": "columns", "name": "t", "metric_name": "t", "percentiles": "50,99.9",
    "match": "*", "sort": "-p99", "limit": "5", "interval": "1m", "aggregation": "mean,p99",
    "fill": "zero", "statistics": "upper_90,trimmed_5", "every": "2s", "cursor": "WyJhIiwgMF0=",
    "bins": "7", "scale": "log", "at": "1,2.5e3", "fit": "false", "threshold": "-3",
    "objective": "0.99", "offset": "1w", "alpha": "0.05", "key": "a",
    "/api/v1/top by": "memory", "window": "1h", "step": "1m", "anomaly": "robust",
    "anomaly_window": "10m",
}  # fmt: skip


def example(path: str, name: str) -> str:
    """What a parameter may be, of this path or of all."""
    return EXAMPLES.get(f"{path} {name}") or EXAMPLES[name]


def method_of(method: str, operation) -> str:
    """How to ask without waiting for an end that a stream doesn't have."""
    content = operation["responses"]["200"].get("content", {})
    return "HEAD" if "text/event-stream" in content else method.upper()


@pytest.fixture
async def described(client):
    return await client.get("/api/v1/openapi.json")


async def test_every_route_is_described_and_nothing_else(described):
    found = {(m.upper(), path) for path, of in described["paths"].items() for m in of}
    assert found == {(route.method, route.path) for route in ROUTES}
    assert described["openapi"].startswith("3.1")
    for of in described["paths"].values():
        for operation in of.values():
            assert operation["summary"]
            assert {"200", "default"} <= set(operation["responses"])


async def test_every_described_parameter_is_accepted(client, described):
    client.past.send("t:1|ms|#a:b")
    for path, of in described["paths"].items():
        for parameter in of.get("get", {}).get("parameters", ()):
            required = {
                p["name"]: example(path, p["name"])
                for p in of["get"]["parameters"]
                if p["required"] or p["name"] == parameter["name"]
            }
            at = path.format(**required)
            query = "&".join(f"{k}={v}" for k, v in required.items() if f"{{{k}}}" not in path)
            asked = f"{at}?{query}"
            response, answer = await client.raw(method_of("GET", of["get"]), asked)
            assert response.status == 200, (asked, answer)


async def test_every_key_of_a_body_is_accepted(client, described):
    client.past.send("t:1|ms|#a:b")
    operation = described["paths"]["/api/v1/aggregate"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    required = {key: EXAMPLES[key] for key in schema["required"]}
    for key in schema["properties"]:
        status, answer = await client.request(
            "POST", "/api/v1/aggregate", required | {key: EXAMPLES[key]}
        )
        assert status == 200, (key, answer)
    assert schema["additionalProperties"] is False


async def test_the_point_described_is_the_point_taken(client, described):
    content = described["paths"]["/api/v1/record"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-ndjson", "text/plain"}
    point = content["application/json"]["schema"]["properties"]["data"]["items"]
    assert set(point["properties"]) == set(KEYS)
    full = {"name": "t", "value": 1, "timestamp": 1_700_000_000, "type": "timer",
            "tags": {"a": "b"}, "sample_rate": 0.5}  # fmt: skip
    assert set(full) == set(KEYS)
    assert (await client.post("/api/v1/record", {"data": [full]}))["accepted"] == 1


async def test_every_path_of_the_description_exists(client, described):
    for path, of in described["paths"].items():
        for method, operation in of.items():
            asked = method_of(method, operation), path.format(name="x", key="x")
            response, text = await client.raw(*asked, b"{")
            assert response.status != 405
            assert response.status != 404 or b'"unknown_' in text, path
