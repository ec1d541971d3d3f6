"""What a compiled lane put into a column, as Python values."""

from typing import NamedTuple

from aggd.ingest.column import Column
from aggd.ingest.fastlane import FastLane


class Row(NamedTuple):
    """A row with the spelling of its key."""

    spelling: bytes
    value: float
    weight: float


def rows(lane: FastLane, column: Column) -> list[Row]:
    """All rows of a column that this lane filled."""
    used = len(column)
    columns = (part[:used].tolist() for part in (column.row, column.value, column.weight))
    return [Row(lane.key(row), *numbers) for row, *numbers in zip(*columns, strict=True)]


def aside(column: Column) -> list[tuple[int, bytes]]:
    """Lines that were set aside, and the rows before each."""
    return [(at, line) for at, line, _ in column.odd_lines()]


def fed(lane: FastLane, column: Column, data: bytes) -> tuple[list[Row], list[bytes]]:
    """Feed all of it, column after column: all rows, all lines set aside."""
    found: list[Row] = []
    lines: list[bytes] = []
    done = 0
    while True:
        column.reset()
        done = lane.feed(data, column, done)
        lane._check()
        found += rows(lane, column)
        lines += [line for _, line in aside(column)]
        if done == len(data):
            return found, lines
