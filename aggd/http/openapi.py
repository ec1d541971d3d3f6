"""What the routes are, in OpenAPI 3.1, from the very types that check the requests."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from aggd import __version__
from aggd.http.params import (
    Duration,
    Every,
    Fraction,
    Number,
    Numbers,
    Percentiles,
    Question,
    Tags,
    Time,
    Words,
)
from aggd.http.service import EVENTS, JSON, NDJSON, TEXT
from aggd.protocol.samples import LARGEST
from aggd.query.exchange import MAX_WEIGHT, MIN_WEIGHT
from aggd.store.archive import MAX_CENTROIDS

if TYPE_CHECKING:
    from aggd.http.routes import Route

Schema = dict[str, Any]

NUMBER_OR_TEXT = [{"type": "string"}, {"type": "number"}]
WORDS = [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
TYPES: dict[Any, Schema] = {
    Duration: {"anyOf": NUMBER_OR_TEXT, "examples": ["5min", 300]},
    Every: {"anyOf": NUMBER_OR_TEXT, "examples": ["2s", 2]},
    Time: {"anyOf": NUMBER_OR_TEXT, "examples": ["2026-11-24T02:10:00Z", 1795486200]},
    Words: {"anyOf": WORDS},
    Fraction: {"anyOf": NUMBER_OR_TEXT, "examples": [0.99]},
    Number: {"anyOf": NUMBER_OR_TEXT, "examples": [300]},
    Numbers: {
        "anyOf": [*NUMBER_OR_TEXT, {"type": "array", "items": {"type": "number"}}],
        "examples": ["100,250"],
    },
    Tags: {"anyOf": [*WORDS, {"type": "object"}], "examples": ["env:prod,region:eu"]},
    Percentiles: {
        "anyOf": [*NUMBER_OR_TEXT, {"type": "array", "items": {"type": "number"}}],
        "examples": ["50,99.9"],
    },
}
ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "field": {"type": "string"},
            },
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}
POINT: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "value": {"description": "A finite number; for a set a string or a number."},
        "timestamp": {**TYPES[Time], "description": "Now without it."},
        "type": {"type": "string", "default": "timer"},
        "tags": {"type": "object"},
        "sample_rate": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1},
    },
    "required": ["name", "value"],
}
DIGEST: Schema = {
    "type": "object",
    "description": "As TDigest.to_dict of the package tdigest; other keys are ignored.",
    "properties": {
        "n": {"type": "number", "description": "The sum of the weights."},
        "centroids": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_CENTROIDS,
            "items": {
                "type": "object",
                "description": "Means m ascend; a weight c of 1 is a sample.",
                "properties": {
                    "m": {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
                    "c": {"type": "number", "minimum": MIN_WEIGHT, "maximum": MAX_WEIGHT},
                },
                "required": ["m", "c"],
            },
        },
        "min": {"type": "number", "description": "The first mean without it."},
        "max": {"type": "number", "description": "The last mean without it."},
        "sum": {"type": "number", "description": "That of the centroids without it."},
    },
    "required": ["centroids"],
}
BODIES: dict[str, Schema] = {
    JSON: {
        "type": "object",
        "properties": {"data": {"type": "array", "items": POINT}},
        "required": ["data"],
        "additionalProperties": False,
    },
    NDJSON: {"type": "string", "description": "One point a line."},
    TEXT: {"type": "string", "description": "statsd lines."},
}


def describe(routes: Sequence["Route"]) -> Schema:
    """The OpenAPI document of some routes."""
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aggd",
            "version": __version__,
            "description": "Statistics of StatsD metrics over any window.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }


def _operation(route: "Route") -> Schema:
    operation: Schema = {"summary": route.summary, "responses": _responses(route)}
    if route.question is None:
        bodies = {media: {"schema": BODIES[media]} for media in route.media}
    else:
        schema = _schema(route.question)
        bodies = {media: {"schema": route.body or schema} for media in route.media}
        if not route.media or route.body:
            operation["parameters"] = list(_parameters(route.path, schema))
    if bodies:
        operation["requestBody"] = {"required": True, "content": bodies}
    return operation


def _responses(route: "Route") -> Schema:
    answer: Schema = {"description": "The answer."}
    if route.event:
        said = f"The answer, as one event called {route.event} after another."
        answer = {"description": said, "content": {EVENTS: {"schema": {"type": "string"}}}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "200": answer,
        "default": {"description": "Why there is none.", "content": error},
    }


def _parameters(path: str, schema: Schema) -> Iterator[Schema]:
    """One for each property, in the path where that names it."""
    places = re.findall(r"{(\w+)}", path)
    for name, found in schema["properties"].items():
        of = {key: value for key, value in found.items() if key != "description"}
        described = {"description": found["description"]} if "description" in found else {}
        yield {
            "name": name,
            "in": "path" if name in places else "query",
            "required": name in schema.get("required", ()),
            "schema": of,
            **described,
        }


def _schema(question: type[Question]) -> Schema:
    (_,), found = msgspec.json.schema_components([question], schema_hook=TYPES.__getitem__)
    schema: Schema = found[question.__name__]
    for of in schema["properties"].values():
        if not of.get("default", True):  # an empty tuple stands for what wasn't given
            del of["default"]
    return schema
