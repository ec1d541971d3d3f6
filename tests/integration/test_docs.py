"""The page about HTTP says what a daemon does: every request on it is sent, in its order.

```sh               a request, as one curl command
```json             its answer; `...` stands for anything
```json varies      the same, where times and numbers are others each time
```json 404         the same with another status than 200
```text             an answer that isn't JSON; numbers are others each time
"""

import ast
import json
import math
import re
import shlex
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from aggd.http.routes import ROUTES
from tests.daemon import DEADLINE, Daemon

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text()
ADDRESS = "http://127.0.0.1:8127"
ANY = "..."

SECTION = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.M | re.S)
ENDPOINT = re.compile(r"`(GET|POST|DELETE) (/\S+)`")
EXAMPLE = re.compile(
    r"^```sh\n(?P<command>[^`]+)^```\n+"
    r"^```(?P<form>json|text)(?P<varies> varies)?(?P<status> \d+)?\n(?P<answer>.*?)^```$",
    re.M | re.S,
)
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|:?\s*\.\.\.|[\[\]{}]')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
NUMBER = re.compile(r"\d+(?:\\\.\d+)?")  # in an escaped pattern

CURL = ArgumentParser("curl", exit_on_error=False)
CURL.add_argument("url")
CURL.add_argument("-d", "--data", "--data-binary", dest="body")
CURL.add_argument("-H", "--header", dest="headers", action="append", default=[])
CURL.add_argument("-X", "--request", dest="method")
CURL.add_argument("-N", "--no-buffer", action="store_true")


class Example(NamedTuple):
    """A request of the page and its answer there."""

    method: str
    path: str  # with the query
    body: bytes | None
    headers: dict[str, str]
    status: int
    form: str
    varies: bool
    answer: str


class Answer(NamedTuple):
    """What a daemon said."""

    status: int
    text: str


def example(found: re.Match[str]) -> Example:
    """Read a curl command, as a shell would, and what follows it."""
    curl, *arguments = shlex.split(found["command"])
    asked, others = CURL.parse_known_args(arguments)
    assert (curl, others) == ("curl", []), found["command"]
    assert asked.url.startswith(ADDRESS), found["command"]
    return Example(
        asked.method or ("GET" if asked.body is None else "POST"),
        asked.url.removeprefix(ADDRESS),
        None if asked.body is None else asked.body.encode(),
        dict(header.split(": ", 1) for header in asked.headers),
        int(found["status"] or 200),
        found["form"],
        bool(found["varies"]),
        found["answer"],
    )


EXAMPLES = [example(found) for found in EXAMPLE.finditer(PAGE)]


def send(base: str, asked: Example) -> Answer:
    request = urllib.request.Request(
        base + asked.path, asked.body, asked.headers, method=asked.method
    )
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            stream = response.headers["Content-Type"] == "text/event-stream"
            text = first_event(response) if stream else response.read().decode()
            return Answer(response.status, text)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


def first_event(response: Any) -> str:
    """Lines of a stream up to the end of its first event, or of the stream; no comments."""
    text = ""
    while not re.search(r"^data:.*\n\n\Z", text, re.M) and (line := response.readline()):
        text += line.decode()
    return text.replace("\n:\n\n", "\n")  # what keeps a connection open may come at any time


def shown_json(text: str) -> Any:
    """Decode JSON in which `...` may stand for a value, or for keys or items left out."""
    inside: list[str] = []

    def token(found: re.Match[str]) -> str:
        word = found[0]
        if word in ("{", "["):
            inside.append(word)
        elif word in ("}", "]"):
            inside.pop()
        elif word.startswith(":"):
            return f': "{ANY}"'
        elif word.endswith(ANY):
            return f'"{ANY}": 0' if inside[-1] == "{" else f'"{ANY}"'
        return word

    return json.loads(TOKEN.sub(token, text))


def differences(shown: Any, found: Any, varies: bool, at: str = "answer"):
    """Say where an answer isn't what the page shows."""
    if shown == ANY:
        return
    if isinstance(shown, dict) and isinstance(found, dict):
        keys = [key for key in shown if key != ANY]
        others = [key for key in found if ANY not in shown or key in shown]
        if keys != others:
            yield f"{at} has {list(found)}, the page {keys}"
        for key in found.keys() & shown.keys():
            yield from differences(shown[key], found[key], varies, f"{at}.{key}")
    elif isinstance(shown, list) and isinstance(found, list):
        shown, found = paired(shown, found)
        if len(shown) != len(found):
            yield f"{at} has {len(found)} items, the page {len(shown)}"
        for i, pair in enumerate(zip(shown, found, strict=False)):
            yield from differences(*pair, varies, f"{at}[{i}]")
    elif not same(shown, found, varies):
        yield f"{at} is {found!r}, the page has {shown!r}"


def paired(shown: list[Any], found: list[Any]) -> tuple[list[Any], list[Any]]:
    """Leave out `...` and the items it stands for."""
    if ANY not in shown:
        return shown, found
    first = shown.index(ANY)
    last = max(first, len(found) - (len(shown) - first - 1))
    return shown[:first] + shown[first + 1 :], found[:first] + found[last:]


