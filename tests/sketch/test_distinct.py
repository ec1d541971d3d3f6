"""How many different members a set saw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import distinct
from aggd.sketch.distinct import Members
from tests import reference

ROWS = 4
hashes = st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1))
offers = st.lists(st.tuples(st.integers(0, ROWS - 1), hashes), max_size=40)
LIMIT = 6


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(distinct, "K", LIMIT)


def build(offers):
    row, member = zip(*offers, strict=True) if offers else ((), ())
    members = distinct.build(np.array(row, np.int32), np.array(member, np.uint64), ROWS)
    members._check()
    return members


def rows(members: Members):
    edges = zip(members.offset[:-1], members.offset[1:], strict=True)
    return [members.member[a:b].tolist() for a, b in edges]


def merge(*parts):
    merged = distinct.merge([(np.arange(ROWS, dtype=np.int32), part) for part in parts], ROWS)
    merged._check()
    return merged


def smallest(offers):
    return [
        reference.distinct((h for row, h in offers if row == i), distinct.K) for i in range(ROWS)
    ]


@given(offers)
def test_a_set_keeps_its_smallest_members_once(offers):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "K", LIMIT)
        assert rows(build(offers)) == smallest(offers)


@given(offers, offers, offers)
def test_union_is_associative_commutative_and_idempotent_exactly(a, b, c):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "K", LIMIT)
        x, y, z = build(a), build(b), build(c)
        want = smallest(a + b + c)
        assert rows(merge(x, y, z)) == want
        assert rows(merge(merge(x, y), z)) == want
        assert rows(merge(x, merge(z, y))) == want
        assert rows(merge(z, y, x, x, z)) == want
        assert rows(merge(x, x)) == rows(x)


def test_sets_of_one_label_are_united_and_absent_labels_are_empty():
    part = build([(0, 5), (1, 5), (1, 7), (3, 9)])
    merged = distinct.merge([(np.array([1, 1, 1, 2], np.int32), part)], 4)
    assert rows(merged) == [[], [5, 7], [9], []]
    assert len(distinct.merge([], 3)) == 3


def test_selecting_picks_sets_in_any_order():
    part = build([(0, 5), (1, 5), (1, 7)])
    assert rows(distinct.select(part, np.array([1, 2, 1, 0]))) == [[5, 7], [], [5, 7], [5]]


@pytest.mark.parametrize("n", [0, 1, 100, 2047])
def test_fewer_members_than_k_are_counted_exactly(n):
    member = [distinct.hash_member(b"user%d" % i) for i in range(n)] * 3
    members = distinct.build(np.zeros(3 * n, np.int32), np.array(member, np.uint64), 1)
    assert distinct.estimate(members)[0] == n


def uniform(rng, n):
    return rng.integers(0, 2**64 - 1, n, np.uint64, endpoint=True)


@pytest.mark.parametrize("n", [2048, 3000, 10_000, 50_000])
def test_more_members_are_right_to_the_standard_error(n):
    rng = np.random.default_rng(n)
    wrong = []
    for _ in range(100):
        members = distinct.build(np.zeros(n, np.int32), uniform(rng, n), 1)
        wrong.append(distinct.estimate(members)[0] / n - 1)
    most = 1 / np.sqrt(distinct.K - 2)
    assert abs(np.mean(wrong)) < 4 * most / 10  # no bias: 4 standard errors of a mean of 100
    assert np.std(wrong) < 1.35 * most  # 5 standard errors of a deviation of 100
    assert np.abs(wrong).max() < 5 * most
    if n >= 50_000:
        assert np.std(wrong) > 0.7 * most


def test_real_members_are_spread_as_evenly_as_the_estimate_needs():
    member = np.array([distinct.hash_member(b"10.0.%d" % i) for i in range(50_000)], np.uint64)
    members = distinct.build(np.zeros(member.size, np.int32), member, 1)
    assert distinct.estimate(members)[0] == pytest.approx(50_000, rel=0.08)


def test_the_hash_is_the_same_on_every_host():
    assert distinct.hash_member(b"") == 0xB4B2797457A0A6E4
    assert distinct.hash_member(b"alice") != distinct.hash_member(b"bob")


def test_many_sets_are_kept_apart():
    rng = np.random.default_rng(7)
    row = rng.integers(0, 50, 60_000).astype(np.int32)
    member = uniform(rng, 60_000) >> np.uint64(48)
    got = distinct.estimate(distinct.build(row, member, 50))
    assert got.tolist() == [np.unique(member[row == i]).size for i in range(50)]
