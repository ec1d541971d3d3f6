"""Objectives: the share of good samples, and how fast the budget of bad ones burns.

    objective 0.99   budget 0.01 of all samples may be over the threshold
    burn rate        bad share / budget: at 1 the budget lasts just its period

Alerts follow the multiwindow, multi-burn-rate rule [1]_: a long window says that it
matters, a short one that it still goes on.

.. [1] Google, The Site Reliability Workbook, 2018, chapter 5, table 5-8.
"""

from typing import Any, NamedTuple

import numpy as np

from aggd.query.distribution import about, known
from aggd.query.scope import Found, Scope, Window, timers_of
from aggd.query.selection import plain
from aggd.store.rollup import History
from aggd.store.series import Registry
from aggd.units import DAY, HOUR, MINUTE

Answer = dict[str, Any]

WINDOWS = {"5m": 5 * MINUTE, "30m": 30 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "3d": 3 * DAY}
WIDENED = 1.5  # times its length that a window may be where finer frames are gone


class Rule(NamedTuple):
    """Both windows must burn faster than `threshold`."""

    severity: str
    long: str
    short: str
    threshold: float


RULES = (
    Rule("page", "1h", "5m", 14.4),  # 2 % of the budget of 30 days
    Rule("page", "6h", "30m", 6.0),  # 5 %
    Rule("ticket", "3d", "6h", 1.0),  # 10 %
)


class Objective(NamedTuple):
    """The share of samples, in (0, 1), that should be at or under a threshold."""

    threshold: float
    objective: float

    def burn_rate(self, good: float) -> float:
        """How many times faster than allowed a share of good samples spends the budget."""
        return (1 - good) / (1 - self.objective)


def assess(
    registry: Registry, history: History, name: str, objective: Objective, scope: Scope
) -> Answer:
    """Judge one timer by an objective.

    The budget is that of the window asked for, all that is retained where none is;
    burn rates are over the last minutes, hours and days before its end.

    Raises
    ------
    RequestError
        404 where nobody sent the name, 422 where it is no timer.
    """
    found = timers_of(registry, history, name, scope)
    of = known(found)
    good = of.upto(np.array([objective.threshold]))
    share = good / of.total if of.total else np.array([np.nan])
    # What is to come has burnt nothing: a question that reaches there asks for now.
    past, end = found.past, scope.window.end
    end = past.end if end is None else min(end, past.until)
    burning = {
        word: _burn_rate(registry, history, name, objective, _before(scope, end, length), length)
        for word, length in WINDOWS.items()
    }
    alerts = [{**rule._asdict(), "firing": _fires(rule, burning)} for rule in RULES]
    return {
        **about(found, of),
        **objective._asdict(),
        "good": plain(float(share[0])),
        "error": float(of.error(share)[0]) if of.total else None,
        "good_count": plain(float(good[0])),
        "bad_count": plain(of.total - float(good[0])),
        "budget_remaining": plain(1 - objective.burn_rate(float(share[0]))),
        "burn_rate": burning,
        "alerting": any(alert["firing"] for alert in alerts),
        "alerts": alerts,
    }


def _before(scope: Scope, end: float, length: int) -> Scope:
    return scope._replace(window=Window(max(0.0, end - length), end))


def _burn_rate(
    registry: Registry,
    history: History,
    name: str,
    objective: Objective,
    scope: Scope,
    length: int,
) -> float | None:
    """Burn rate of one window; None without samples, or where it could only be widened.

    Long ago only hours or days are kept: one of those would say nothing about five minutes.
    """
    found: Found = timers_of(registry, history, name, scope)
    if found.past.seconds > WIDENED * length:
        return None
    good = known(found).cdf(np.array([objective.threshold]))
    return plain(objective.burn_rate(float(good[0])))


def _fires(rule: Rule, burning: dict[str, float | None]) -> bool:
    rates = burning[rule.long], burning[rule.short]
    return all(rate is not None and rate > rule.threshold for rate in rates)