def same(shown: Any, found: Any, varies: bool) -> bool:
    """Compare what is no array and no object; the page has six digits of a fraction."""
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (shown, found)]
    if all(numbers):
        return varies or math.isclose(shown, found, rel_tol=1e-5)
    if varies and isinstance(shown, str) and isinstance(found, str):
        return shown == found or bool(TIME.fullmatch(shown) and TIME.fullmatch(found))
    return shown is found or (type(shown) is type(found) and shown == found)


def pattern(text: str) -> str:
    """What text matches that differs from this in its numbers and where it has `...`."""
    parts = (NUMBER.sub(r"[-+.\\de]+", re.escape(part)) for part in text.strip().split(ANY))
    return ".*?".join(parts)


LIKE = [
    ('{"a": 1, ...}', {"a": 1, "b": 2}),
    ('{..., "c": 3}', {"a": 1, "b": 2, "c": 3}),
    ('{"a": ..., "b": 2}', {"a": {}, "b": 2}),
    ("[1, ..., 4]", [1, 2, 3, 4]),
    ("[1, ...]", [1]),
    ('{"a": "...x", "b": [...]}', {"a": "...x", "b": [None]}),
    ("0.333333", 1 / 3),
    ("1.0", 1),
]
UNLIKE = [
    ('{"a": 1}', {"a": 1, "b": 2}),
    ('{"a": 1, "b": 2}', {"b": 2, "a": 1}),
    ('{"a": 1, ...}', {"b": 2}),
    ('{..., "b": {"c": 1}}', {"a": 1, "b": {"c": 2}}),
    ("[1]", [1, 2]),
    ("[1, ..., 4]", [1, 2, 3]),
    ("[1, ..., 2]", [1]),
    ("[{}]", {}),
    ("0.3333", 1 / 3),
    ("null", 0),
    ("true", 1),
    ('"1"', 1),
    ('"2024-01-01T00:00:00Z"', "2024-01-01T00:00:01Z"),
]
VARYING = [("1", 2.5), ('"2024-01-01T00:00:00Z"', "2026-01-01T00:00:00.5Z")]


@pytest.mark.parametrize(("shown", "found"), LIKE)
def test_a_page_may_leave_out_and_round(shown, found):
    assert not list(differences(shown_json(shown), found, varies=False))


@pytest.mark.parametrize(("shown", "found"), [*UNLIKE, *VARYING])
def test_another_answer_is_noticed(shown, found):
    assert list(differences(shown_json(shown), found, varies=False))


@pytest.mark.parametrize(("shown", "found"), VARYING)
def test_what_varies_is_compared_by_what_it_is(shown, found):
    assert not list(differences(shown_json(shown), found, varies=True))
    assert list(differences(shown_json(shown), None, varies=True))
    assert list(differences(shown_json(shown), "other", varies=True))


@pytest.fixture(scope="module")
def answers():
    """All answers, in the order of the page: each request builds on those before."""
    daemon = Daemon()
    try:
        yield [send(daemon.http, asked) for asked in EXAMPLES]
    finally:
        daemon.stop()


@pytest.mark.parametrize(
    "place", range(len(EXAMPLES)), ids=[f"{e.method} {e.path[:60]}" for e in EXAMPLES]
)
def test_a_request_gets_the_answer_that_the_page_shows(answers, place):
    asked, (status, text) = EXAMPLES[place], answers[place]
    assert status == asked.status, text
    if asked.form == "text":
        assert re.fullmatch(pattern(asked.answer), text.strip(), re.S), text
    else:
        found = differences(shown_json(asked.answer), json.loads(text), asked.varies)
        assert not list(found), text


def test_every_block_of_the_page_is_run():
    assert len(EXAMPLES) == PAGE.count("```sh\n")
    assert 2 * len(EXAMPLES) == len(re.findall("^```.", PAGE, re.M))


def sections() -> dict[tuple[str, str], str]:
    """Text about each endpoint."""
    return {
        endpoint: text
        for title, text in SECTION.findall(PAGE)
        for endpoint in ENDPOINT.findall(title)
    }


def test_the_page_has_every_endpoint_and_no_other():
    assert sections().keys() == {(route.method, route.path) for route in ROUTES}


def test_every_endpoint_is_asked():
    asked = {(e.method, e.path.partition("?")[0]) for e in EXAMPLES}
    for route in ROUTES:
        path = re.compile(re.sub(r"{\w+}", "[^/]+", route.path))
        assert any(m == route.method and path.fullmatch(p) for m, p in asked), route.path


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.question], ids=lambda r: f"{r.method} {r.path}"
)
def test_every_parameter_is_explained(route):
    text = sections()[route.method, route.path]
    names = [field.encode_name for field in msgspec.structs.fields(route.question)]
    left_out = [n for n in names if not re.search(f"`{n}[`=]", text)]
    assert all(f"{{{name}}}" in route.path for name in left_out), left_out


def raised() -> set[tuple[int, str]]:
    """Statuses and codes that stand in the source."""
    found = set()
    for file in (ROOT / "aggd").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RequestError":
                values = [getattr(argument, "value", None) for argument in node.args]
                status = values[3] if len(values) > 3 else 400
                if isinstance(values[0], str) and isinstance(status, int):
                    found.add((status, values[0]))
    return found


def test_every_code_of_an_error_is_in_the_table():
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE, re.M)
    listed = {
        (int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)
    }
    missing = {(status, code) for status, code in raised() - listed}
    assert {pair for pair in missing if pair[0] != 400 or not pair[1].startswith("bad_")} == set()
