"""The protocol's test vectors, and samples as they write them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from aggd.protocol.events import Event
from aggd.protocol.lines import Parsed, Sample
from aggd.store.series import KINDS

FIELDS = ("timestamp", "container", "external", "cardinality")


class Vector(NamedTuple):
    """A datagram, and what it must become."""

    id: str
    datagram: bytes
    parsed: list[dict[str, Any]]
    bad: list[str]
    warn: list[str]


def load() -> list[Vector]:
    """All vectors; their bytes are written as latin-1."""
    text = Path(__file__).with_name("vectors.json").read_text()
    return [
        Vector(v["id"], v["input"].encode("latin-1"), v["parsed"], sorted(v["bad"]), v["warn"])
        for v in json.loads(text)
    ]


VECTORS = load()


def as_vector(record: Any) -> dict[str, Any]:
    """A record as the vectors write it."""
    found = {k: v for k, v in record._asdict().items() if v is not None}
    found["tags"] = list(record.tags)
    if not isinstance(record, Sample):
        return {**found, "kind": "event" if isinstance(record, Event) else "service_check"}
    out = {"name": record.name, "type": record.kind, "tags": list(record.tags)}
    out["values"] = [v.decode() if isinstance(v, bytes) else v for v in record.values]
    out["sample_rate"] = record.rate
    if record.kind == "g" and record.signs.strip():
        out["sign"] = [s.strip() for s in record.signs] if len(record.signs) > 1 else record.signs
    return out | {k: found[k] for k in FIELDS if k in found}


class Taken(NamedTuple):
    """One value on its way into a frame: what both lanes must agree on."""

    name: str
    tags: tuple[str, ...]
    kind: str
    value: float | bytes
    weight: float
    timestamp: float | None


def taken(parsed: Parsed) -> list[Any]:
    """Records value by value; the weight is 1/rate, or 0 for a gauge's change."""
    found: list[Any] = []
    for record in parsed.records:
        if not isinstance(record, Sample):
            found.append(record)
            continue
        for value, sign in zip(record.values, record.signs, strict=True):
            changed = record.kind == "g" and sign != " "
            weight = 0.0 if changed else 1.0 / record.rate
            found.append(
                Taken(record.name, record.tags, record.kind, value, weight, record.timestamp)
            )
    return found


assert set(KINDS) >= {record["type"] for v in VECTORS for record in v.parsed if "type" in record}
