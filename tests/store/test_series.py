"""The registry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.errors import ProtocolError
from aggd.store.series import OVERFLOW, Kind, Limits, Registry
from tests.store.frames import registry

names = st.sampled_from(["a", "b", "api.latency", "api.errors"])
tags = st.sampled_from([(), ("env:prod",), ("env:prod", "host:a"), ("bare",)])


@given(st.lists(st.tuples(st.sampled_from(Kind), names, tags), max_size=50), st.integers(1, 12))
def test_one_identity_has_one_number_and_the_limit_holds(identities, limit):
    known, model = Registry(Limits(series=limit)), {}
    for kind, name, carried in identities:
        series = known.resolve(kind, name, carried, 1.0)
        assert model.setdefault((kind, name, carried), series) == series
        known._check()
    assert len(known) <= limit + len(Kind)


def test_one_name_may_be_of_several_kinds():
    known = registry("a", kind=Kind.COUNTER)
    assert known.resolve(Kind.TIMER, "a", (), 0.0) == 1
    assert [s.kind for s in known.find("a")] == [Kind.COUNTER, Kind.TIMER]


def test_new_names_past_the_limit_become_one_series_and_are_counted():
    known = registry("a", "b", limit=2)
    first = known.resolve(Kind.TIMER, "c", (), 0.0)
    assert known.resolve(Kind.TIMER, "d", (), 0.0) == first
    assert known[first].name == OVERFLOW
    assert known.overflowed == 2
    assert known.resolve(Kind.TIMER, "a", (), 0.0) == 0


def test_a_name_over_its_limit_is_refused():
    known = Registry(Limits(name_bytes=8))
    known.resolve(Kind.TIMER, "12345678", (), 0.0)
    with pytest.raises(ProtocolError, match="8 bytes"):
        known.resolve(Kind.TIMER, "\N{SNOWMAN}" * 3, (), 0.0)


def test_tags_over_a_limit_are_dropped_and_counted_and_the_others_kept():
    known = Registry(Limits(tags=2, tag_key_bytes=3, tag_value_bytes=4))
    series = known.resolve(Kind.TIMER, "a", ("key:12345", "long:1", "ok:1", "over:1"), 0.0)
    assert known[series].tags == ()
    assert known.tags_dropped == 4
    assert known[known.resolve(Kind.TIMER, "a", ("k:1234",), 0.0)].tags == ("k:1234",)


def test_names_are_found_by_glob_tags_and_kind():
    known = registry("api.a", "api.b", "web.a")
    tagged = known.resolve(Kind.TIMER, "api.a", ("env:prod", "host:x"), 0.0)
    assert [s.name for s in known.find("api.*")] == ["api.a", "api.a", "api.b"]
    assert [s.id for s in known.find("api.a", ["env:prod"])] == [tagged]
    assert known.find("api.a", ["env:dev"]) == []
    assert known.find("*", kind=Kind.SET) == []
    assert [s.name for s in known.find("?eb.[ab]")] == ["web.a"]
    assert known.knows("web.a")
    assert not known.knows("web")


def test_a_level_set_later_is_not_overwritten_by_an_earlier_one():
    known = registry("g", kind=Kind.GAUGE)
    ids, one = known.find("g")[0].id, [1.0]

    for level, time in ((5.0, 10.0), (7.0, 9.0)):
        known.set_levels(np.array([ids], np.int32), np.array([level]), np.array(one) * time)
    assert known.levels[ids] == 5.0


def test_a_registry_grows_past_its_first_arrays():
    known = registry(*(f"n{i}" for i in range(3000)), limit=5000)
    assert known[2999].name == "n2999"
    assert known.levels.size >= 3000
    known._check()
