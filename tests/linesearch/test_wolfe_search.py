"""wolfe_search: results in words, refusals, and phi of every kind."""

import math

import numpy as np
import pytest
from more_thuente_cases import PUBLISHED

from nbopt.kernels.compile import compiled
from nbopt.linesearch.wolfe_search import WolfeSearchResult, wolfe_search

METHODS = ["more_thuente", "strong_wolfe"]


def parabola(t):
    return (t - 2.0) ** 2, 2.0 * (t - 2.0)


@compiled
def compiled_parabola(t):
    return (t - 2.0) ** 2, 2.0 * (t - 2.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("phi", [parabola, compiled_parabola])
def test_finds_a_wolfe_point(method, phi):
    result = wolfe_search(phi, 1e-3, 4.0, -4.0, c2=0.01, method=method)
    assert isinstance(result, WolfeSearchResult)
    step, value, slope, nfev, status = result
    assert status == 1
    assert (value, slope) == parabola(step)
    assert value <= 4.0 - 1e-4 * 4.0 * step
    assert abs(slope) <= 0.01 * 4.0
    assert 1 < nfev < 12
    assert [type(x) for x in result] == [float, float, float, int, int]
    assert result.message == "The strong Wolfe conditions hold."


@pytest.mark.parametrize("method", METHODS)
def test_counts_its_calls_and_keeps_its_limit(method):
    calls = []

    def phi(t):
        calls.append(t)
        return -t, -1.0

    result = wolfe_search(phi, 1.0, 0.0, -1.0, max_nfev=5, method=method)
    assert result.nfev == len(calls) == 5
    assert result.status == 2
    assert "limit of evaluations" in result.message
    assert result.step == max(calls)


def test_says_where_the_step_ends_at_its_limit():
    result = wolfe_search(lambda t: (-t, -1.0), 5.0, 0.0, -1.0, max_step=3.0)
    assert (result.step, result.phi, result.status) == (3.0, -3.0, 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("phi0", "dphi0", "status"), [(1.0, 0.0, 6), (1.0, 1.0, 6), (math.nan, -1.0, 7)])
def test_no_descent_is_a_status_and_no_call(method, phi0, dphi0, status):
    def phi(t):
        raise AssertionError("called")

    result = wolfe_search(phi, 1.0, phi0, dphi0, method=method)
    assert result.step == 0.0
    assert result.nfev == 0
    assert result.status == status


@pytest.mark.parametrize("method", METHODS)
def test_never_returns_a_point_that_is_not_finite(method):
    result = wolfe_search(lambda t: (math.nan, math.nan), 1.0, 1.0, -1.0, method=method)
    assert result[:3] == (0.0, 1.0, -1.0)
    assert result.status not in (0, 1)


def test_takes_numbers_of_any_kind():
    result = wolfe_search(
        lambda t: np.array([*parabola(t)]), np.float32(1), 4, np.array(-4.0), max_nfev=np.int64(9)
    )
    assert result.status == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"phi": 3}, TypeError, "phi must be callable, not int"),
        ({"step": 0.0}, ValueError, "step=0.0 must be positive"),
        ({"step": -1}, ValueError, "step=-1 must be positive"),
        ({"step": math.nan}, ValueError, "step=nan must be positive"),
        ({"step": math.inf}, ValueError, "step=inf must be positive and finite"),
        ({"step": "1"}, TypeError, "step='1' must be a number"),
        ({"step": True}, TypeError, "step=True must be a number"),
        ({"phi0": None}, TypeError, "phi0=None must be a number"),
        ({"dphi0": 1j}, TypeError, "must be a number"),
        ({"c1": 0.0}, ValueError, "0 < c1 <= c2 < 1"),
        ({"c1": 0.5, "c2": 0.4}, ValueError, "c1=0.5 and c2=0.4"),
        ({"c2": 1.0}, ValueError, "0 < c1 <= c2 < 1"),
        ({"max_step": 0.0}, ValueError, "max_step=0.0 must be positive"),
        ({"max_nfev": 0}, ValueError, "max_nfev=0 must be an integer"),
        ({"max_nfev": 2.5}, ValueError, "max_nfev=2.5 must be an integer"),
        ({"max_nfev": True}, ValueError, "max_nfev=True must be an integer"),
        ({"method": "armijo"}, ValueError, "method='armijo' must be one of"),
    ],
)
def test_refuses(change, error, message):
    arguments = {"phi": parabola, "step": 1.0, "phi0": 4.0, "dphi0": -4.0} | change
    with pytest.raises(error, match="wolfe_search: ") as caught:
        wolfe_search(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("answer", [1.0, (1.0,), (1.0, 2.0, 3.0), None, ("a", "b"), (1.0, np.ones(2))])
def test_says_what_phi_returned(answer):
    with pytest.raises(TypeError, match="must return two numbers, the value and the slope"):
        wolfe_search(lambda t: answer, 1.0, 4.0, -4.0)


def test_an_exception_in_phi_comes_through():
    def phi(t):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        wolfe_search(phi, 1.0, 4.0, -4.0)


def test_meets_the_conditions_on_the_published_functions():
    evaluations = 0
    for phi, c1, c2, _, _ in PUBLISHED:
        phi0, dphi0 = phi(0.0)
        for step in (1e-3, 1e-1, 1e1, 1e3):
            result = wolfe_search(phi, step, phi0, dphi0, c1=c1, c2=c2, max_step=4 * max(1.0, step))
            assert result.status == 1
            assert result.phi <= phi0 + c1 * result.step * dphi0
            assert abs(result.dphi) <= c2 * abs(dphi0)
            evaluations += result.nfev
    assert evaluations <= 179


def test_torchs_search_says_where_its_bracket_loses_the_wolfe_points():
    # Its bracket may end at a point that is lower than phi0 but not by enough: torch's own limit.
    phi, c1, c2, _, _ = PUBLISHED[0]
    result = wolfe_search(phi, 1e3, *phi(0.0), c1=c1, c2=c2, method="strong_wolfe")
    assert result.status in (2, 5)
    assert result.phi < phi(0.0)[0]


def random_phi(rng, kind):
    """Return a smooth function of t >= 0 of one of the kinds 0 to 4; of the last no point is flat enough."""
    a, b, c = 10.0 ** rng.uniform(-3.0, 3.0, 3)

    def well(t):
        return a * (t - b) ** 4 - c * t, 4.0 * a * (t - b) ** 3 - c

    def tail(t):  # falls for ever, ever flatter
        return a / (1.0 + t / b), -a / b / (1.0 + t / b) ** 2

    def barrier(t):  # not even downhill at 0 in half of the cases
        return (-a * t - c * math.log(1.0 - t / b), -a + c / (b - t)) if t < b else (math.inf, math.nan)

    def chain(t):  # soon beyond all numbers
        if t >= 700.0 * b:
            return math.inf, math.inf
        return a * math.cosh(t / b - 1.0), a / b * math.sinh(t / b - 1.0)

    def ripples(t):
        return a * math.sin(t / b) - 1.5 * a / b * t, a / b * (math.cos(t / b) - 1.5)

    return (well, tail, barrier, chain, ripples)[kind]


@pytest.mark.parametrize("method", METHODS)
def test_random_functions_meet_the_conditions_or_hear_why_not(method):
    rng = np.random.default_rng(20261125)
    for k in range(10_000):
        phi, c2 = random_phi(rng, k % 5), float(rng.choice([0.9, 0.5, 0.1]))
        first, most = 10.0 ** rng.uniform(-4.0, 3.0), float(rng.choice([5.0, math.inf]))
        phi0, dphi0 = phi(0.0)
        found = wolfe_search(phi, first, phi0, dphi0, c2=c2, max_step=most, max_nfev=40, method=method)
        assert 0.0 <= found.step <= most and found.nfev <= 40
        if found.status == 1:
            assert (found.phi, found.dphi) == phi(found.step)
            assert found.phi <= phi0 + 1e-4 * found.step * dphi0 and abs(found.dphi) <= c2 * abs(dphi0)
        elif found.status == 2:
            assert found.nfev == 40
        elif found.status == 3:
            assert found.step == most and found.dphi < 0.0
        elif found.status == 5:  # a bracket of roundings
            assert found.phi <= phi0
        elif found.status == 6:
            assert dphi0 >= 0.0 and found.nfev == 0
        else:
            raise AssertionError(found.message)
        if method == "more_thuente" and most == math.inf and k % 5 < 4:  # there is such a point
            assert found.status == (1 if dphi0 < 0.0 else 6)
