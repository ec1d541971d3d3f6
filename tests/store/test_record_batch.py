"""Points as columns and points one by one are recorded alike."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggd.protocol import batch
from aggd.protocol.points import points
from aggd.store.merge import merge
from aggd.store.naming import Policy
from aggd.store.recorder import Recorder
from aggd.store.rollup import History, Tier
from aggd.store.series import Limits, Registry

NOW = 1_700_000_003.5
TIERS = (Tier("interval", 10, 600), Tier("minute", 60, 3600))
TIMES = st.sampled_from(
    [None, NOW - 1, NOW - 45.5, NOW - 300, NOW + 30, NOW + 90, "2023-11-14T22:13:20Z", 1000]
)
plain = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b c", "a/b", "n" * 40, "g"]),
        "value": st.integers(-5, 5) | st.floats(-1e6, 1e6),
    },
    optional={
        "type": st.sampled_from([None, "counter", "gauge", "timer", "h", "d", "c", "g"]),
        "tags": st.sampled_from([None, {}, {"b": "1", "a": 2}, {"a": 2, "b": "1"}, ["x", "a:1"]]),
        "timestamp": TIMES,
        "sample_rate": st.sampled_from([None, 1, 0.5, 0.1]),
    },
)
odd = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "", 3, "$"]), "value": st.sampled_from([1, "x", None, 1e301])},
    optional={
        "type": st.sampled_from(["set", "C", "nothing", 7]),
        "sample_rate": st.just(0),
        "timestamp": st.just("yesterday"),
        "tags": st.just({"a": []}),
        "other": st.just(1),
    },
)


class Recording:
    """A recorder, and everything that came of it."""

    def __init__(self) -> None:
        self.registry = Registry(Limits(series=6, name_bytes=30))
        self.history = History(TIERS, 1 << 30, 1 << 28, NOW)
        # What came before, so that a point of long ago is older than all that is kept.
        self.recorder = Recorder(self.registry, self.history, Policy())
        before = [{"name": "a", "value": 1, "timestamp": NOW - 10 * i} for i in range(80)]
        self.recorder.record(points(before)[0], NOW)

    def state(self):
        frame = merge(self.history.tile(0, 1 << 40).frames, 0, 1 << 40)
        frame._check()
        figures = self.recorder.figures
        counted = dict(+figures.bad), dict(+figures.samples), dict(+figures.warnings)
        ids = np.arange(len(self.registry), dtype=np.int32)
        names = [(one.kind, one.name, one.tags) for one in self.registry.series(ids)]
        columns = frame.counters.sum, frame.timers.moments.mean, frame.gauges.last
        return counted, names, *columns, frame.timers.samples


@given(st.lists(plain, max_size=30), st.booleans())
def test_columns_record_what_single_points_do(data, lines):
    one, other = Recording(), Recording()
    text = "\n".join(map(json.dumps, data)) if lines else json.dumps({"data": data})
    decoded = batch.decode(text.encode(), lines)
    found = batch.batches(decoded, 7, sanitize_names=True)
    refused = []
    for i, some in enumerate(found):
        refused += [(7 * i + at, why) for at, why in one.recorder.record_batch(some, NOW)]
    samples, rejected = points(data)
    assert not rejected
    assert refused == other.recorder.record(samples, NOW)
    mine, theirs = one.state(), other.state()
    assert mine[:2] == theirs[:2]
    for a, b in zip(mine[2:], theirs[2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@given(st.lists(plain, max_size=3), odd)
def test_a_body_with_anything_else_in_it_is_left_to_the_reader(data, other):
    text = json.dumps({"data": [*data, other]}).encode()
    decoded = batch.decode(text, lines=False)
    found = None if decoded is None else batch.batches(decoded, 100, sanitize_names=True)
    usual = points([other])[1] == [] and other.get("type") not in ("set", "C")
    assert (found is not None) == usual
