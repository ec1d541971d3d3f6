"""A datagram through the compiled lane, its set-aside lines through the slow one."""

from typing import Any

from aggd.ingest.column import Column
from aggd.ingest.fastlane import FastLane
from aggd.protocol.lines import LineParser, Parsed
from aggd.protocol.names import identity
from tests.conformance.vectors import Taken, taken

LETTERS = {"m": "ms"}
KEYS = 50_000


class Lanes:
    """Both lanes as the daemon joins them."""

    def __init__(self, seed: int = 1) -> None:
        self.lane = FastLane(seed, KEYS, 1 << 24)
        self.parser = LineParser()
        self.column = Column(rows=1 << 12, odd_bytes=1 << 17)

    def parse(self, datagram: bytes) -> tuple[list[Any], list[str], list[str]]:
        """Values, refusals and warnings, in order."""
        if self.lane.keys > KEYS // 2:
            self.lane = FastLane(self.lane.keys, KEYS, 1 << 24)
        found: list[Any] = []
        parsed = Parsed()
        done = 0
        while True:
            self.column.reset()
            done = self.lane.feed(datagram, self.column, done)
            rows, last = self._rows(), 0
            for at, line, _ in self.column.odd_lines():
                found += rows[last:at]
                last = at
                parsed.records.clear()
                self.parser.line(line, parsed)
                found += taken(parsed)
            found += rows[last:]
            if done == len(datagram):
                return found, sorted(r for r, _ in parsed.bad), sorted(parsed.warnings)

    def _rows(self) -> list[Taken]:
        used = len(self.column)
        columns = self.column.row, self.column.value, self.column.weight
        spellings = self.lane.spellings(0, self.lane.keys)
        return [
            named(spellings[row], value, weight)
            for row, value, weight in zip(*(c[:used].tolist() for c in columns), strict=True)
        ]


def named(spelling: bytes, value: float, weight: float) -> Taken:
    """A row with the series its spelling means, of which naming may not complain."""
    letter = chr(spelling[0])
    head, _, tags = spelling[1:].partition(b"\n")
    found = identity(head, tags if len(spelling) > 1 + len(head) else None)
    assert found.warnings == ()
    return Taken(found.name, found.tags, LETTERS.get(letter, letter), value, weight, None)
