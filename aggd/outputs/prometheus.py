r"""The text format of Prometheus, 0.0.4.

    # HELP aggd_lines_total Lines received.
    # TYPE aggd_lines_total counter
    aggd_lines_total{lane="compiled"} 1.5e+06

Source: prometheus.io/docs/instrumenting/exposition_formats.  In values of labels
``\``, ``"`` and LF are escaped, in help ``\`` and LF.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
SUFFIXES = ("", "_sum", "_count", "_bucket")

Labels = Mapping[str, str]
Sample = tuple[Labels, float] | tuple[Labels, float, str]  # with what follows the family's name

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


class Family(NamedTuple):
    """Figures of one name."""

    name: str
    type: str
    help: str
    samples: Sequence[Sample]


def render(families: Iterable[Family]) -> bytes:
    """Write families, each once.

    Raises
    ------
    ValueError
        Where a name, a type or a label is not one, or a family comes twice.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for family in families:
        if family.name in seen:
            raise ValueError(f"two families are called {family.name!r}")
        seen.add(family.name)
        lines += _family(family)
    return "".join(f"{line}\n" for line in lines).encode()


def _family(family: Family) -> Iterator[str]:
    name, type_, text, samples = family
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of a figure: {name!r}")
    if type_ not in TYPES:
        raise ValueError(f"type of {name} must be one of {', '.join(TYPES)}, got {type_!r}")
    help_ = text.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {type_}"
    for labels, value, *suffix in samples:
        if suffix and suffix[0] not in SUFFIXES:
            raise ValueError(f"{name} can't have samples called {suffix[0]!r}")
        yield f"{name}{''.join(suffix)}{_labels(labels)} {number(value)}"


def _labels(labels: Labels) -> str:
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"not a name of a label: {label!r}")
    inside = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number(value: float) -> str:
    """A number as Go reads it, with all its digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))
