"""What a directory holds, as people read it."""

import pytest

from aggd.terminal.tiers import size, span, storage

TIER = {
    "tier": "minute", "width": 60, "slots": 75, "capacity": 10080, "from": "2023-11-15T00:00:00Z",
    "to": "2023-11-15T01:15:00Z", "files": 1, "bytes": 1536, "slot_bytes": 20, "series": 12,
    "full_bytes": 201600, "reach": 604800,
}  # fmt: skip
EMPTY = {**TIER, "tier": "day", "slots": 0, "from": None, "to": None, "reach": 157680000}


def test_tiers_stand_under_each_other_and_the_sum_below():
    text = storage(
        {"tiers": [TIER, EMPTY], "bytes": 3072, "max_bytes": 1 << 30, "full_bytes": 403200}
    )
    head, minute, day, blank, now, full = text.splitlines()
    titles = "tier from to slots of files bytes a slot series full reach"
    assert head.split() == titles.split()
    assert minute.split() == [
        "minute", TIER["from"], TIER["to"], "75", "10080", "1", "1.5", "KiB", "20", "B", "12",
        "197", "KiB", "7d",
    ]  # fmt: skip
    assert day.split()[:4] == ["day", "-", "-", "0"]
    assert day.endswith(" 5y")
    assert blank == ""
    assert now == "3 KiB of storage.max_bytes 1 GiB"
    assert full.endswith("394 KiB when full, which fits")


def test_a_load_that_does_not_fit_is_told():
    text = storage({"tiers": [TIER], "bytes": 1, "max_bytes": 100, "full_bytes": 101})
    assert text.endswith("which doesn't fit: reach says how far back each goes then")


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (1 << 20, "1 MiB"), (5 << 40, "5 TiB")],
)
def test_sizes_have_three_digits(nbytes, text):
    assert size(nbytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (90, "90s"),
        (120, "2m"),
        (3600, "60m"),
        (7200, "2h"),
        (604800, "7d"),
        (129, "2.15m"),
    ],
)
def test_lengths_of_time_have_three_digits(seconds, text):
    assert span(seconds) == text
