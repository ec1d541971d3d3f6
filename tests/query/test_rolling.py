"""Windows that move, against plain lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import RequestError
from aggd.query import rolling as question
from aggd.query import sweep
from aggd.query.rolling import rolling
from aggd.query.scope import Scope, Window
from aggd.query.selection import merged, select
from aggd.sketch import quantiles
from aggd.store.series import Kind
from tests import reference
from tests.query.past import START, Past, Sample

values = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
samples = st.builds(
    Sample, st.integers(0, 3), values, st.sampled_from([1.0, 4.0]), st.integers(0, 700)
)
lengths = st.sampled_from([10, 20, 30, 60, 70, 120, 300, 3600])
NAMES = ("sum", "rate", "mean", "std", "min", "max", "median", "p99")


def ask(past: Past, names, window, step, start=0, end=710, by=(), now=710):
    edges = Window(None if start is None else START + start, None if end is None else START + end)
    about = Scope(edges, START + now, by=by)
    return rolling(past.registry, past.history, "t", names, window, step, about)


def ends(start, end, step):
    """Ends of all windows, in seconds after START."""
    first = (START + start) // step * step + step
    last = -(-(START + end) // step) * step
    return [time - START for time in range(first, last + 1, step)]


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(samples, min_size=1, max_size=60),
    window=lengths,
    step=lengths,
    start=st.integers(0, 400),
    close=st.booleans(),
    by=st.sampled_from([(), ("env",), ("host",)]),
)
def test_every_point_is_of_the_samples_in_its_window(rows, window, step, start, close, by):
    past = Past().record(rows, close)
    start -= start % 10
    found = ask(past, NAMES, window, step, start, 710, by)
    width = max(w for w in (10, 60, 3600) if window % w == step % w == 0)
    assert found.samples == sum(
        s.weight for s in rows
        if s.time >= start - start % width
        and any(time - window <= s.time < time for time in ends(start, 710, step))
    )  # fmt: skip
    for group, of in zip(found.groups, found.buckets, strict=True):
        assert of.exact
        assert of.rank_error == {}
        want = []
        for time in ends(start, 710, step):
            x = past.raw(time - window, min(time, 710), group.series)
            if x.size:
                seconds = min(time, 710) - (time - window)
                want.append(
                    [START + time, x.size, x.sum(), x.size / seconds, x.mean(), x.std(), x.min(),
                     x.max(), np.median(x), np.percentile(x, 99)]
                )  # fmt: skip
        assert list(of.columns) == ["count", *NAMES]
        got = np.column_stack([of.start, *of.columns.values()])
        assert got.shape == (len(want), len(NAMES) + 2)
        assert got == pytest.approx(np.array(want).reshape(got.shape), rel=1e-9, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(samples, min_size=1, max_size=40), lengths, lengths, st.sampled_from(list(Kind)[:2])
)
def test_counters_and_gauges_move_alike(rows, window, step, kind):
    rows = [row._replace(weight=1.0) for row in rows]
    past = Past(kind, 4).record(rows)
    names = ["sum", "rate"] if kind is Kind.COUNTER else ["sum", "mean", "min", "max", "last"]
    (of,) = ask(past, names, window, step).buckets
    for i, time in enumerate(of.start.tolist()):
        inside = [r for r in rows if time - window <= START + r.time < min(time, START + 710)]
        x = np.array([r.value for r in inside])
        latest = max((r.time for r in inside), default=0)
        last = {r.value for r in inside if r.time == latest}
        seconds = min(time, START + 710) - (time - window)
        known = {"sum": x.sum(), "rate": x.sum() / seconds, "mean": x.mean(),
                 "min": x.min(), "max": x.max()}  # fmt: skip
        for name in names:
            if name == "last":
                assert of.columns[name][i] in last
            else:
                assert of.columns[name][i] == pytest.approx(known[name], rel=1e-9, abs=1e-6)
    missing = set(ends(0, 710, step)) - {time - START for time in of.start.tolist()}
    assert not any(time - window <= row.time < time for time in missing for row in rows)


def test_the_last_level_is_that_of_the_latest_slot():
    past = Past(Kind.GAUGE, 1)
    past.record([Sample(0, v, 1.0, t) for t, v in ((5, 3.0), (25, 9.0), (65, 1.0))])
    (of,) = ask(past, ["last"], 40, 10, 0, 120).buckets
    assert dict(zip((of.start - START).tolist(), of.columns["last"].tolist(), strict=True)) == {
        10: 3, 20: 3, 30: 9, 40: 9, 50: 9, 60: 9, 70: 1, 80: 1, 90: 1, 100: 1,
    }  # fmt: skip


def test_different_members_of_a_window_count_once():
    past = Past(Kind.SET, 1)
    rng = np.random.default_rng(3)
    rows = [Sample(0, float(v), 1.0, int(t)) for t, v in rng.integers(0, (700, 40), (300, 2))]
    past.record(rows)
    (of,) = ask(past, ["unique"], 60, 30).buckets
    assert of.exact
    for time, got in zip((of.start - START).tolist(), of.columns["unique"].tolist(), strict=True):
        assert got == len({r.value for r in rows if time - 60 <= r.time < time})


def test_windows_reach_over_tiers_and_late_points():
    past = Past(series=1)
    rng = np.random.default_rng(8)
    every = [Sample(0, v, 1.0, i * 60) for i, v in enumerate(rng.gamma(2, 9, 500))]
    past.record(every)  # over eight hours: intervals are kept for one, minutes for a day
    late = Sample(0, 1e6, 1.0, 7000)
    past.samples.append(late)
    past.add([late], START + 7000)
    for window, step in ((600, 60), (3600, 300), (7200, 3600)):
        (of,) = ask(past, ["max", "p90"], window, step, 3600, 30_000, now=30_000).buckets
        assert of.start.tolist() == [START + time for time in ends(3600, 30_000, step)]
        for i, time in enumerate((of.start - START).tolist()):
            x = past.raw(time - window, time)
            assert of.columns["count"][i] == x.size
            assert of.columns["max"][i] == x.max()
            assert of.columns["p90"][i] == pytest.approx(np.percentile(x, 90), rel=1e-12)


def test_a_frame_wider_than_a_slot_counts_where_it_ends():
    past = Past(series=1)
    past.record([Sample(0, float(hour), 1.0, hour * 3600 + 5) for hour in range(3)])
    past.history.close(START + 3 * 3600)
    frames = past.history.rings[2].between(0, START + 10**6)
    chosen = select(past.kind, [merged([past.registry[0]])])
    grid = sweep.Grid(START, 1800, 1, 1, 7, START, START + 7 * 1800)
    (of,), count = sweep.move(frames, chosen, ["count", "max"], grid, START)
    assert ((of.start - START) // 1800).tolist() == [2, 4, 6]
    assert of.columns["max"].tolist() == [0, 1, 2]
    assert count == 3
    (of,), _ = sweep.move(frames, chosen, ["count"], grid._replace(windows=5), START)
    assert of.columns["count"].tolist() == [1, 1, 1]  # one that ends beyond counts in the last slot


@pytest.mark.parametrize("name", ["lognormal", "integers", "gaps", "offset", "weighted"])
def test_estimates_say_how_far_they_may_be_off(name):
    past = Past(series=2)
    value, weight = reference.hard_samples(name, 60_000)
    weight = np.ones(value.size) if weight is None else np.floor(weight)
    time = np.arange(value.size) * 1200 // value.size
    past.record(map(Sample, (time % 2).tolist(), value.tolist(), weight.tolist(), time.tolist()))
    names = ["p1", "median", "p99", "p99.9"]
    (of,) = ask(past, names, 300, 60, 0, 1200, now=1200).buckets
    assert not of.exact
    q = np.array([0.01, 0.5, 0.99, 0.999])
    got = np.column_stack([of.columns[word] for word in names])
    for i, end in enumerate((of.start - START).tolist()):
        x = np.sort(past.raw(end - 300, end))
        lines = ((time >= end - 300) & (time < end)).sum()
        errors = reference.rank_errors(x, None, got[i], q)
        assert (errors <= quantiles.rank_error(q) + 1 / lines + weight.max() / x.size).all()
    first = ((time >= -240) & (time < 60)).sum()
    for word, fraction in zip(names, q, strict=True):
        assert of.rank_error[word] == pytest.approx(quantiles.rank_error([fraction])[0] + 1 / first)


def test_blocks_of_windows_and_groups_fit_together(monkeypatch):
    rng = np.random.default_rng(5)
    rows = [
        Sample(int(s), float(v), 1.0, int(t))
        for s, v, t in zip(
            rng.integers(0, 4, 400), rng.random(400), rng.integers(0, 700, 400), strict=True
        )
    ]
    past = Past().record(rows)
    for window, step in ((60, 10), (30, 70), (300, 20)):
        whole = ask(past, ["mean", "p90"], window, step, by=("host",))
        for room in (1, 20, 45, 100):
            monkeypatch.setattr(sweep, "AT_ONCE", room)
            parts = ask(past, ["mean", "p90"], window, step, by=("host",))
            assert parts.samples == whole.samples
            for mine, other in zip(parts.buckets, whole.buckets, strict=True):
                assert mine.start.tolist() == other.start.tolist()
                for name, column in mine.columns.items():
                    assert column.tolist() == other.columns[name].tolist()
        monkeypatch.undo()


def test_without_a_range_windows_start_with_the_data_and_hold_what_came_a_moment_ago():
    past = Past(series=1)
    past.record([Sample(0, 1.0, 1.0, 125), Sample(0, 3.0, 1.0, 185)], close=False)
    (of,) = ask(past, ["mean", "rate"], 3600, 60, None, None, now=187).buckets
    assert (of.start - START).tolist() == [180, 240]
    assert of.columns["mean"].tolist() == [1, 2]
    assert of.columns["rate"].tolist() == [1 / 60, 2 / 67]  # from 120 on, and up to now


def test_a_range_far_longer_than_the_data_is_answered():
    past = Past(series=1).record([Sample(0, 2.0, 1.0, 5)])
    past.registry.resolve(Kind.TIMER, "other", (), START)
    past.add([Sample(4, 9.0, 1.0, -86400 * 25)], START - 86400 * 25)
    (of,) = ask(past, ["mean"], 20, 10, -START, 10**9).buckets
    assert (of.start - START).tolist() == [10, 20]


def test_a_name_without_samples_has_no_points():
    past = Past(series=1)
    for start in (0, None):
        found = ask(past, ["mean", "p50"], 60, 60, start)
        assert (found.buckets[0].start.size, found.samples, found.buckets[0].exact) == (0, 0, True)
        assert list(found.buckets[0].columns) == ["count", "mean", "p50"]


@pytest.mark.parametrize(
    ("limit", "room", "window", "code", "said"),
    [
        ("MAX_BUCKETS", 5, 60, "too_many_points", "an answer has up to 5 of"),
        ("MAX_SLOTS", 70, 60, "too_many_points", "step makes 71 points of 76 slots of 10s"),
        ("MAX_WINDOW", 5, 60, "bad_window", "window has 6 slots of 10s, up to 5"),
    ],
)
def test_too_much_is_refused(monkeypatch, limit, room, window, code, said):
    past = Past(series=1).record([Sample(0, 1.0, 1.0, t) for t in range(0, 710, 10)])
    ask(past, ["mean"], window, 10)
    monkeypatch.setattr(question, limit, room)
    with pytest.raises(RequestError, match=said) as refused:
        ask(past, ["mean"], window, 10)
    assert (refused.value.code, refused.value.status) == (code, 422)


@pytest.mark.parametrize(
    ("window", "step", "field"), [(15, 10, "window"), (0.5, 10, "window"), (60, 25, "step")]
)
def test_lengths_are_multiples_of_the_interval(window, step, field):
    past = Past(series=1).record([Sample(0, 1.0, 1.0, 5)])
    with pytest.raises(RequestError, match=f"{field} must be a multiple of .* 10s, got") as refused:
        ask(past, ["mean"], window, step)
    assert (refused.value.code, refused.value.field) == (f"bad_{field}", field)


def test_parts_between_ranks_do_not_move():
    past = Past(series=1).record([Sample(0, 1.0, 1.0, 5)])
    with pytest.raises(RequestError, match="no 'mean_90'; ask aggregate") as refused:
        ask(past, ["mean_90"], 60, 60)
    assert refused.value.status == 422
