"""What the configuration adds to answers about timers, through the real command."""

from tests.daemon import Daemon


def test_configured_percentiles_stand_in_every_answer_about_a_timer():
    running = Daemon(AGGD_TIMERS__PERCENTILES="90,-10")
    running.send(b"\n".join(b"t:%d|ms" % value for value in range(1, 11)))
    found = running.stats("t", 10)["statsd"]
    assert (found["upper_90"], found["sum_90"], found["lower_top10"]) == (9, 45, 10)
    assert running.stop()[0] == 0
