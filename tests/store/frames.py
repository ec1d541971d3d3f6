"""Frames for tests: samples in, a frame out."""

from collections.abc import Sequence

import numpy as np

from aggd.store.fold import Samples, fold
from aggd.store.frame import Frame
from aggd.store.series import Kind, Limits, Registry

KINDS = np.array([Kind.COUNTER, Kind.GAUGE, Kind.TIMER, Kind.SET] * 8, np.uint8)
NO_LEVELS = np.zeros(KINDS.size)


def samples(rows: Sequence[tuple[int, float, float]], time: float = 0.0) -> Samples:
    """Columns of ``(series, value, weight)``."""
    series, value, weight = zip(*rows, strict=True) if rows else ((), (), ())
    return Samples(
        np.array(series, np.int32), np.array(value, float), np.array(weight, float), time
    )


def frame(rows: Sequence[tuple[int, float, float]], start: int = 0, width: int = 10) -> Frame:
    """A frame of ``(series, value, weight)``; series % 4 is the kind."""
    return fold(samples(rows, float(start)), KINDS, NO_LEVELS, start, width).frame


def counted(start: int, value: float = 1.0, series: int = 0, width: int = 10) -> Frame:
    """A frame of one counter."""
    return frame([(series, value, 1.0)], start, width)


def registry(*names: str, kind: Kind = Kind.TIMER, limit: int = 1000) -> Registry:
    """A registry that knows some series of one kind."""
    known = Registry(Limits(series=limit))
    for name in names:
        known.resolve(kind, name, (), 0.0)
    return known
