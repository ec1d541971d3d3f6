"""Comparisons, objectives and distributions as text: figures first, then what follows from them."""

from collections.abc import Sequence

from aggd.terminal.answers import Answer, Shown, Table, head, name_of, statistics
from aggd.terminal.table import aligned, bar, number, percent

LEAST_BAR = 10  # columns


def compare(answer: Answer, shown: Shown) -> str:
    """Two windows side by side, and whether they differ."""
    current, before = answer["current"], answer["before"]
    lines = head(name_of(answer), [current, before])
    rows = [
        [name, *map(number, (old, new, absolute)), percent(relative, sign="+")]
        for name, old, new, absolute, relative in compare_table(answer, shown).rows
        if old is not None or new is not None
    ]
    table = aligned([["", "before", "current", "change", ""], *rows], left=1)
    was = f"before: {before['from']} to {before['to']}"
    return "\n".join([*lines[:2], was, "", *table, "", _verdict(answer)])


def compare_table(answer: Answer, shown: Shown) -> Table:
    """A statistic of two windows a row."""
    current, before, change = answer["current"], answer["before"], answer["change"]
    rows = []
    for name in statistics([current]):
        by = change.get(name) or {}
        pair = before.get(name), current.get(name)
        rows.append([name, *pair, by.get("absolute"), by.get("relative")])
    return Table(["statistic", "before", "current", "absolute", "relative"], rows, 1)


def _verdict(answer: Answer) -> str:
    """What the test says, in words."""
    test = answer["test"]
    if test is None:
        timer = answer["kind"] == "timer"
        return f"No test: {'a window has no samples' if timer else 'only timers have one'}."
    differs = test["differs"]
    said = f"They differ: the current samples are {test['direction']}."
    n, m = map(number, test["effective_samples"])
    return (
        f"{said if differs else 'No sign that they differ.'}\n"
        f"{test['method'].title()} distance {number(test['distance'])}, "
        f"{'over' if differs else 'within'} the {number(test['critical_value'])} of chance; "
        f"p = {test['p_value']:.2g} from {m} and {n} samples."
    )


def slo(answer: Answer, shown: Shown) -> str:
    """How good it was, what is left of the budget, how fast it burns."""
    rows = [
        ["objective", f"{percent(answer['objective'])} at or under {number(answer['threshold'])}"],
        ["good", f"{percent(answer['good'])}  ({number(answer['bad_count'])} bad "
                 f"of {number(answer['count'])})"],
        ["budget left", percent(answer["budget_remaining"])],
        *(["burn rate" if i == 0 else "", f"{number(rate)} over {window}"]
          for i, (window, rate) in enumerate(answer["burn_rate"].items())),
    ]  # fmt: skip
    lines = head(name_of(answer), [answer])
    return "\n".join([*lines, *aligned(rows, left=2), "", *_alerts(answer)])


def _alerts(answer: Answer) -> list[str]:
    firing = [
        f"ALERT {alert['severity']}: burns faster than {number(alert['threshold'])} "
        f"over {alert['long']} and {alert['short']}"
        for alert in answer["alerts"]
        if alert["firing"]
    ]
    return firing or ["Not alerting."]


def distribution(answer: Answer, shown: Shown) -> str:
    """A histogram of bars, and the families that fit best."""
    lines = head(name_of(answer), [answer])
    histogram = answer["histogram"]
    edges, counts = histogram["edges"], histogram["counts"]
    if not counts:
        return "\n".join([*lines, "Nothing in this window."])
    labels = aligned(
        [
            [number(low), "to", number(high), number(count)]
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ],
        left=0,
    )
    width, most = max(shown.columns - len(labels[0]) - 2, LEAST_BAR), max(counts)
    bars = [
        f"{label}  {bar(n / most, width)}".rstrip() for label, n in zip(labels, counts, strict=True)
    ]
    return "\n".join([*lines, *bars, "", *_fits(answer["fits"])])


def _fits(fits: Sequence[Answer]) -> list[str]:
    if not fits:
        return ["No family was fitted."]
    rows = [
        [
            "best fit" if i == 0 else "",
            fit["family"],
            ", ".join(f"{name} {number(value)}" for name, value in fit["parameters"].items()),
            f"KS {number(fit['ks'])}",
            f"AIC {number(fit['aic'])}",
        ]
        for i, fit in enumerate(fits)
    ]
    return aligned(rows, left=3)
