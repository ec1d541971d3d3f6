"""How many centroids stand where: the scale function of the digest.

    rank q      0                        .5                        1
    bins        |||| | |  |   |    |     |     |    |   |  | | ||||
                thin at the ends, where p99.9 is read, wide in the middle

The bin of a point is a function of its mid-rank q alone, so it needs no pass
from left to right and there are never more centroids than bins.  With u =
min(q, 1 - q) the density of bins lies between Dunning's k1 (good in the middle,
p99.99 of heavy tails off by 130 to 630 %) and k2 and k3 (good at the ends, p50
off by 0.2 to 0.5 % of rank) [1]_:

    dk/dq = 1 / EVEN + 1 / (c (u + EDGE)^POWER),    c = 0.144 for K bins in all

Other sizes scale it, so that every bin of K holds two whole bins of 2 K.

.. [1] T. Dunning, O. Ertl, Computing extremely accurate quantiles using
   t-digests, arXiv:1902.04023, 2019.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from aggd.sketch.ragged import Floats

K = 128  # centroids of a digest at most: 0.05 % of rank at p99 for 100,000 samples
EVEN = 0.03
POWER = 0.9
EDGE = 1e-6

HALF = 0x3F00  # top 16 bits of float32(0.5)


def _tail(u: Floats) -> Floats:
    """Integral of (u + EDGE)^-POWER from 0."""
    area: Floats = ((u + EDGE) ** (1 - POWER) - EDGE ** (1 - POWER)) / (1 - POWER)
    return area


C = float(_tail(np.array(0.5))) / (K / 2 - 0.5 / EVEN)


def width(q: Floats) -> Floats:
    """Measure the bin that holds a rank, at `K` bins.

    Parameters
    ----------
    q : ndarray of float64, shape (k,)
        Ranks in [0, 1].

    Returns
    -------
    ndarray of float64, shape (k,)
        Share of all samples that its bin spans.
    """
    u = np.minimum(q, 1 - q)
    return 1 / (1 / EVEN + 1 / (C * (u + EDGE) ** POWER))


@cache
def table(size: int) -> NDArray[np.int16]:
    """Tabulate the bins of the lower half by the top 16 bits of float32(u).

    Nine bits of exponent and seven of mantissa place an edge within 0.8 %, and a
    lookup costs no logarithm.

    Parameters
    ----------
    size : int
        Bins in all, at least 2.

    Returns
    -------
    ndarray of int16, shape (HALF + 1,)
        The bin of each u; read only.
    """
    top = np.arange(HALF + 1, dtype=np.int32)
    middle = ((top << 16) + 0x8000).view(np.float32).astype(np.float64)
    u = np.minimum(middle, 0.5)
    below = (u / EVEN + _tail(u) / C) * (size / K)
    bins = np.minimum(np.floor(below), size // 2 - 1).astype(np.int16)
    bins[-1] = size // 2 - 1
    bins.flags.writeable = False
    return bins


def bins(q: Floats, size: int) -> NDArray[np.int16]:
    """Find the bin of each rank.

    Parameters
    ----------
    q : ndarray of float64, shape (n,)
        Mid-ranks in [0, 1].
    size : int
        Bins in all.

    Returns
    -------
    ndarray of int16, shape (n,)
        Bins in [0, size), ascending with `q`.
    """
    u = np.minimum(q, 1 - q).astype(np.float32)
    low = table(size)[u.view(np.int32) >> 16]
    found: NDArray[np.int16] = np.where(q > 0.5, np.int16(size - 1) - low, low)
    return found
