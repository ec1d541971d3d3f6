"""What of a changed configuration takes effect in a running daemon."""

from typing import Any, NamedTuple

import msgspec

from aggd.config import Config

# Everything else is built into sockets, threads, rings or files at the start.
LIVE = frozenset(
    {
        "listen.pause",
        "http.max_body",
        "limits.series",
        "limits.name_bytes",
        "limits.tags",
        "limits.tag_key_bytes",
        "limits.tag_value_bytes",
        "limits.samples_memory",
        "limits.frames_memory",
        "limits.future",
        "protocol.gauge_sign",
        "protocol.type_C",
        "protocol.sanitize_names",
        "protocol.netdata_defaults",
        "timers.percentiles",
        "storage.checkpoint",
        "storage.max_bytes",
        "storage.cache",
        "log.level",
    }
)


class Reloaded(NamedTuple):
    """The configuration in force, and which keys changed it or would after a restart."""

    config: Config
    changed: list[str]
    needs_restart: list[str]


def reloaded(old: Config, new: Config) -> Reloaded:
    """Take from `new` what can change while the daemon runs."""
    before, after = _flat(old), _flat(new)
    differ = [key for key, value in after.items() if before[key] != value]
    changed = [key for key in differ if key in LIVE]
    sections: dict[str, dict[str, Any]] = {}
    for key in changed:
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = after[key]
    config = msgspec.structs.replace(
        old,
        **{
            section: msgspec.structs.replace(getattr(old, section), **values)
            for section, values in sections.items()
        },
    )
    return Reloaded(config, changed, [key for key in differ if key not in LIVE])


def _flat(config: Config) -> dict[str, Any]:
    """Every option by its dotted key."""
    return {
        f"{section}.{name}": value
        for section in config.__struct_fields__
        for name, value in msgspec.structs.asdict(getattr(config, section)).items()
    }
