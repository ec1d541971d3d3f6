"""Slow and obvious twins of the kernels, and samples that are hard on them.

Nothing here shares code with aggd: sums are `math.fsum` or fractions, rows are
Python lists, and each rule is written the way its definition reads.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

Point = tuple[float, float, bool]  # mean, weight, atom


def tail(u: float) -> float:
    """Integral of (u + 1e-6)^-0.9: what the ends add to the number of bins."""
    return 10 * ((u + 1e-6) ** 0.1 - 1e-6**0.1)


TAIL_SHARE = (64 - 0.5 / 0.03) / tail(0.5)  # makes 128 bins in all


def moments(values: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """Count, mean, M2, low and high, in fractions."""
    if not values:
        return 0.0, math.nan, 0.0, math.nan, math.nan
    x = [Fraction(value) for value in values]
    w = [Fraction(weight) for weight in weights]
    count = sum(w)
    mean = sum(a * b for a, b in zip(x, w, strict=True)) / count
    m2 = sum(b * (a - mean) ** 2 for a, b in zip(x, w, strict=True))
    return float(count), float(mean), float_or_inf(m2), min(values), max(values)


def float_or_inf(number: Fraction) -> float:
    """The nearest float64, or infinity past the largest."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def quantile(values: Sequence[float], weights: Sequence[int], q: Sequence[float]) -> np.ndarray:
    """numpy's answer on every sample as often as it weighs."""
    return np.percentile(np.repeat(values, weights), np.asarray(q) * 100.0)


def cdf(values: Sequence[float], weights: Sequence[float], x: float) -> float:
    """Share of the weight that is at most `x`."""
    return math.fsum(w for v, w in zip(values, weights, strict=True) if v <= x) / math.fsum(weights)


def arrange(points: Iterable[Point]) -> list[Point]:
    """Sort one row; equal atoms that stand together become one."""
    settled: list[Point] = []
    for mean, weight, atom in sorted(points, key=lambda point: point[0]):
        if settled and atom and settled[-1][0] == mean and settled[-1][2]:
            settled[-1] = (mean, settled[-1][1] + weight, True)
        else:
            settled.append((mean, weight, atom))
    return settled


def scale_bin(q: float, size: int) -> int:
    """Bin of a rank, by the truncated float32 that stands in for it."""
    bits = int(np.float32(min(q, 1 - q)).view(np.int32)) & ~0xFFFF
    u = min(float(np.int32(bits | 0x8000).view(np.float32)), 0.5)
    low = min(math.floor((u / 0.03 + TAIL_SHARE * tail(u)) * size / 128), size // 2 - 1)
    return size - 1 - low if q > 0.5 else low


def compress(points: Sequence[Point], size: int) -> list[Point]:
    """Leave one arranged row with at most `size` centroids."""
    if len(points) <= size:
        return list(points)
    total, below = sum(weight for _, weight, _ in points), 0.0
    bins: defaultdict[int, list[Point]] = defaultdict(list)
    for point in points:
        bins[scale_bin((below + point[1] / 2) / total, size)].append(point)
        below += point[1]
    return [centroid(bins[k]) for k in sorted(bins)]


def centroid(points: Sequence[Point]) -> Point:
    """One of many."""
    total = math.fsum(weight for _, weight, _ in points)
    mean = math.fsum(mean * (weight / total) for mean, weight, _ in points)
    low, high = points[0][0], points[-1][0]
    return min(max(mean, low), high), total, low == high and all(atom for _, _, atom in points)


def distinct(members: Iterable[int], limit: int) -> list[int]:
    """The smallest members, each once."""
    return sorted(set(members))[:limit]


def rank_errors(
    ordered: np.ndarray, weight: np.ndarray | None, answers: np.ndarray, q: np.ndarray
) -> np.ndarray:
    """Share of samples between each answer and the sample it should be; ties span their ranks."""
    below = np.arange(ordered.size + 1.0) if weight is None else np.append(0, np.cumsum(weight))
    first = below[np.searchsorted(ordered, answers, "left")] / below[-1]
    last = below[np.searchsorted(ordered, answers, "right")] / below[-1]
    return np.maximum(np.maximum(first - q, q - last), 0.0)


def hard_samples(name: str, n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples of a named distribution in order of arrival, and their weights."""
    rng = np.random.default_rng(seed)
    if name == "weighted":
        return rng.exponential(size=n), rng.choice([1.0, 2.0, 10.0, 1 / 0.3], n)
    return HARD[name](rng, n), None


HARD = {
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "lognormal": lambda rng, n: rng.lognormal(3, 1, n),
    "pareto": lambda rng, n: (1 - rng.random(n)) ** (-1 / 1.2),
    "bimodal": lambda rng, n: np.where(
        rng.random(n) < 0.7, rng.normal(10, 1, n), rng.normal(100, 5, n)
    ),
    "sorted": lambda rng, n: np.sort(rng.exponential(size=n)),
    "reversed": lambda rng, n: np.sort(rng.exponential(size=n))[::-1].copy(),
    "normal": lambda rng, n: rng.normal(size=n),
    "weighted": None,
    "offset": lambda rng, n: 1e9 + rng.normal(size=n),
    "integers": lambda rng, n: np.floor(rng.lognormal(4, 1, n)),
    "decades": lambda rng, n: 10.0 ** rng.uniform(-150, 150, n),
    "gaps": lambda rng, n: rng.choice([0.0, 1.0, 1e3, 1e6], n) + rng.random(n) * 1e-3,
    "constant": lambda rng, n: np.full(n, 7.25),
}
