"""What is kept, for how long and how much of it: a configuration in the terms of the store."""

from aggd.config import Config
from aggd.store.rollup import Tier
from aggd.store.series import Limits
from aggd.units import DAY, HOUR, MINUTE


def limits(config: Config) -> Limits:
    """What a series may be called, and how many there may be."""
    chosen = config.limits
    return Limits(
        chosen.series,
        chosen.name_bytes,
        chosen.tags,
        chosen.tag_key_bytes,
        chosen.tag_value_bytes,
    )


def tiers(config: Config) -> list[Tier]:
    """Resolutions and how long each is kept, finest first."""
    kept = config.retention
    coarse = [
        Tier("minute", MINUTE, kept.minute),
        Tier("hour", HOUR, kept.hour),
        Tier("day", DAY, kept.day),
    ]
    width = config.flush.interval
    return coarse if width == MINUTE else [Tier("interval", width, kept.interval), *coarse]
