"""Random questions: each is answered, or refused as JSON, and soon.

What is asked comes from the description of the application itself, so a new question
or a new parameter is asked without a line here.
"""

import asyncio
import json
from time import process_time
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.http import openapi
from aggd.http.routes import ROUTES
from tests.http.server import NOW, Client, serving

SECONDS = 1.0  # of processor time, which other programs don't take from us
KINDS = {"timer": "ms", "gauge": "g", "counter": "c", "set": "s"}
NAMES = [*KINDS, "shared", "nobody"]
PARTS = [*"*?[]!-,:.+%&=#/\\ ", "e9", "NaN", "null", "0", "9", "T", "Z", "env", "a", "ü", "\0"]
NEAR = [
    "0", "1", "-1", "0.5", "1e-320", "1e308", "1e400", "-0.0", "10", "60", "3600", str(int(NOW)),
    "253402300799.9", "253402300790", "10s", "1m", "7min", "1h", "1d", "52w", "9999y", "5us",
    "2023-11-14T22:00:00Z", "9999-12-31T23:59:59.9Z", "p99", "-p99.9", "mean,p50", "upper_90",
    "count", "last", "unique", "trimmed_5", "lower_top10", "host", "env:a", "host:1,env:b", "*",
    "t*", "timer", "true", "[", "*a*a*a*a*a*b", "[z-a]", "W10=", "WyJhIiwgMF0=", "WyJcdWQ4MDAiLDFd",
]  # fmt: skip

texts = st.one_of(
    st.sampled_from(NEAR),
    st.lists(st.sampled_from(PARTS), max_size=8).map("".join),
    st.text(max_size=20),
)
numbers = st.one_of(st.integers(-2, 10_001), st.floats(), st.integers(-(10**40), 10**40))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
LINES = [
    f"{name}:{17 * i % 101 / 7:g}|{letter}|#host:{i % 3},env:{'ab'[i % 2]}"
    for i in range(40)
    for name, letter in [*KINDS.items(), *(("shared", letter) for letter in KINDS.values())]
]


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    body: bytes | None = None


