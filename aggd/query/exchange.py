"""Digests as the PyPI package tdigest reads and writes them.

    {"n": 4, "delta": 0.01, "K": 25, "centroids": [{"m": 1.5, "c": 1}, {"m": 8, "c": 3}],
     "min": 1.5, "max": 9.0, "sum": 25.5}

``TDigest.update_from_dict`` takes what `write` gives, `read` what ``to_dict`` gives;
n, min, max and sum may be absent or null.  Keys that neither knows are left alone:
fastdigest writes some of its own, and what `write` gave can be read back as it is.

A centroid of weight 1 is a sample.  What a heavier one was made of nobody knows any
more, so it is never taken for equal samples, and the spread inside it is lost: M2,
and with it std, is that of the centroids, a lower bound.
"""

import reprlib
import sys
from typing import Any, NamedTuple

import numpy as np

from aggd.errors import RequestError
from aggd.protocol.samples import LARGEST
from aggd.query.scope import Found, covers
from aggd.query.selection import plain
from aggd.sketch import digest, moments
from aggd.sketch.digest import Digests
from aggd.sketch.moments import Moments
from aggd.store.archive import MAX_CENTROIDS, ROUNDING
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import Floats

MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e15  # of a centroid: what sums and ratios of can be told apart
DELTA, K = 0.01, 25  # tdigest's defaults, which hold for what is added there later


class Sketch(NamedTuple):
    """One timer's row from elsewhere."""

    moments: Moments
    digests: Digests


def write(found: Found) -> dict[str, Any]:
    """The merged digest of a window; no centroids, and nulls, where there are no samples."""
    timers = found.timers
    columns = (float(column[0]) if column.size else np.nan for column in timers.moments)
    count, mean, _, low, high = columns
    centroids = zip(timers.digests.mean.tolist(), timers.digests.weight.tolist(), strict=True)
    head = covers(found)
    return {
        **head,
        "n": head["count"],
        "delta": DELTA,
        "K": K,
        "centroids": [{"m": plain(m), "c": plain(c)} for m, c in centroids],
        "min": plain(low),
        "max": plain(high),
        "sum": plain(mean * count),
    }


def read(found: object) -> Sketch:
    """Read a digest that somebody else wrote.

    Raises
    ------
    RequestError
        With ``bad_digest``, naming the key that is wrong.
    """
    if not isinstance(found, dict):
        example = '{"centroids": [{"m": 1.5, "c": 1}]}'
        raise _refusal(f"a digest must be an object such as {example}, got {_shown(found)}", None)
    mean, weight = _centroids(found.get("centroids"))
    low = _given(found, "min", float(mean[0]), -LARGEST, float(mean[0]))
    high = _given(found, "max", float(mean[-1]), float(mean[-1]), LARGEST)
    n = float(weight.sum())
    claimed = _given(found, "n", n, 0.0, sys.float_info.max)
    if abs(claimed - n) > ROUNDING * n:
        raise _refusal(f"n is {claimed!r}, but the centroids weigh {n!r}", "n")
    row = np.zeros(mean.size, np.int32)
    taken = moments.merge(row, Moments(weight, mean, np.zeros(mean.size), mean, mean), 1)
    taken = taken._replace(low=np.array([low]), high=np.array([high]))
    if found.get("sum") is not None:
        taken = taken._replace(mean=np.array([_mean(found, n, low, high)]))
    whole = Digests(np.array([0, mean.size]), mean, weight, weight == 1)
    return Sketch(taken, digest.merge([(np.zeros(1, np.int32), whole)], 1, OPEN_SIZE))


def _centroids(found: object) -> tuple[Floats, Floats]:
    if not isinstance(found, list) or not 0 < len(found) <= MAX_CENTROIDS:
        shown = f"{len(found)} of them" if isinstance(found, list) else _shown(found)
        message = f"centroids must be a list of 1 to {MAX_CENTROIDS} objects, got {shown}"
        raise _refusal(message, "centroids")
    pairs = np.array([_centroid(i, centroid) for i, centroid in enumerate(found)])
    mean, weight = pairs[:, 0].copy(), pairs[:, 1].copy()
    falls = np.flatnonzero(np.diff(mean) < 0)
    if falls.size:
        i = int(falls[0])
        high, low = mean[i : i + 2].tolist()
        message = f"centroids must ascend, got {high!r} before {low!r} at {i + 1}"
        raise _refusal(message, "centroids")
    return mean, weight


def _centroid(i: int, found: Any) -> tuple[float, float]:
    if not isinstance(found, dict):
        message = f'centroids[{i}] must be an object such as {{"m": 1.5, "c": 1}}'
        raise _refusal(f"{message}, got {_shown(found)}", "centroids")
    mean: Any = found.get("m")
    weight: Any = found.get("c")
    if not _is_number(mean) or not -LARGEST <= mean <= LARGEST:
        message = f"centroids[{i}].m must be a number up to {LARGEST:g}, got {_shown(mean)}"
        raise _refusal(message, "centroids")
    if not _is_number(weight) or not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        bounds = f"from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
        message = f"centroids[{i}].c must be a number {bounds}, got {_shown(weight)}"
        raise _refusal(message, "centroids")
    return float(mean), float(weight)


def _given(found: dict[str, Any], key: str, default: float, low: float, high: float) -> float:
    """A number that may be absent, in [low, high]."""
    value = found.get(key)
    if value is None:
        return default
    if not _is_number(value) or not low <= value <= high:
        message = f"{key} must be a number from {low!r} to {high!r}, got {_shown(value)}"
        raise _refusal(message, key)
    return float(value)


def _mean(found: dict[str, Any], n: float, low: float, high: float) -> float:
    """The mean that a sum tells, which lies between the extremes."""
    total = _given(found, "sum", 0.0, -sys.float_info.max, sys.float_info.max)
    slack = ROUNDING * max(abs(low), abs(high))
    if not low - slack <= total / n <= high + slack:
        message = f"sum must be of {n!r} samples from {low!r} to {high!r}, got {total!r}"
        raise _refusal(message, "sum")
    return min(max(total / n, low), high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refusal(message: str, field: str | None) -> RequestError:
    return RequestError("bad_digest", message, field)


def _shown(value: object) -> str:
    return reprlib.repr(value)
