"""What is there adds up, and what will be there is what comes to be."""

import pytest

from aggd import inventory
from aggd.backup import Source
from aggd.inventory import Stock, reaches
from aggd.terminal import tiers
from aggd.units import DAY, HOUR, MINUTE
from tests.state import END, MINUTES, START, config, fill


def stock(name: str, width: int, capacity: int, slot_nbytes: float) -> Stock:
    return Stock(name, width, 0, capacity, None, None, 0, 0, slot_nbytes, 0)


@pytest.fixture(scope="module")
def state(new_directory):
    return fill(new_directory())


def test_tiers_are_told_as_they_are(state):
    found = {one.name: one for one in inventory.stocks(Source(state, config(state)))}
    assert [*found] == ["interval-10s", "minute", "hour", "day"]
    minute, hour, day = found["minute"], found["hour"], found["day"]
    assert (minute.start, minute.end) == (START, END)
    assert (minute.width, minute.slots, minute.capacity, minute.files) == (60, MINUTES, 10080, 1)
    assert (hour.start, hour.end, hour.slots, hour.series) == (START, START + HOUR, 1, 12)
    assert (day.start, day.end, day.slots, day.nbytes, day.full_nbytes) == (None, None, 0, 0, 0)
    for one in found.values():
        assert one.nbytes == sum(p.stat().st_size for p in (state / one.name).glob("*.db*"))


def test_the_bytes_of_slots_add_up_to_those_of_the_file(state):
    found = {one.name: one for one in inventory.stocks(Source(state, config(state)))}
    for name in ("minute", "hour"):
        size = sum(p.stat().st_size for p in (state / name).glob("*.db"))
        assert found[name].slot_nbytes * found[name].slots == pytest.approx(size)
        assert found[name].full_nbytes == round(found[name].slot_nbytes * found[name].capacity)


def test_the_answer_adds_up(state):
    answer = inventory.answer(Source(state, config(state)), 1 << 30)
    for key in ("bytes", "full_bytes"):
        assert answer[key] == sum(tier[key] for tier in answer["tiers"]) > 0
    assert [tier["reach"] for tier in answer["tiers"]] == [HOUR, 7 * DAY, 90 * DAY, 1825 * DAY]
    text = tiers.storage(answer)
    assert "1 GiB" in text
    assert "2023-11-15T00:00:00Z" in text


def test_an_empty_directory_is_told_too(directory):
    answer = inventory.answer(Source(directory, config(directory)), 1 << 30)
    assert (answer["bytes"], answer["full_bytes"]) == (0, 0)
    assert [*directory.iterdir()] == []
    assert tiers.storage(answer).startswith("tier")


def test_past_the_budget_the_finest_tier_gets_what_is_left():
    kept = [
        stock("interval", 10, 100, 10.0),
        stock("minute", 60, 50, 20.0),
        stock("day", DAY, 4, 1.0),
    ]
    whole = [(1000, 1000), (50 * MINUTE, 1000), (4 * DAY, 4)]
    assert reaches(kept, 2004) == whole
    assert reaches(kept, 1504) == [(500, 500), *whole[1:]]
    assert reaches(kept, 504) == [(0, 0), (25 * MINUTE, 500), (4 * DAY, 4)]
    assert reaches(kept, 2) == [(0, 0), (0, 0), (2 * DAY, 2)]


def test_all_that_is_there_is_verified_and_nothing_is_wrong(state):
    told: list[float] = []
    answer = inventory.verified(Source(state, config(state)), told.append)
    assert answer["faults"] == []
    assert answer["rows"] > 100
    assert told == sorted(told)
    assert 0.0 <= told[0] <= told[-1] <= 1.0


def test_a_catalogue_that_is_lost_is_one_fault_for_each_row_without_names(new_directory):
    state = fill(new_directory(), minutes=1)
    (state / "catalogue.db").unlink()
    faults = inventory.verified(Source(state, config(state)), lambda _: None)["faults"]
    assert faults
    assert all("not in the catalogue" in fault["message"] for fault in faults)
    (state / "catalogue.db").write_bytes(b"x" * 5000)
    (fault,) = inventory.verified(Source(state, config(state)), lambda _: None)["faults"]
    assert fault["slot"] is None
    assert fault["file"] == str(state / "catalogue.db")
