"""One question asked in every way there is: all ways give one answer.

stats   aggregate (one bucket)   rolling (the point that ends there)   compare (current)
listing (by tags, each alone)    distribution    slo    digest
"""

from math import isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.query import answer, compare, distribution, exchange, listing, rolling, slo
from aggd.query.answer import More
from aggd.query.scope import Scope, Window, timers_of
from aggd.store.series import Kind
from tests.query.past import SHORT, START, TIERS, Past, Sample

DAY = 86400
NAMES = {
    Kind.COUNTER: ["count", "sum", "rate"],
    Kind.GAUGE: ["count", "sum", "mean", "min", "max", "last"],
    Kind.TIMER: ["count", "sum", "rate", "mean", "std", "min", "max", "median", "p50", "p99",
                 "p99.9", "upper_90", "mean_top20", "trimmed_5"],
    Kind.SET: ["count", "unique"],
}  # fmt: skip
TAGS = ((), ("env:0",), ("host:1",), ("host:1", "env:1"), ("host:9",))
values = st.one_of(st.integers(0, 9).map(float), st.floats(-1e6, 1e6).map(lambda v: round(v, 3)))
weights = st.sampled_from([1.0, 1.0, 4.0])


@st.composite
def pasts(draw, kind: Kind) -> Past:
    """A few samples or many, closed or not, a late one, kept or not, in long or short rings."""
    past = Past(kind, tiers=draw(st.sampled_from([TIERS, SHORT])))
    plain = kind in (Kind.GAUGE, Kind.SET)
    weight = st.just(1.0) if plain else weights
    rows = draw(
        st.lists(
            st.builds(Sample, st.integers(0, 3), values, weight, st.integers(0, 900)), max_size=40
        )
    )
    many = draw(st.sampled_from([0, 0, 1500]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rows += [
        Sample(int(s), float(v), 1.0, int(t))
        for s, v, t in zip(
            rng.integers(0, 4, many), rng.gamma(2, 40, many), rng.integers(0, 900, many),
            strict=True,
        )
    ]  # fmt: skip
    past.record(rows, close=draw(st.booleans()))
    late = Sample(0, draw(values), 1.0, draw(st.integers(0, 900)))
    slot = START + late.time // 10 * 10
    if any(ring.takes(slot - slot % ring.width) for ring in past.history.rings):
        past.record([late], close=False)
    if draw(st.booleans()):
        past.history.samples_memory = 0
        past.history.close(START + 3600)
    return past


@st.composite
def windows(draw) -> tuple[int, int]:
    """Seconds after START: of whole minutes or any, as one may be widened and the other not."""
    step = draw(st.sampled_from([1, 10, 60]))
    start = draw(st.integers(0, 900 // step - 1))
    return start * step, draw(st.integers(start + 1, 900 // step)) * step


def about(start: int, end: int, tags=(), by=(), now=3600) -> Scope:
    return Scope(Window(START + start, START + end), START + now, tags, by)


def asked(past: Past, scope: Scope):
    """What ``stats`` says, with every statistic the kind has."""
    more = More([*NAMES[past.kind]]) if past.kind is Kind.TIMER else More()
    return answer.stats(past.registry, past.history, "t", (), scope, more)


def seconds(found) -> int:
    start, end = (np.datetime64(found[key].removesuffix("Z")) for key in ("from", "to"))
    return int((end - start) / np.timedelta64(1, "s"))


def same(one, other) -> bool:
    """Tell whether two numbers are one, to the rounding of sums in another order."""
    if one is None or other is None or np.isnan([one, other]).any():
        return (one is None or np.isnan(one)) and (other is None or np.isnan(other))
    return isclose(one, other, rel_tol=1e-9, abs_tol=1e-6)


@pytest.mark.parametrize("kind", Kind)
@settings(max_examples=30)
@given(st.data())
def test_one_bucket_one_point_and_one_side_are_the_statistics(kind, data):
    past = data.draw(pasts(kind))
    start, end = data.draw(windows())
    tags, now = data.draw(st.sampled_from(TAGS)), data.draw(st.sampled_from([end - 0.5, 3600]))
    scope = about(start, end, tags, now=now)
    stats = asked(past, scope)
    names = NAMES[kind]

    buckets = answer.aggregate(past.registry, past.history, "t", names, 3600, None, scope)
    (bucket,) = buckets.buckets
    said = buckets.covers()
    about_window = {key: stats[key] for key in ("from", "to", "count", "exact", "resolution")}
    assert {key: said[key] for key in about_window} == about_window
    assert bucket.start.size == (stats["count"] > 0)
    if stats["count"]:
        assert bucket.start.tolist() == [START]
        for name in names:
            assert same(bucket.columns[name][0], stats[name]), name
        for name, error in buckets.covers()["rank_error"].items():
            assert error == stats["rank_error"][name]

    compared = compare.compare(past.registry, past.history, "t", compare.Sides(DAY), scope)
    assert compared["current"] == {key: stats[key] for key in compared["current"]} | {
        "rank_error": compared["current"]["rank_error"]
    } | ({"exact": compared["current"]["exact"]} if kind is Kind.TIMER else {})


@pytest.mark.parametrize("kind", Kind)
@settings(max_examples=25)
@given(st.data())
def test_all_buckets_together_are_the_window(kind, data):
    past = data.draw(pasts(kind))
    start, end = data.draw(windows())
    scope = about(start, end, data.draw(st.sampled_from(TAGS)))
    stats = asked(past, scope)
    step = data.draw(st.sampled_from([10, 30, 60, 300]))
    names = [name for name in NAMES[kind] if name in ("count", "sum", "min", "max", "last")]
    fill = data.draw(st.sampled_from([None, "null"]))
    found = answer.aggregate(past.registry, past.history, "t", names, step, fill, scope)
    if any(found.covers()[edge] != stats[edge] for edge in ("from", "to")):
        return  # one of them was widened to coarser slots
    (of,) = found.buckets
    if fill:
        assert of.start.tolist() == [
            *range(*(at // step * step for at in edges(stats, step)), step)
        ]
    assert found.covers()["count"] == stats["count"]
    full = of.columns["count"] > 0
    together = {"min": np.min, "max": np.max, "last": lambda column: column[-1]}
    for name in names:
        column = of.columns[name][full]
        if column.size:
            assert same(together.get(name, np.sum)(column), stats[name]), name


def edges(found, step: int) -> tuple[int, int]:
    start, end = (seconds_after(found[key]) + START for key in ("from", "to"))
    return start, end + step - 1


@pytest.mark.parametrize("kind", Kind)
@settings(max_examples=30)
@given(st.data())
def test_the_point_of_a_moving_window_is_its_statistics(kind, data):
    past = data.draw(pasts(kind))
    start = data.draw(st.integers(0, 88)) * 10
    end = data.draw(st.integers(start // 10 + 1, 90)) * 10
    now = data.draw(st.sampled_from([end - 0.5, 3600]))
    scope = about(start, end, data.draw(st.sampled_from(TAGS)), now=now)
    stats = asked(past, scope)
    if seconds(stats) != end - start or stats["resolution"] not in ("10s", "1m"):
        return  # widened to coarser slots
    names = [n for n in NAMES[kind] if n not in ("upper_90", "mean_top20", "trimmed_5")]
    scope = scope._replace(window=Window(START + end - 10, START + end))
    found = rolling.rolling(past.registry, past.history, "t", names, end - start, 10, scope)
    (points,) = found.buckets
    at = np.flatnonzero(points.start == START + end)
    assert at.size == (stats["count"] > 0)
    if not at.size:
        return
    assert points.exact <= stats["exact"]
    for name in names:
        if name in points.rank_error:
            assert points.rank_error[name] >= stats["rank_error"][name]
        else:
            assert same(points.columns[name][at[0]], stats[name]), name


@settings(max_examples=50)
@given(st.data())
def test_a_distribution_an_objective_and_a_digest_are_of_the_same_samples(data):
    past = data.draw(pasts(Kind.TIMER))
    start, end = data.draw(windows())
    scope = about(start, end, data.draw(st.sampled_from(TAGS)))
    stats = asked(past, scope)
    x = data.draw(st.one_of(values, st.just(stats["p50"] or 0.0), st.just(stats["max"] or 0.0)))
    shape = distribution.Shape(7, "linear", (x,), fit=False)
    found = distribution.describe(past.registry, past.history, "t", shape, scope)
    judged = slo.assess(past.registry, past.history, "t", slo.Objective(x, 0.9), scope)
    sketch = exchange.write(timers_of(past.registry, past.history, "t", scope))
    for key in ("name", "kind", "tags", "from", "to", "count"):
        assert stats[key] == found[key] == judged[key] == sketch[key], key
    whole = past.raw(seconds_after(stats["from"]), seconds_after(stats["to"]), series(past, scope))
    assert stats["count"] == whole.size
    assert stats["exact"] == found["exact"] == judged["exact"]
    assert stats["resolution"] == found["resolution"] == judged["resolution"]
    assert judged["good"] == found["cdf"][0]["fraction"]
    for key in ("min", "max", "sum"):
        assert same(sketch[key], stats[key]), key
    assert sum(c["c"] for c in sketch["centroids"]) == stats["count"]
    if not whole.size:
        return
    assert sum(found["histogram"]["counts"]) == stats["count"]
    edges = found["histogram"]["edges"]
    assert (edges[0], edges[-1]) == (stats["min"], stats["max"])
    off = abs(judged["good"] - (whole <= x).mean())
    assert off <= found["rank_error"] + 1e-9
    assert judged["good_count"] + judged["bad_count"] == stats["count"]
    if stats["exact"]:
        assert same(stats["p99"], np.percentile(whole, 99))


def seconds_after(time: str) -> int:
    return int(np.datetime64(time.removesuffix("Z"), "s").astype(int)) - START


def series(past: Past, scope: Scope) -> list[int]:
    return [one.id for one in past.registry.named("t", scope.tags)]


@pytest.mark.parametrize("kind", Kind)
@settings(max_examples=25)
@given(st.data())
def test_a_list_of_series_says_of_each_what_it_says_when_asked_alone(kind, data):
    past = data.draw(pasts(kind))
    start, end = data.draw(windows())
    rows = listing.matching(
        past.registry, past.history, "t*", (), about(start, end), listing.Listing("-count")
    )["series"]
    assert len(rows) == len(past.ids)
    assert [row["count"] for row in rows] == sorted((row["count"] for row in rows), reverse=True)
    for row in rows:
        tags = [f"{key}:{value}" for key, value in row["tags"].items()]
        alone = answer.stats(past.registry, past.history, "t", (), about(start, end, tags))
        assert agree(row, alone)
    groups = answer.stats(past.registry, past.history, "t", (), about(start, end, by=("env",)))
    listed = listing.matching(
        past.registry, past.history, "t", (), about(start, end, by=("env",)), listing.Listing()
    )
    assert groups["series"] == listed["series"]
    for group in groups["series"]:
        tag = f"env:{group['tags']['env']}"
        alone = answer.stats(past.registry, past.history, "t", (), about(start, end, (tag,)))
        assert agree(group, alone)


def agree(one, other) -> bool:
    """Tell whether two answers of one group say the same."""
    skip = ("tags", "exact", "rank_error", "resolution")
    return all(
        same(one[key], other[key]) if isinstance(one[key], int | float) else one[key] == other[key]
        for key in one if key not in skip
    )  # fmt: skip
