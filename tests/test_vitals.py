"""The daemon's own figures."""

import itertools

import pytest

from aggd import vitals
from aggd.http.service import Audience
from aggd.outputs.prometheus import Family, render
from aggd.store.rollup import History
from aggd.store.series import Limits, Registry
from aggd.vitals import Timing
from tests.outputs.test_prometheus import parse
from tests.store.intake import NOW, TIERS, Intake


def values(families: list[Family]) -> dict[str, float]:
    """Values by name, label and suffix, as a strict reader reads them."""
    return {
        " ".join([family.name, *labels.values(), *suffix]): value
        for family in parse(render(families).decode())
        for labels, value, *suffix in family.samples
    }


def everything(intake: Intake) -> list[Family]:
    return [
        *vitals.intake(intake.figures),
        *vitals.memory(intake.registry, intake.history),
        *Timing().families("close", "Time to close an interval."),
        *vitals.audience(Audience(3, 2)),
        *vitals.process(),
    ]


def test_a_timing_adds_up_what_was_measured_and_keeps_the_last():
    timing, clock = Timing(), iter([10.0, 12.0, 20.0, 20.5])
    for _ in range(2):
        with timing.measure(lambda: next(clock)):
            pass
    assert (timing.count, timing.seconds, timing.last) == (2, 2.5, 0.5)
    assert values(list(timing.families("close", "Time to close."))) == {
        "aggd_close_seconds _sum": 2.5,
        "aggd_close_seconds _count": 2,
        "aggd_close_last_seconds": 0.5,
    }


def test_what_failed_is_not_timed_and_fails_all_the_same():
    timing = Timing()
    with pytest.raises(RuntimeError, match="a bug"), timing.measure(itertools.count().__next__):
        raise RuntimeError("a bug")
    assert timing.count == 0


def test_all_figures_can_be_read_and_have_names_and_help_of_their_own():
    families = everything(Intake())
    assert parse(render(families).decode()) == [
        family._replace(samples=[tuple(sample) for sample in family.samples]) for family in families
    ]
    assert len({family.name for family in families}) == len(families)
    assert len({family.help for family in families}) == len(families)
    for family in families:
        assert family.name.startswith("aggd_")
        assert family.help.endswith(".")
        assert family.name.endswith("_total") == (family.type == "counter"), family.name


def test_figures_tell_what_was_recorded():
    intake = Intake(Limits(series=3))
    intake.take(b"a:1|c", b"b:-2|ms", b"s:x|s", b"bad", b"c:1|c|@5", b"_e{1,1}:a|b", b"_sc|a|0")
    found = values(everything(intake))
    expected = {
        "aggd_datagrams_total": 1,
        "aggd_received_bytes_total": intake.figures.bytes,
        "aggd_lines_total compiled": 2,
        "aggd_lines_total python": 5,
        "aggd_samples_total counter": 2,
        "aggd_samples_total timer": 1,
        "aggd_samples_total set": 1,
        "aggd_lines_bad_total no_colon": 1,
        "aggd_warnings_total negative_timer": 1,
        "aggd_warnings_total rate_clamped": 1,
        "aggd_events_total": 1,
        "aggd_checks_total": 1,
        "aggd_series": 4,
        "aggd_series_limit": 3,
        "aggd_series_overflow_total": 1,
        "aggd_slots interval": 1,
        "aggd_slots day": 0,
        "aggd_frames_bytes interval": intake.history.slots.nbytes(),
    }
    assert {name: found[name] for name in expected} == expected


def test_figures_of_memory_follow_the_history():
    registry, history = Registry(Limits()), History(TIERS, 1 << 30, 1 << 30, NOW)
    assert values(list(vitals.memory(registry, history)))["aggd_frames_bytes interval"] == 0
    history.slots.evicted[0] = 5
    registry.tags_dropped = 7
    found = values(list(vitals.memory(registry, history)))
    assert found["aggd_evicted_total interval"] == 5
    assert found["aggd_tags_dropped_total"] == 7


def test_the_process_has_memory_and_has_used_the_processor():
    found = values(list(vitals.process()))
    assert found["aggd_process_resident_bytes"] > 1 << 20
    assert found["aggd_process_cpu_seconds_total"] > 0


def test_figures_tell_who_listens_and_who_was_too_slow():
    assert values(list(vitals.audience(Audience(3, 2)))) == {
        "aggd_live_listeners": 3,
        "aggd_live_dropped_total": 2,
    }
