"""Digests of other programs, and ours for them."""

import json
import math

import numpy as np
import pytest
from fastdigest import TDigest as FastDigest
from hypothesis import given
from hypothesis import strategies as st
from tdigest import TDigest

from aggd.errors import RequestError
from aggd.query import exchange
from aggd.query.scope import Scope, Window, timers_of
from aggd.query.stats import columns
from aggd.sketch import digest
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import Timers
from tests import reference
from tests.query.past import START, Past, Sample

# Ranks that may be off: both libraries' own error comes on top of ours.
QUANTILES = {0.01: 0.01, 0.1: 0.02, 0.5: 0.02, 0.9: 0.02, 0.99: 0.01}


def timers(sketch: exchange.Sketch) -> Timers:
    return Timers(np.zeros(1, np.int32), sketch.moments.count, *sketch, digest.Digests.empty(1))


def answers(sketch, *names):
    found = columns(timers(sketch), names, 1.0)
    return [float(found[name].values[0]) for name in names]


def sent(past: Past, **window):
    scope = Scope(Window(**window), START + 600.0)
    found = timers_of(past.registry, past.history, "t", scope)
    return json.loads(json.dumps(exchange.write(found)))


def recorded(x, weight=1.0) -> Past:
    past = Past()
    past.record(Sample(i % 2, v, weight, i * 400 // len(x)) for i, v in enumerate(x))
    return past


def rank_error(x, found, q):
    ordered = np.sort(x)
    return reference.rank_errors(ordered, None, np.array(found), np.array(q)).max()


HARD = ["uniform", "exponential", "lognormal", "bimodal", "offset", "sorted"]


@pytest.mark.parametrize("name", HARD)
def test_tdigest_reads_what_we_write(name):
    x, _ = reference.hard_samples(name, 20_000)
    answer = sent(recorded(x.tolist()))
    assert list(answer) == [
        "name", "kind", "tags", "from", "to", "resolution", "exact", "count",
        "n", "delta", "K", "centroids", "min", "max", "sum",
    ]  # fmt: skip
    theirs = TDigest().update_from_dict(answer)
    assert theirs.n == answer["n"] == answer["count"] == x.size
    assert (answer["min"], answer["max"]) == (x.min(), x.max())
    assert answer["sum"] == pytest.approx(x.sum())
    for q, bound in QUANTILES.items():
        assert rank_error(x, [theirs.percentile(q * 100)], [q]) < bound


@pytest.mark.parametrize("name", HARD)
def test_fastdigest_reads_what_we_write(name):
    x, _ = reference.hard_samples(name, 20_000)
    theirs = FastDigest.from_dict(sent(recorded(x.tolist())))
    assert theirs.mass() == x.size
    assert (theirs.min(), theirs.max()) == (x.min(), x.max())
    for q, bound in QUANTILES.items():
        assert rank_error(x, [theirs.quantile(q)], [q]) < bound


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("library", ["tdigest", "fastdigest"])
def test_we_read_what_the_libraries_write(name, library):
    x, _ = reference.hard_samples(name, 5000)
    if library == "tdigest":
        theirs = TDigest()
        theirs.batch_update(x)
    else:
        theirs = FastDigest.from_values(x, max_centroids=200)
    sketch = exchange.read(json.loads(json.dumps(theirs.to_dict())))
    sketch.digests._check()
    words = ["count", "mean", "std", "min", "max", *(f"p{q * 100:g}" for q in QUANTILES)]
    count, mean, std, low, high, *found = answers(sketch, *words)
    assert count == x.size
    assert mean == pytest.approx(x.mean(), rel=1e-9)
    assert 0.9 * x.std() < std <= x.std() * (1 + 1e-9)
    assert x.min() <= low <= high <= x.max()
    assert library == "tdigest" or (low, high) == (x.min(), x.max())
    for value, (q, bound) in zip(found, QUANTILES.items(), strict=True):
        assert rank_error(x, [value], [q]) < bound


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60))
def test_few_samples_come_back_as_they_went(x):
    past = Past().record(Sample(0, v, 1.0, 0) for v in x)
    sketch = exchange.read(sent(past))
    count, mean, low, high = answers(sketch, "count", "mean", "min", "max")
    assert (count, low, high) == (len(x), min(x), max(x))
    assert mean == pytest.approx(np.mean(x), rel=1e-9, abs=1e-6)
    known = len(set(np.array(x) + 0.0)) == len(x)  # a heavier centroid is no sample
    assert digest.exact(sketch.digests).all() == known
    if known:
        assert answers(sketch, "p0", "p37.5", "p100") == np.percentile(x, [0, 37.5, 100]).tolist()


def test_equal_samples_are_one_and_their_weight_adds_up():
    sketch = exchange.read({"centroids": [{"m": 2, "c": 1}, {"m": 2.0, "c": 1}, {"m": 3, "c": 1}]})
    assert sketch.digests.mean.tolist() == [2, 3]
    assert sketch.digests.weight.tolist() == [2, 1]
    assert sketch.digests.atom.all()
    heavy = exchange.read({"centroids": [{"m": 2, "c": 2}, {"m": 2, "c": 2}]})
    assert heavy.digests.weight.tolist() == [2, 2]
    assert not heavy.digests.atom.any()


def test_a_window_without_samples_has_no_centroids_and_nulls():
    answer = sent(recorded([1.0]), start=START + 500.0)
    assert (answer["n"], answer["count"], answer["centroids"]) == (0, 0, [])
    assert [answer[key] for key in ("min", "max", "sum")] == [None] * 3
    assert TDigest().update_from_dict(answer).n == 0


def test_a_sum_past_the_largest_number_is_null():
    answer = sent(recorded([1e300] * 4, 1e9))
    assert (answer["sum"], answer["max"]) == (None, 1e300)
    assert answers(exchange.read(answer), "mean") == [1e300]