def likely(name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a parameter is for, as far as its schema says."""
    if "name" in name or name == "match":
        return st.sampled_from(NAMES)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "minimum" in schema:
        return st.integers(schema["minimum"], schema["maximum"])
    if schema.get("type") == "boolean":
        return st.booleans()
    examples = [e for of in (schema, *schema.get("anyOf", ())) for e in of.get("examples", ())]
    return st.sampled_from([*examples, *NEAR])


@st.composite
def parameters(draw, schemas: dict[str, dict[str, Any]], required: set[str], wild):
    """Values of all that is required and some of the rest; few of them wild."""
    names = [name for name in schemas if name in required or draw(st.integers(0, 3)) == 0]
    return {
        name: draw(wild if draw(st.integers(0, 5)) == 0 else likely(name, schemas[name]))
        for name in names
    }


@st.composite
def questions(draw):
    document = openapi.describe(ROUTES)
    path = draw(st.sampled_from([p for p in document["paths"] if "reload" not in p]))
    method, operation = draw(st.sampled_from(sorted(document["paths"][path].items())))
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    asked = operation.get("parameters", [])
    schemas = {p["name"]: p["schema"] for p in asked}
    found = draw(parameters(schemas, {p["name"] for p in asked if p["required"]}, texts))
    inside = {p["name"] for p in asked if p["in"] == "path"}
    at = path.format(**{name: quote(str(found.pop(name)), safe="") or "x" for name in inside})
    body = None
    if content:
        schema = content["schema"]
        given = draw(parameters(schema["properties"], set(schema["required"]), anything))
        body = json.dumps(draw(anything) if draw(st.integers(0, 9)) == 0 else given).encode()
    query = urlencode({k: str(v) for k, v in found.items()}, errors="surrogatepass")
    streams = "text/event-stream" in operation["responses"]["200"].get("content", {})
    return Asked("HEAD" if streams else method.upper(), f"{at}?{query}" if query else at, body)


class Server:
    """One application over a socket, with samples of every kind in every tier."""

    def __init__(self, runner: asyncio.Runner, client: Client) -> None:
        self.runner = runner
        self.client = client
        self.record()
        for path in ("distribution/timer", "compare/timer"):  # these import scipy
            runner.run(client.get(f"/api/v1/{path}"))

    def record(self) -> None:
        for age in (0, 30, 7000, 400_000):
            self.client.past.send(*LINES, age=age)
        self.client.past.history.close(int(NOW))

    def __call__(self, asked: Asked):
        """Status and text of an answer."""
        found = self.runner.run(self.client.raw(*asked))
        if asked.method == "DELETE":
            self.record()
        return found


@pytest.fixture(scope="module")
def ask():
    with asyncio.Runner() as runner:
        server = serving()
        yield Server(runner, runner.run(server.__aenter__()))
        runner.run(server.__aexit__(None, None, None))


@settings(max_examples=400)
@given(questions())
def test_every_question_is_answered_or_refused_and_soon(ask, asked):
    started = process_time()
    response, text = ask(asked)
    assert process_time() - started < SECONDS, asked
    assert response.status == 200 or 400 <= response.status < 500, (asked, text)
    if response.status != 200 and asked.method != "HEAD":
        error = json.loads(text)["error"]
        assert error["code"] != "internal"
        assert error["message"]
    elif response.content_type == "application/json" and text:
        json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in {asked}"))


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("stats/timer", {"to": "253402300799.9"}, 200),  # slots end in the year 10000
        ("stats/timer", {"from": "253402300798", "to": "253402300799.9"}, 200),
        ("rolling", {"aggregation": "p99", "window": "10s", "step": "253402300790"}, 200),
        ("rolling", {"aggregation": "p99", "window": "7d", "step": "253402300790"}, 422),
        ("aggregate", {"aggregation": "p99", "interval": "253402300790", "fill": "zero"}, 200),
        ("aggregate", {"aggregation": "p99", "interval": "10s", "by": "host", "tags": "a:b"}, 200),
        ("rolling", {"aggregation": "p99", "window": "10s", "step": "10s", "by": "host",
                     "tags": "a:b"}, 200),
        ("aggregate", {"aggregation": "p99", "interval": "10s", "from": "5", "to": "900",
                       "anomaly_window": "300y"}, 200),  # 946 million buckets before each
        ("compare/timer", {"offset": "253402300790", "alpha": "1e-320"}, 200),
        ("distribution/timer", {"at": "1e308,-1e308", "last": "1us"}, 200),
    ],
)  # fmt: skip
def test_what_broke_or_took_long_once_does_not(ask, path, parameters, status):
    if "/" not in path:
        parameters = {"metric_name": "timer", **parameters}
    started = process_time()
    response, text = ask(Asked("GET", f"/api/v1/{path}?{urlencode(parameters)}"))
    assert process_time() - started < SECONDS
    assert response.status == status, text


@pytest.mark.parametrize(
    "raw",
    [
        "/api/v1/stats/%ED%A0%80", "/api/v1/stats/%FF", "/api/v1/stats/timer?tags=%FF:%ED%A0%80",
        "/api/v1/stats/timer?%FF=1", "/api/v1/tags/%FF", "/api/v1/series?match=%FF*",
        "/api/v1/%FF", "/api/v1/stats/timer?by=%FF", "/api/v1/stats?sort=%FF",
        "/api/v1/aggregate?metric_name=timer&interval=%FF&aggregation=mean",
    ],
)  # fmt: skip
def test_bytes_that_are_no_utf_8_are_refused_or_looked_for(ask, raw):
    response, text = ask(Asked("GET", raw))
    assert response.status < 500, text
    json.loads(text)
