"""Pages of series and values of tags."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import RequestError
from aggd.query import catalogue
from aggd.query.catalogue import page, values
from aggd.query.selection import tag_map
from aggd.store import index
from aggd.store.series import Kind, Limits, Registry

tags = st.sets(st.sampled_from(["a:1", "a:2", "b:1", "a", "a:", "ab:3", "a:x:y"])).map(
    lambda found: tuple(sorted(found))
)
identities = st.lists(
    st.tuples(st.sampled_from([Kind.TIMER, Kind.SET]),
              st.text("xy.", min_size=1, max_size=3), tags),
    max_size=30, unique=True,
)  # fmt: skip


def registry(every) -> Registry:
    known = Registry(Limits())
    for i, identity in enumerate(every):
        known.resolve(*identity, float(i))
    return known


@settings(max_examples=150, deadline=None)
@given(
    identities,
    st.integers(1, 7),
    st.sampled_from(["*", "x*", "*y", "x"]),
    st.sampled_from([(), ("a:1",), ("a:1", "b:1")]),
    st.sampled_from([None, Kind.SET]),
)
def test_pages_hold_every_series_once_in_order_of_names(every, limit, match, carried, kind):
    known, seen, cursor = registry(every), [], None
    expected = known.find(match, carried, kind)
    while True:
        found = page(known, match, carried, kind, limit, cursor)
        assert len(found["series"]) <= limit
        seen += [(of["name"], of["kind"], of["tags"]) for of in found["series"]]
        cursor = found["cursor"]
        if cursor is None:
            break
        assert len(found["series"]) == limit
    assert seen == [(s.name, s.kind.word, tag_map(s.tags)) for s in expected]


def test_pages_go_on_where_series_come_and_go():
    known = registry([(Kind.TIMER, name, ()) for name in "abcd"])
    cursor = page(known, "*", (), None, 2, None)["cursor"]
    known.forget(known.select("b"))
    known.resolve(Kind.TIMER, "aa", (), 0.0)
    known.resolve(Kind.TIMER, "bb", (), 0.0)
    found = page(known, "*", (), None, 9, cursor)
    assert [of["name"] for of in found["series"]] == ["bb", "c", "d"]


@settings(max_examples=150, deadline=None)
@given(identities, st.sampled_from(["a", "ab", "b"]), st.sampled_from(["*", "x*", "??"]))
def test_values_of_a_tag_and_the_series_that_have_them(every, key, match):
    known = registry(every)
    parts = (tag.partition(":") for s in known.find(match) for tag in s.tags)
    expected = Counter(value for found, _, value in parts if found == key)
    if not expected:
        with pytest.raises(RequestError, match=f"has a tag '{key}'") as caught:
            values(known, key, match, 100)
        assert (caught.value.status, caught.value.code) == (404, "unknown_tag")
        return
    found = values(known, key, match, 100)
    assert [(of["value"], of["series"]) for of in found["values"]] == sorted(expected.items())
    assert (found["key"], found["truncated"]) == (key, False)
    cut = values(known, key, match, 1)
    assert cut["values"] == found["values"][:1]
    assert cut["truncated"] == (len(expected) > 1)


def test_a_key_is_what_stands_before_the_first_colon():
    known = registry([(Kind.TIMER, "t", ("d:x:y",))])
    assert values(known, "d", "*", 9)["values"] == [{"value": "x:y", "series": 1}]
    with pytest.raises(RequestError):
        values(known, "d:x", "*", 9)


def test_values_of_many_series_are_counted_piece_by_piece(monkeypatch):
    monkeypatch.setattr(catalogue, "AT_ONCE", 3)
    monkeypatch.setattr(index, "LEAF", 4)
    known = registry([(Kind.TIMER, f"t{i}", (f"a:{i % 2}",)) for i in range(10)])
    assert values(known, "a", "t*", 9) == values(known, "a", "*", 9)
    assert values(known, "a", "t*", 9)["values"][0] == {"value": "0", "series": 5}
