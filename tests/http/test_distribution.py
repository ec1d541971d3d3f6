"""Distributions, objectives and comparisons over HTTP: the answers' shape and their mistakes."""

import subprocess
import sys

import numpy as np
import pytest

from tests.http.server import NOW

COVERS = ["name", "kind", "tags", "from", "to", "resolution", "exact", "count"]
HOUR, DAY = 3600, 86400


@pytest.fixture
def sent(client):
    x = np.random.default_rng(1).gamma(3, 40, 60).round(2).tolist()
    client.past.send(*(f"t:{v}|ms|#env:prod" for v in x))
    client.past.send(*(f"t:{v / 2}|ms|#env:prod" for v in x), age=DAY)
    client.past.send("c:3|c", "g:5|g", "s:joe|s", "t:-4|ms|#env:test")
    return client, np.array(x)


async def test_a_distribution_has_all_keys_in_their_order(sent):
    client, x = sent
    answer = await client.get("/api/v1/distribution/t?last=1m&tags=env:prod&bins=4&at=100,-2.5e1")
    assert list(answer) == [*COVERS, "rank_error", "histogram", "cdf", "from_samples", "fits",
                            "not_fitted"]  # fmt: skip
    assert (answer["from"], answer["to"]) == ("2023-11-14T22:12:20Z", "2023-11-14T22:13:30Z")
    assert (answer["count"], answer["tags"], answer["exact"]) == (60, {"env": "prod"}, True)
    assert list(answer["histogram"]) == ["scale", "edges", "counts"]
    assert answer["histogram"]["counts"] == np.histogram(x, 4)[0].tolist()
    assert answer["cdf"] == [
        {"value": 100.0, "fraction": pytest.approx((x <= 100).mean())},
        {"value": -25.0, "fraction": 0},
    ]
    assert [list(fit) for fit in answer["fits"]] == [
        ["family", "parameters", "log_likelihood", "aic", "ks"]
    ] * 5
    assert answer["not_fitted"] == []


async def test_families_may_be_left_out_and_have_reasons_where_they_are(sent):
    client, _ = sent
    without = await client.get("/api/v1/distribution/t?last=1m&fit=false")
    assert list(without)[-1] == "cdf"
    assert len(without["histogram"]["counts"]) == 50
    assert [pair["value"] for pair in without["cdf"]] == without["histogram"]["edges"]
    answer = await client.get("/api/v1/distribution/t?last=1m")
    assert [fit["family"] for fit in answer["fits"]] == ["normal"]
    reasons = {one["family"]: one["reason"] for one in answer["not_fitted"]}
    assert reasons["gamma"] == "needs positive samples, the smallest is -4"


async def test_an_objective_has_all_keys_in_their_order(sent):
    client, x = sent
    answer = await client.get("/api/v1/slo/t?last=1h&tags=env:prod&threshold=120&objective=0.9")
    assert list(answer) == [*COVERS, "threshold", "objective", "good", "error", "good_count",
                            "bad_count", "budget_remaining", "burn_rate", "alerting",
                            "alerts"]  # fmt: skip
    assert answer["good"] == pytest.approx((x <= 120).mean())
    assert list(answer["burn_rate"]) == ["5m", "30m", "1h", "6h", "3d"]
    assert list(answer["alerts"][0]) == ["severity", "long", "short", "threshold", "firing"]
    assert answer["alerting"] is any(alert["firing"] for alert in answer["alerts"])
    assert answer["count"] == 60
    assert (await client.get("/api/v1/slo/t?threshold=120&objective=0.9"))["count"] == 121


