"""Lists of series against the answers about each, put in order one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.query.listing import Listing, matching
from aggd.query.scope import Scope, Window
from aggd.store.series import Kind
from tests.query.past import START, Past, Sample

rows = st.lists(
    st.builds(Sample, st.integers(0, 5), st.integers(-9, 9).map(float), st.just(1.0),
              st.integers(0, 299)),
    min_size=1, max_size=30,
)  # fmt: skip
WORDS = {
    Kind.GAUGE: ["last", "max", "count", "mean"],
    Kind.TIMER: ["p50", "max", "sum", "upper_90"],
    Kind.COUNTER: ["sum", "rate", "p50"],
}


def listed(past: Past, listing: Listing, start: int, by=()):
    scope = Scope(Window(START + start, START + 300), START + 300, by=by)
    return matching(past.registry, past.history, "*", (), scope, listing)


@pytest.mark.parametrize("kind", WORDS)
@settings(max_examples=40)
@given(st.data())
def test_a_list_is_in_the_order_of_what_it_shows_and_what_is_missing_comes_last(kind, data):
    past = Past(kind, series=6)
    for sample in data.draw(rows):
        past.add([sample], START + sample.time // 10 * 10)
    word = data.draw(st.sampled_from(WORDS[kind]))
    sign, by = data.draw(st.sampled_from(["", "-"])), data.draw(st.sampled_from([(), ("host",)]))
    start = data.draw(st.sampled_from([0, 100, 290]))
    found = listed(past, Listing(sign + word), start, by)["series"]
    assert len(found) == 6
    shown = [row.get(word) for row in found]
    known = [value for value in shown if value is not None]
    assert shown[: len(known)] == sorted(known, reverse=bool(sign))
    assert set(shown[len(known) :]) <= {None}


@pytest.mark.parametrize("by", [(), ("host",)])
@pytest.mark.parametrize("sort", ["name", "-name", "max", "-max"])
def test_a_list_is_cut_after_it_is_in_order_and_says_so(sort, by):
    past = Past(series=6).record([Sample(i, float(i * 5 % 7), 1.0, 0) for i in range(6)])
    whole = listed(past, Listing(sort), 0, by)
    assert not whole["truncated"]
    for limit in (1, 5, 6):
        cut = listed(past, Listing(sort, limit), 0, by)
        assert cut["series"] == whole["series"][:limit]
        assert cut["truncated"] is (limit < 6)
