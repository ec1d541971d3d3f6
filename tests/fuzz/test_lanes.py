"""Both lanes give the same samples, refusals and warnings for any bytes."""

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.ingest.column import Column
from aggd.ingest.fastlane import FastLane
from aggd.protocol.lines import LARGEST, LineParser
from tests.conformance.lanes import Lanes
from tests.conformance.vectors import taken
from tests.fuzz.mutations import mutated

LANES = Lanes()


def agree(datagram: bytes) -> None:
    parsed = LineParser().parse(datagram)
    bad, warnings = sorted(r for r, _ in parsed.bad), sorted(parsed.warnings)
    assert LANES.parse(datagram) == (taken(parsed), bad, warnings)


@settings(max_examples=2000, deadline=None)
@given(mutated())
def test_they_agree_on_mutations_of_every_vector(datagram):
    agree(datagram)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400))
def test_they_agree_on_random_bytes(datagram):
    agree(datagram)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1432, 65507])
def test_they_agree_on_junk_of_any_size(size):
    rng = random.Random(size)
    agree(rng.randbytes(size))
    agree(b"\0" * size)
    agree(b"n" * size)
    agree(b"a:1|c|#" + b"t" * size)


def numerals(rng: random.Random) -> str:
    """A hard number: random bits, many digits, large exponents, leading zeros."""
    bits = rng.getrandbits
    return [
        lambda: repr(struct.unpack("d", struct.pack("Q", bits(64)))[0]),
        lambda: f"{bits(rng.randint(1, 70))}.{bits(rng.randint(1, 70))}",
        lambda: f"{bits(64)}e{rng.randint(-340, 290)}",
        lambda: f"{'0' * rng.randint(0, 30)}{bits(20)}.{bits(60)}E-{rng.randint(0, 40)}",
        lambda: f"{rng.uniform(-1e6, 1e6):.17g}",
        lambda: f"{bits(53)}e{rng.randint(-22, 22)}",
        lambda: f"{rng.randint(1, 9)}{'0' * rng.randint(0, 200)}.5",
    ][rng.randrange(7)]()


def test_numbers_are_rounded_as_python_rounds_them_to_the_last_bit():
    rng, lane, column = random.Random(5), FastLane(1, 100, 1 << 12), Column()
    texts = [text for _ in range(200_000) if "n" not in (text := numerals(rng))]
    expected = [v for v in map(float, texts) if abs(v) <= LARGEST]
    assert len(expected) > 150_000
    body = b"\n".join(b"n:%s|ms" % t.encode() for t in texts)
    assert lane.feed(body, column) == len(body)
    got = column.value[: len(column)]
    assert got.view(np.uint64).tolist() == np.array(expected).view(np.uint64).tolist()
    assert column.odd_count == len(texts) - len(expected)