async def test_a_comparison_has_all_keys_in_their_order(sent):
    client, _ = sent
    answer = await client.get("/api/v1/compare/t?last=1h&offset=1d&tags=env:prod&percentiles=25")
    assert list(answer) == ["name", "kind", "tags", "current", "before", "change", "test"]
    assert answer["current"]["to"] == "2023-11-14T22:13:30Z"
    assert answer["before"]["to"] == "2023-11-13T22:13:30Z"
    stats = await client.get("/api/v1/stats/t?last=1h&tags=env:prod&percentiles=25")
    assert answer["current"].items() <= stats.items()
    assert answer["change"]["p25"]["relative"] == pytest.approx(1)
    assert list(answer["test"]) == ["method", "alpha", "distance", "critical_value", "p_value",
                                    "effective_samples", "exact", "differs",
                                    "direction"]  # fmt: skip
    assert (answer["test"]["differs"], answer["test"]["direction"]) == (True, "higher")
    strict = await client.get("/api/v1/compare/t?tags=env:prod&alpha=1e-30")
    assert strict["test"]["differs"] is False
    for name in "cgs":
        assert (await client.get(f"/api/v1/compare/{name}?last=1h"))["test"] is None


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("distribution/t?bins=0", "bad_bins", "a whole number from 1 to 1000, got '0'"),
        ("distribution/t?bins=1001", "bad_bins", "got '1001'"),
        ("distribution/t?scale=sqrt", "bad_scale", "linear or log, got 'sqrt'"),
        ("distribution/t?at=1,x", "bad_at", "numbers such as 100,250, got '1,x'"),
        ("distribution/t?at=", "bad_at", "got ''"),
        ("distribution/t?at=nan", "bad_at", "got 'nan'"),
        ("distribution/t?at=1e999", "bad_at", "got '1e999'"),
        ("distribution/t?at=1_0", "bad_at", "got '1_0'"),
        ("distribution/t?at=" + ",".join(map(str, range(101))), "bad_at", "got"),
        ("distribution/t?fit=perhaps", "bad_fit", "true or false, got 'perhaps'"),
        ("distribution/t?by=env", "unknown_parameter", "'by'"),
        ("slo/t?objective=0.9", "missing_parameter", "threshold is missing"),
        ("slo/t?threshold=5", "missing_parameter", "a number over 0 and under 1 such as 0.99"),
        ("slo/t?threshold=inf&objective=0.9", "bad_threshold", "finite number such as 300"),
        ("slo/t?threshold=5&objective=1", "bad_objective", "under 1 such as 0.99, got '1'"),
        ("slo/t?threshold=5&objective=0", "bad_objective", "got '0'"),
        ("slo/t?threshold=5&objective=99", "bad_objective", "got '99'"),
        ("slo/t?threshold=5&objective=nan", "bad_objective", "got 'nan'"),
        ("compare/t?offset=-1d", "bad_offset", "a positive duration such as 1d or 1w, got '-1d'"),
        ("compare/t?alpha=0", "bad_alpha", "under 1 such as 0.01, got '0'"),
        ("compare/t?last=1h&from=0", "bad_last", "not both"),
    ],
)
async def test_a_wrong_parameter_is_400_and_named(sent, query, code, said):
    client, _ = sent
    status, error = await client.error("GET", f"/api/v1/{query}")
    assert (status, error["code"]) == (400, code)
    assert said in error["message"]


@pytest.mark.parametrize(
    "query",
    ["distribution/c", "distribution/t?scale=log", "slo/g?threshold=1&objective=0.5",
     "compare/c?percentiles=50"],
)  # fmt: skip
async def test_what_the_samples_cannot_answer_is_422(sent, query):
    client, _ = sent
    status, error = await client.error("GET", f"/api/v1/{query}")
    assert (status, error["code"]) == (422, "not_answerable")


@pytest.mark.parametrize(
    "query", ["distribution/x", "slo/x?threshold=1&objective=0.5", "compare/x"]
)
async def test_a_name_that_nobody_sent_is_404(client, query):
    status, error = await client.error("GET", f"/api/v1/{query}")
    assert (status, error["code"]) == (404, "unknown_name")


async def test_a_window_without_samples_is_200_with_nulls(sent):
    client, _ = sent
    window = f"from={NOW - 9 * HOUR}&to={NOW - 8 * HOUR}"
    answer = await client.get(f"/api/v1/distribution/t?{window}&at=5")
    assert (answer["count"], answer["cdf"]) == (0, [{"value": 5.0, "fraction": None}])
    answer = await client.get(f"/api/v1/slo/t?{window}&threshold=5&objective=0.9")
    assert (answer["good"], answer["burn_rate"]["1h"], answer["alerting"]) == (None, None, False)
    answer = await client.get(f"/api/v1/compare/t?{window}")
    assert (answer["test"], answer["change"]["mean"]["absolute"]) == (None, None)


def test_scipy_is_imported_where_it_is_first_needed():
    asked = "import sys, aggd.http.app; print(any(m.startswith('scipy') for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