def test_more_centroids_than_an_open_slot_has_are_compressed():
    mean = np.sort(np.random.default_rng(1).normal(size=exchange.MAX_CENTROIDS))
    body = {"centroids": [{"m": m, "c": 2.5} for m in mean.tolist()]}
    sketch = exchange.read(body)
    assert sketch.digests.mean.size <= OPEN_SIZE
    assert sketch.digests.weight.sum() == pytest.approx(2.5 * mean.size)
    (median,) = answers(sketch, "p50")
    assert median == pytest.approx(np.median(mean), abs=0.01)


def test_absent_keys_are_told_by_the_centroids_and_unknown_ones_are_left_alone():
    body = {"centroids": [{"m": 1, "c": 2, "x": 9}, {"m": 4, "c": 1}], "max_centroids": 5,
            "n": None, "min": None}  # fmt: skip
    assert answers(exchange.read(body), "count", "mean", "min", "max") == [3, 2, 1, 4]
    assert answers(exchange.read(body), "std") == [pytest.approx(math.sqrt(2))]
    body |= {"n": 3, "min": 0.5, "max": 4.5, "sum": 6.3}
    assert answers(exchange.read(body), "mean", "min", "max") == [pytest.approx(2.1), 0.5, 4.5]


ONE = [{"m": 1.0, "c": 1.0}]
HOSTILE = [
    ([], None, "must be an object such as"),
    ("x", None, "got 'x'"),
    ({}, "centroids", "a list of 1 to 10000 objects, got None"),
    ({"centroids": []}, "centroids", "got 0 of them"),
    ({"centroids": {}}, "centroids", "got {}"),
    ({"centroids": ONE * 10_001}, "centroids", "got 10001 of them"),
    ({"centroids": [1.0]}, "centroids", "centroids[0] must be an object"),
    ({"centroids": [*ONE, {"c": 1}]}, "centroids", "centroids[1].m must be a number up to 1e+300"),
    ({"centroids": [{"m": math.nan, "c": 1}]}, "centroids", "got nan"),
    ({"centroids": [{"m": -math.inf, "c": 1}]}, "centroids", "got -inf"),
    ({"centroids": [{"m": 1.1e300, "c": 1}]}, "centroids", "got 1.1e+300"),
    ({"centroids": [{"m": 10**400, "c": 1}]}, "centroids", "centroids[0].m"),
    ({"centroids": [{"m": "1", "c": 1}]}, "centroids", "got '1'"),
    ({"centroids": [{"m": True, "c": 1}]}, "centroids", "got True"),
    ({"centroids": [{"m": 1}]}, "centroids", "c must be a number from 1e-06 to 1e+15, got None"),
    ({"centroids": [{"m": 1, "c": 0}]}, "centroids", "got 0"),
    ({"centroids": [{"m": 1, "c": -1}]}, "centroids", "got -1"),
    ({"centroids": [{"m": 1, "c": 1e-7}]}, "centroids", "got 1e-07"),
    ({"centroids": [{"m": 1, "c": math.nan}]}, "centroids", "got nan"),
    ({"centroids": [{"m": 1, "c": 1.1e15}]}, "centroids", "got 1100000000000000.0"),
    ({"centroids": [{"m": 2, "c": 1}, {"m": 1, "c": 1}]}, "centroids",
     "must ascend, got 2.0 before 1.0 at 1"),
    ({"centroids": ONE, "n": 2}, "n", "n is 2.0, but the centroids weigh 1.0"),
    ({"centroids": ONE, "n": "1"}, "n", "n must be a number"),
    ({"centroids": ONE, "n": math.nan}, "n", "got nan"),
    ({"centroids": ONE, "min": 1.5}, "min", "from -1e+300 to 1.0, got 1.5"),
    ({"centroids": ONE, "max": 0.5}, "max", "got 0.5"),
    ({"centroids": ONE, "max": math.inf}, "max", "got inf"),
    ({"centroids": ONE, "sum": 2}, "sum", "sum must be of 1.0 samples from 1.0 to 1.0, got 2.0"),
    ({"centroids": ONE, "sum": math.nan}, "sum", "got nan"),
    ({"centroids": ONE, "sum": []}, "sum", "got []"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field", "said"), HOSTILE)
def test_a_hostile_digest_is_refused_with_what_is_wrong(body, field, said):
    with pytest.raises(RequestError) as caught:
        exchange.read(body)
    assert (caught.value.status, caught.value.code, caught.value.field) == (
        400, "bad_digest", field,
    )  # fmt: skip
    assert said in caught.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["m", "c", "n", "min", "max", "sum", "centroids"]), inner)
    ),
    max_leaves=12,
)
near = st.fixed_dictionaries(
    {"centroids": st.lists(st.fixed_dictionaries({"m": json_values, "c": json_values}))},
    optional={"n": json_values, "min": json_values, "max": json_values, "sum": json_values},
)


@given(json_values | near)
def test_anything_is_a_digest_or_refused(body):
    try:
        sketch = exchange.read(body)
    except RequestError:
        return
    sketch.digests._check()
    count, mean, low, high = answers(sketch, "count", "mean", "min", "max")
    assert count > 0
    assert low <= mean <= high


@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(1e-6, 1e15)), min_size=1))
def test_every_sound_digest_is_read_and_answers(pairs):
    pairs.sort()
    body = {"centroids": [{"m": m, "c": c} for m, c in pairs]}
    sketch = exchange.read(body)
    sketch.digests._check()
    low, p50, high = answers(sketch, "p0", "p50", "p100")
    assert pairs[0][0] <= low <= p50 <= high <= pairs[-1][0]
