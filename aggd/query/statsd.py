"""Statistics by statsd's names, and trimmed means: what lies between two ranks.

    samples in order    1  2  3  4  5  6  7  8  9 10
    mean_90 ...         [------- k = 9 --------]          upper_90 is the last of them
    mean_top20 ...                            [---]       lower_top20 is the first of them
    trimmed_10             [----------------]

A percentile p is statsd's ``percentThreshold`` [1]_: over 0 it takes the k lowest
samples, under 0 the k highest, with k = |p| / 100 n rounded half up, and is left
out (null) where k is 0.  A single sample is taken by every p.  Names write p as
statsd does: 99.9 is ``99_9``, -10 is ``top10``.

n is the count weighted by 1/rate, so weights count as repeats here as in every
other percentile.  k is whole, or all of a count that isn't.

.. [1] statsd, lib/process_metrics.js.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from aggd.sketch import quantiles
from aggd.sketch.digest import Digests
from aggd.sketch.moments import Moments
from aggd.store.frame import Floats

LOWEST = ("count", "mean", "upper", "sum", "sum_squares")
HIGHEST = ("count", "mean", "lower", "sum", "sum_squares")

_NAME = re.compile(
    r"(count|mean|upper|lower|sum|sum_squares|trimmed)_(top)?([0-9]{1,3}(?:[._][0-9]{1,20})?)",
    re.ASCII,
)


class Ranks(NamedTuple):
    """Which samples: the lowest p percent, the highest where p < 0, or all but both ends."""

    p: float
    trimmed: bool = False

    def cut(self) -> float:
        """Fraction of the ranks at which they are cut; the other cut is as far from the end."""
        return self.p / 100 if self.p > 0 else 1 + self.p / 100

    def between(self, count: Floats) -> tuple[Floats, Floats]:
        """First and last rank of each row; equal where p is too small for so few samples."""
        share = abs(self.p) / 100 * count
        if self.trimmed:
            return share, count - share
        k = np.floor(share)
        k += share - k >= 0.5  # and not floor(share + 0.5), which rounds 0.49999999999999994 up
        k = np.where(count < 1.5, count, np.minimum(k, count))
        return (np.zeros(count.size), k) if self.p > 0 else (count - k, count)


class Part(NamedTuple):
    """What a name means: one statistic of some of the samples."""

    statistic: str
    ranks: Ranks


def part(name: str) -> Part | None:
    """Read ``upper_90``, ``sum_squares_top10``, ``mean_99_9`` or ``trimmed_5``; else None."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    statistic, top, text = found[1], found[2], found[3]
    p = float(text.replace("_", "."))
    if statistic == "trimmed":
        return Part("mean", Ranks(p, trimmed=True)) if 0 < p < 50 and not top else None
    known = HIGHEST if top else LOWEST
    return Part(statistic, Ranks(-p if top else p)) if 0 < p <= 100 and statistic in known else None


def parts(names: Iterable[str]) -> list[str]:
    """Those of `names` that `part` reads."""
    return [name for name in names if part(name) is not None]


def family(p: float) -> list[str]:
    """Names of all statistics of one percentile, as statsd writes them."""
    text = np.format_float_positional(abs(p), trim="-").replace(".", "_")
    if p < 0:
        return [f"{word}_top{text}" for word in HIGHEST]
    return [f"{word}_{text}" for word in LOWEST]


def columns(moments: Moments, digests: Digests, names: Sequence[str]) -> dict[str, Floats]:
    """Statistics of n rows, each by name, NaN where p takes no sample.

    Parameters
    ----------
    moments : Moments
        Of n rows, none of them empty.
    digests : Digests
        Of the same samples; of every sample where the answer has to be exact.
    names : sequence of str
        That `part` reads.
    """
    found: dict[Ranks, dict[str, Floats]] = {}
    out = {}
    for name in names:
        read = part(name)
        assert read is not None
        if read.ranks not in found:
            found[read.ranks] = _statistics(moments, digests, read.ranks)
        out[name] = found[read.ranks][read.statistic]
    return out


def _statistics(moments: Moments, digests: Digests, ranks: Ranks) -> dict[str, Floats]:
    _, _, _, low, high = moments
    start, end = ranks.between(moments.count)
    count = end - start
    total, squares = quantiles.sums(digests, low, high, start, end)
    edge = quantiles.sample(digests, low, high, end - 1 if ranks.p > 0 else start)
    bounds = (low, edge) if ranks.p > 0 else (edge, high)  # which rounding must not pass
    if ranks.trimmed:
        bounds = low, high
    with np.errstate(invalid="ignore"):
        mean = np.where(np.isfinite(total), np.clip(total / count, *bounds), np.nan)
    found = {"count": count, "sum": total, "sum_squares": squares, "mean": mean}
    found |= {"upper": edge, "lower": edge}
    return {word: np.where(count > 0, values, np.nan) for word, values in found.items()}


def rank_error(names: Sequence[str]) -> Floats:
    """Bound the error of the ranks between which each of `names` takes the samples.

    As `quantiles.rank_error` has it: the sum, say, is that of samples up to a rank that
    may be off by this share of all of them.  A count has no error.
    """
    read = [found for name in names if (found := part(name)) is not None]
    errors = quantiles.rank_error([found.ranks.cut() for found in read])
    return np.where([found.statistic == "count" for found in read], 0.0, errors)
