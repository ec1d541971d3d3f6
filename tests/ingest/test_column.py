"""A column keeps samples, and lines with their place among them."""

import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.ingest.column import (
    ODD_LINES,
    SENDER_BYTES,
    USED,
    Column,
    sender_text,
)

SENDER = struct.pack("=H", socket.AF_INET) + struct.pack("!H", 53) + bytes([192, 0, 2, 1])
lines = st.lists(
    st.tuples(st.binary(max_size=30), st.binary(max_size=SENDER_BYTES), st.integers(0, 3)),
    max_size=20,
)


def fill(column: Column, given_lines) -> list[tuple[int, bytes, bytes]]:
    """Set lines aside, some rows before each; what should come back."""
    expected = []
    for line, sender, rows in given_lines:
        column.state[USED] += rows
        if column.set_aside(line, sender):
            expected.append((len(column), line, sender.ljust(SENDER_BYTES, b"\0")))
    return expected


@settings(deadline=None)
@given(lines, lines)
def test_lines_come_back_with_their_place_and_sender_also_after_a_reset(first, second):
    column = Column(100, 200)
    for given_lines in (first, second):
        column.reset()
        assert list(column.odd_lines()) == []
        expected = fill(column, given_lines)
        assert list(column.odd_lines()) == expected
        assert column.odd_count == column.datagrams == len(expected)
        assert column.bytes == sum(len(line) for _, line, _ in expected) <= 200


@settings(deadline=None)
@given(lines)
def test_only_a_line_that_does_not_fit_is_refused(given_lines):
    column, used = Column(100, 50), 0
    for line, sender, _ in given_lines:
        taken = column.set_aside(line, sender)
        assert taken == (used + len(line) <= 50)
        used += len(line) if taken else 0


def test_a_line_may_fill_all_the_room_and_no_more():
    column = Column(1, 8)
    assert not column.set_aside(b"123456789", SENDER)
    assert column.set_aside(b"12345678", SENDER)
    assert not column.set_aside(b"1", SENDER)
    assert column.set_aside(b"", SENDER)
    assert [line for _, line, _ in column.odd_lines()] == [b"12345678", b""]


def test_lines_are_limited_in_number():
    column = Column(1)
    assert all(column.set_aside(b"x", SENDER) for _ in range(ODD_LINES))
    assert not column.set_aside(b"x", SENDER)
    assert column.odd_count == ODD_LINES
    column.reset()
    assert column.set_aside(b"x", SENDER)


def test_a_reset_makes_all_counts_zero():
    column = Column(10)
    column.state[:] = range(1, 9)
    figures = (len(column), column.odd_count, column.lines, column.datagrams, column.bytes)
    assert figures == (1, 2, 4, 5, 6)
    assert (column.keys, column.too_long) == (7, 8)
    column.reset()
    assert not column.state.any()


@pytest.mark.parametrize(
    ("family", "host", "expected"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "[::1]"),
    ],
)
def test_a_sender_reads_as_its_socket_says(family, host, expected):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        port = sock.getsockname()[1]
    raw = struct.pack("=H", family) + struct.pack("!H", port)
    raw += b"" if family == socket.AF_INET else bytes(4)  # of the flow
    raw += socket.inet_pton(family, host)
    assert sender_text(raw.ljust(SENDER_BYTES, b"\0")) == f"{expected}:{port}"


def test_senders_without_an_address_have_a_word_or_nothing():
    assert sender_text(struct.pack("=H", socket.AF_UNIX).ljust(SENDER_BYTES, b"\0")) == "unix"
    assert sender_text(bytes(SENDER_BYTES)) == ""
    assert sender_text(b"") == ""
