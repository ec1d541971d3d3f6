"""A StatsD-compatible daemon that answers any percentile over any window."""

__version__ = "0.1.0"
