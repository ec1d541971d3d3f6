"""Names and tags: five dialects to one identity.

    na[k=v,k2=v2]me          SignalFX
    name#k=v,k2=v2           Librato
    name,k=v,k2=v2           Influx
    name;k=v;k2=v2           Graphite 1.1
    name ... |#k:v,bare      DogStatsD, a field of the line

All of them become a clean name and tags ``k:v`` or ``bare``, sorted and unique,
so that a series doesn't depend on the order its sender's hash map happened to have.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from aggd.errors import ProtocolError

BLANKS = b" \t"
NAME_DIALECTS = re.compile(rb"[#,;]")
BRACKETS = re.compile(rb"[][]")
CLEAN = re.compile(rb"[A-Za-z0-9_.=-]+")
# JavaScript's \s, which statsd cleans by; Python's takes 0x1c to 0x1f and 0x85 for blanks too.
SPACES = re.compile("[\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+")
DIRT = re.compile("[\0-,:-<>-@[-^`{-\x7f/]")
CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\ufffd]")
REPLACEMENT = "\ufffd"


class Identity(NamedTuple):
    """What a line's head and tag sections call a series, and what was amiss."""

    name: str
    tags: tuple[str, ...]
    warnings: tuple[str, ...]


def identity(head: bytes, tags: bytes | None, sanitize: bool = True) -> Identity:
    """Read the name and the tags of a line.

    Parameters
    ----------
    head : bytes
        What stands before the first colon; it may carry tags.
    tags : bytes or None
        DogStatsD tag sections, joined by commas; None where the line had none.
    sanitize : bool
        Clean the name as statsd does.

    Raises
    ------
    ProtocolError
        With ``empty_name`` where cleaning leaves nothing.
    """
    name, pairs, good = _name_and_pairs(head)
    text = clean(name, sanitize)
    if not text:
        raise ProtocolError("empty_name", f"no name is left of {head[:100]!r}")
    if tags is not None:
        section, sound = _section(tags)
        good = good and sound
        named = {key for key, _ in section}
        pairs = [pair for pair in pairs if pair[0] not in named] + section
    return Identity(text, normal(pairs), () if good else ("bad_tag",))


def clean(name: bytes, sanitize: bool = True) -> str:
    """Clean a name: blanks to ``_``, ``/`` to ``-``, and only what is safe to print.

    Letters of every script are kept: statsd strips them, which makes one series
    of all names in Chinese.
    """
    if CLEAN.fullmatch(name):
        return name.decode("ascii")
    text = name.decode("utf-8", "replace")
    if not sanitize:
        return CONTROLS.sub("", text)
    text = SPACES.sub("_", text).replace("/", "-")
    text = DIRT.sub("", text)
    return "".join(c for c in text if c < "\x80" or (c.isprintable() and c != REPLACEMENT))


def _name_and_pairs(head: bytes) -> tuple[bytes, list[tuple[str, str]], bool]:
    """Split a head into its name and the tags in it; False where one was bad."""
    if CLEAN.fullmatch(head):
        return head, [], True
    if b"[" in head or b"]" in head:
        return _signalfx(head)
    found = NAME_DIALECTS.search(head)
    if not found or b"=" not in head[found.end() :]:
        return head, [], True
    separator = b";" if found[0] == b";" else b","
    pairs, good = _pairs(head[found.end() :].split(separator))
    return head[: found.start()], pairs, good


def _signalfx(head: bytes) -> tuple[bytes, list[tuple[str, str]], bool]:
    start, end = head.find(b"["), head.find(b"]")
    if not 0 <= start < end:
        return BRACKETS.sub(b"", head), [], False
    pairs, good = _pairs(head[start + 1 : end].split(b","))
    return head[:start] + head[end + 1 :], pairs, good


def _pairs(items: list[bytes]) -> tuple[list[tuple[str, str]], bool]:
    """Read ``k=v`` items; of one key the last wins."""
    found, good = {}, True
    for item in items:
        key, _, value = (part.strip(BLANKS) for part in item.partition(b"="))
        if key and value:
            found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        elif item.strip(BLANKS):
            good = False
    return list(found.items()), good


def _section(tags: bytes) -> tuple[list[tuple[str, str]], bool]:
    """Read DogStatsD items; one key may have several values."""
    found, good = [], True
    for item in tags.decode("utf-8", "replace").split(","):
        text = item.strip(" \t").removeprefix("#")
        key, value = split_tag(text)
        if key:
            found.append((key, value))
        elif text:
            good = False
    return found, good


def split_tag(text: str) -> tuple[str, str]:
    """Split ``k:v``, or ``k=v`` where there is no colon; a bare tag has no value."""
    key, _, value = text.partition(":" if ":" in text else "=")
    return key, value


def normal_tags(section: bytes) -> tuple[tuple[str, ...], bool]:
    """Tags of a DogStatsD section in normal form; False where one had no key."""
    pairs, good = _section(section)
    return normal(pairs), good


def normal(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Write keys and values as tags are compared: sorted and unique."""
    return tuple(sorted({f"{key}:{value}" if value else key for key, value in pairs}))
