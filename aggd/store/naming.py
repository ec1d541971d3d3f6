"""From the keys of a lane to series: once for every spelling.

    row of the lane      0               1               2
    spelling             c api.x #a,b    c api.x #b,a    g temp
    series               17              17              REFUSED, or UNNAMED once forgotten

Several spellings may be one series, and a series may be forgotten while its spelling
stays in the lane: then it is named anew when it comes again.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.errors import ProtocolError
from aggd.ingest.column import Column
from aggd.protocol.lines import Refusal
from aggd.protocol.names import identity
from aggd.store.fold import Samples
from aggd.store.frame import Ids, Index
from aggd.store.index import within
from aggd.store.series import KINDS, OVERFLOW, Registry

GaugeSign = Literal["delta", "absolute", "auto"]
Spellings = Callable[[int, int], list[bytes]]

REFUSED = -1  # series of a row that was refused
UNNAMED = -2  # series of a row to be named anew, as it was forgotten


class Policy(NamedTuple):
    """What the protocol leaves to the configuration."""

    gauge_sign: GaugeSign = "delta"
    monotonic: bool = False  # type C carries totals, not increments
    future: float = 60.0  # seconds a timestamp may be ahead
    sanitize_names: bool = True
    netdata_defaults: bool = False


class Named(NamedTuple):
    """Samples of a column with their series; `places[i]` of them come before row i."""

    samples: Samples
    places: Index
    refused: list[Refusal]  # one for each row that is not among them


class Naming:
    """What the keys of one lane are called.

    Parameters
    ----------
    spellings : callable
        ``(first, last) -> list of bytes``: the keys that the lane has numbered.
    refuse : callable
        Takes the time and the refusal of each new spelling that has no series.
    """

    def __init__(
        self,
        registry: Registry,
        spellings: Spellings,
        refuse: Callable[[float, Refusal], object],
    ) -> None:
        self._registry = registry
        self._spellings = spellings
        self._refuse = refuse
        self._series: Ids = np.empty(0, np.int32)
        self._tagged: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._refused: dict[int, Refusal] = {}
        self._unnamed = False  # whether some row is UNNAMED

    def samples(self, column: Column, policy: Policy) -> Named:
        """Give the rows of a column their series; refused ones are left out."""
        used = len(column)
        row, value, weight = column.row[:used], column.value[:used], column.weight[:used]
        places = np.arange(used + 1)
        if not used:
            return Named(Samples(row, value, weight, column.start), places, [])
        self._enter(column.keys, column.start, policy)
        if self._unnamed:
            self._rename(row, column.start, policy)
        series = self._series[row]
        if policy.gauge_sign != "delta":
            absolute = self._tagged[row] if policy.gauge_sign == "auto" else True
            weight = np.where((weight == 0) & absolute, 1.0, weight)
        refused: list[Refusal] = []
        if self._refused:
            kept = series != REFUSED
            refused = [self._refused[r] for r in row[~kept].tolist()]
            series, value, weight = series[kept], value[kept], weight[kept]
            places = np.append(0, np.cumsum(kept))
        return Named(Samples(series, value, weight, column.start), places, refused)

    def _enter(self, last: int, now: float, policy: Policy) -> None:
        """Name the spellings that are new."""
        first = self._series.size
        if last <= first:
            return
        spellings = self._spellings(first, last)
        series = [self._name(i, of, now, policy) for i, of in enumerate(spellings, first)]
        self._series = np.append(self._series, np.array(series, np.int32))
        self._tagged = np.append(
            self._tagged, np.array([b"\n" in of for of in spellings], np.bool_)
        )

    def _name(self, row: int, spelling: bytes, now: float, policy: Policy) -> int:
        """The series of a spelling, which is kind letter, name, LF and tags if any."""
        head, _, tags = spelling[1:].partition(b"\n")
        tagged = len(spelling) > 1 + len(head)
        try:
            kind = KINDS["ms" if spelling[:1] == b"m" else chr(spelling[0])]
            name = identity(head, tags if tagged else None, policy.sanitize_names)
            return self._registry.resolve(kind, name.name, name.tags, now)
        except ProtocolError as error:
            self._refused[row] = Refusal(error.reason, spelling[1:])
            self._refuse(now, self._refused[row])
            return REFUSED

    def _rename(self, rows: NDArray[np.int32], now: float, policy: Policy) -> None:
        """Give a series to those rows whose own was forgotten."""
        unnamed = np.unique(rows[self._series[rows] == UNNAMED])
        for row in unnamed.tolist():
            (spelling,) = self._spellings(row, row + 1)
            self._series[row] = self._name(row, spelling, now, policy)
        if unnamed.size:
            self._unnamed = bool((self._series == UNNAMED).any())

    def forget(self) -> None:
        """Note that the registry has forgotten some series."""
        known, overflow = self._registry.name_of, self._registry.index.of(OVERFLOW)
        # Those that were one too many may have room now; what was refused stays so.
        stale = (known[self._series] < 0) | within(self._series, overflow)
        stale &= self._series >= 0
        self._series[stale] = UNNAMED
        self._unnamed |= bool(stale.any())
