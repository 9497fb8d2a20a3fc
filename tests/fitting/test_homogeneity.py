"""The column that follows from the others: how it is found, used, checked at the end, and given up."""

import numpy as np
import pytest
from fit_models import Counted
from hypothesis import given, settings
from hypothesis import strategies as st

import nbopt
from nbopt.fitting.homogeneity import (
    COLUMN,
    FOUND,
    MEMBERS,
    NONE,
    STATE,
    UNSOUGHT,
    choose,
    derive,
    is_confirmed,
    seek,
)
from nbopt.fitting.workspace import CONSTANT, EXACT, MOVING, UNKNOWN

INF = np.inf
X = np.linspace(0.1, 10.0, 40)


def decay(x, a, k):
    return a * np.exp(-k * x)


def raised(x, a, k, c):
    return a * np.exp(-k * x) + c


def double(x, a, k, b, r):
    return a * np.exp(-k * x) + b * np.exp(-r * x)


def peak(x, a, mu, s, b, c):
    return a * np.exp(-0.5 * ((x - mu) / s) ** 2) + b + c * x


def enzyme(x, v, K):
    return v * x / (K + x)


def dose(x, a, b, c, d):
    return d + (a - d) / (1.0 + (x / c) ** b)


def light(x, p, q):
    return p * q * x / (p + q * x)


def exact(model):
    """Return the Jacobian by complex steps: no digit is lost."""

    def jac(x, *p):
        steps = 1e-200j * np.eye(len(p))
        return np.column_stack([model(x, *(np.array(p) + h)).imag / 1e-200 for h in steps])

    return jac


def forward(model):
    """Return the Jacobian by forward differences."""

    def jac(x, *p):
        steps = 2.0**-26 * np.diag(p)
        return np.column_stack([(model(x, *(np.array(p) + h)) - model(x, *p)) / h.sum() for h in steps])

    return jac


def sought(model, p, jac=exact, x=X):
    """Return what is known of the set, and its members, after looking at one point."""
    p, f = np.array(p, float), model(x, *p) + 0.0 * x
    group = np.zeros(MEMBERS + p.size, np.int64)
    seek(np.ascontiguousarray(jac(model)(x, *p)), p, f, group, np.empty((p.size + 1, x.size)))
    assert group[COLUMN] == -1
    return group[STATE], np.flatnonzero(group[MEMBERS:]).tolist()


@pytest.mark.parametrize("jac", [exact, forward])
@pytest.mark.parametrize(
    "model, p, members",
    [
        (decay, [3.0, 0.7], [0]),
        (decay, [1e-9, 0.7], [0]),
        (raised, [3.0, 0.7, 0.5], [0, 2]),
        (double, [3.0, 0.7, -2.0, 0.2], [0, 2]),
        (peak, [3.0, 4.5, 0.8, 0.9, 0.1], [0, 3, 4]),
        (enzyme, [2.0, 3.0], [0]),
        (dose, [1.2, 2.0, 3.0, 4.0], [0, 3]),
        (light, [3.0, 0.5], [0, 1]),  # neither alone
        (lambda x, a, b, c: (a + b * x) / (c + x), [3.0, 1.5, 2.0], [0, 1]),
        (lambda x, a, b: np.sqrt(a * a + (b * x) ** 2), [3.0, 1.5], [0, 1]),
        (lambda x, *p: np.polyval(p, x), [1.1, 2.0, -3.0, 0.5, 1.2, 2.0, 0.3, 0.1], list(range(8))),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_set_is_found(model, p, members, jac):
    assert sought(model, p, jac) == (FOUND, members)


@pytest.mark.parametrize("jac", [exact, forward])
@pytest.mark.parametrize(
    "model, p",
    [
        (lambda x, k: np.exp(-k * x), [0.7]),
        (lambda x, a, k: a * np.exp(-k * x) + 1.0, [3.0, 0.7]),
        (lambda x, a, k: a * np.exp(-k * x) + 1e-4, [3.0, 0.7]),
        (lambda x, phase: np.sin(x + phase), [0.3]),
        (lambda x, b, k: np.exp(b - k * x), [2.0, 0.7]),
        (lambda x, a, k: a * a * np.exp(-k * x), [3.0, 0.7]),
    ],
    ids=["rate", "offset", "small offset", "phase", "logarithm", "square"],
)
def test_there_is_none(model, p, jac):
    assert sought(model, p, jac)[0] == NONE


def test_nothing_is_decided_where_a_parameter_is_0():
    assert sought(raised, [3.0, 0.7, 0.0])[0] == UNSOUGHT
    assert sought(raised, [0.0, 0.7, 1.0])[0] == UNSOUGHT


@pytest.mark.parametrize("first", [0.0, 1.0])
def test_no_set_of_more_than_eight_is_looked_for(first):
    assert sought(lambda x, *p: np.polyval(p, x / 10.0), [first, *range(1, 9)])[0] == NONE


@pytest.mark.parametrize("jac", [exact, forward])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3, 1e6])
def test_members_may_contribute_very_differently(size, jac):
    assert sought(raised, [3.0, 0.7, size], jac) == (FOUND, [0, 2])


@pytest.mark.parametrize("at", [1e3, 1e6, 1e9])
def test_the_others_may_matter_much_more(at):  # mu df/dmu is at times the model: 1e-16 of its square is not 0
    assert sought(peak, [3.0, at + 4.5, 0.8, 1.1, 0.1 / at], x=X + at) == (FOUND, [0, 3, 4])


def test_a_model_that_is_0():
    assert sought(lambda x, a: np.log(a) * x, [1.0])[0] == NONE  # with a derivative
    assert sought(lambda x, k, a: k * np.log(a) * x, [2.0, 1.0]) == (FOUND, [0])


def chosen(x, lengths, marks=None, kept=-1, members=None):
    """Return the column to derive of a model of length 100, where each column has a length."""
    lengths = np.array(lengths, float)
    n, f = lengths.size, np.full(25, 20.0)
    group = np.array([FOUND, kept, *([1] * n if members is None else members)])
    floor = np.divide(0.5, lengths, out=np.zeros(n), where=lengths > 0.0)
    marks = np.full(n, MOVING) if marks is None else np.array(marks)
    choose(np.array(x, float), floor, 0.5, f, marks, group)
    return group[COLUMN]


def test_the_largest_contributor_is_chosen():
    assert chosen([1, -2, 1], [3, 4, 7]) == 1
    assert chosen([1, -2, 1], [3, 4, 9]) == 2
    assert chosen([1, -2, 1], [3, 4, 9], members=[1, 1, 0]) == 1
    assert chosen([1, -2, 1], [3, 4, 9], [MOVING, UNKNOWN, MOVING], members=[1, 1, 0]) == 1


def test_it_is_kept_to_while_it_contributes_its_share():
    assert chosen([1, -2, 1], [1.1, 4, 7], kept=0) == 0
    assert chosen([1, -2, 1], [3, 4, 1.1], kept=2) == 2
    assert chosen([1, -2, 1], [0.9, 4, 7], kept=0) == 1


@pytest.mark.parametrize("mark", [CONSTANT, EXACT])
def test_no_column_is_chosen_that_is_constant(mark):
    assert chosen([1, 2], [50, 4], [mark, MOVING]) == 1
    assert chosen([1, 2], [50, 4], [mark, MOVING], kept=0) == 1
    assert chosen([1, 2], [50, 4], [mark, mark], kept=0) == -1


def test_no_column_is_chosen_that_contributes_nothing():
    assert chosen([1, 0.1], [0.9, 9], kept=1) == -1
    assert chosen([1, 2], [0, 0]) == -1
    assert chosen([0, 0], [1, 1]) == -1
    assert chosen([1, 2], [50, 50], members=[0, 0]) == -1


def derived(model, p, column):
    """Return the Jacobian without a column, the set, and the column that follows."""
    p, out = np.array(p), np.empty(X.size)
    J, (state, members) = exact(model)(X, *p), sought(model, p)
    group = np.array([state, column, *(j in members for j in range(p.size))])
    J[:, column] = np.nan
    derive(J, p, model(X, *p), group, out)
    return J, group, out


@pytest.mark.parametrize(
    "model, p, column",
    [
        (decay, [3.0, 0.7], 0),
        (raised, [3.0, 0.7, 0.5], 0),
        (double, [3.0, 0.7, -2.0, 0.2], 2),
        (peak, [3.0, 4.5, 0.8, 1.0, 0.1], 3),
        (dose, [1.0, 2.0, 3.0, 4.0], 0),
        (light, [3.0, 0.5], 1),
    ],
)
def test_the_column_follows_from_the_others(model, p, column):
    J, group, out = derived(model, p, column)
    right = exact(model)(X, *p)[:, column]
    np.testing.assert_allclose(out, right, rtol=0.0, atol=1e-12 * np.linalg.norm(right))
    J[:, column] = right * (1.0 + 3e-6)
    assert is_confirmed(J, group, out)
    J[:, column] = right * (1.0 + 3e-5)
    assert not is_confirmed(J, group, out)


def fit_counted(model, y, p0, *given, **options):
    """Fit without and with the exact Jacobian; return pulls between the ends, and calls and counts."""
    counted = Counted(model)
    popt, pcov, info, _, _ = nbopt.curve_fit(counted, X, y, p0, *given, full_output=True, **options)
    right, cov = nbopt.curve_fit(model, X, y, p0, *given, jac=exact(model), **options)
    scale = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(pcov / np.outer(scale, scale), cov / np.outer(scale, scale), atol=2e-5)
    return (popt - right) / scale, counted.calls, info


def data(model, p, noise=0.05, seed=0):
    return model(X, *p) + np.random.default_rng(seed).normal(0.0, noise, X.size)


@pytest.mark.parametrize(
    "model, true, p0",
    [
        (decay, [3.0, 0.7], [1.1, 1.0]),
        (enzyme, [2.0, 3.0], [1.1, 1.0]),
        (light, [3.0, 1.0], [1.2, 0.5]),
        (double, [3.0, 1.5, 2.0, 0.2], [2.0, 1.0, 1.1, 0.3]),
        (dose, [1.0, 3.0, 3.0, 4.0], [1.5, 2.0, 2.0, 3.0]),
    ],
)
def test_each_jacobian_but_the_first_and_the_last_spares_a_call(model, true, p0):
    pulls, calls, info = fit_counted(model, data(model, true), p0)
    n = len(p0)
    assert info["njev"] > 3 and calls == info["nfev"] + n + (n - 1) * (info["njev"] - 1) + 1
    np.testing.assert_allclose(pulls, 0.0, atol=1e-6)


def test_beside_constant_columns_a_jacobian_takes_one_column():
    pulls, calls, info = fit_counted(raised, data(raised, [3.0, 0.7, 0.5]), [1.2, 1.0, 0.3])
    # all at first; a and k, once the offset follows; k; at the end all
    assert calls == info["nfev"] + 3 + 2 + (info["njev"] - 3) + 3
    np.testing.assert_allclose(pulls, 0.0, atol=1e-6)


@pytest.mark.parametrize("p0", [[1.1, 1.0, 0.0], [1.0, 1.1, 0.3], [0.9, 0.9, 1.0]])
def test_a_start_at_0_or_1_puts_it_off_to_the_second_jacobian(p0):
    _, first, info = fit_counted(raised, y := data(raised, [3.0, 0.7, 0.5]), p0)
    assert first == info["nfev"] + 3 + 3 + (info["njev"] - 3) + 3
    assert fit_counted(raised, y, [1.1, 1.0, 0.3])[1] <= first


@pytest.mark.parametrize("bounds", [(-INF, INF), ([0, 0.1, 0], [9, 0.6, 2]), ([1.5, 0, 0.6], [2.9, 2, 9])])
@pytest.mark.parametrize("errors", ["errors", "matrix"])
def test_data_may_have_errors_and_parameters_bounds(errors, bounds):
    sigma = np.linspace(0.5, 2.0, X.size)
    if errors == "matrix":
        sigma = np.diag(sigma**2) + 0.3 * np.exp(-np.abs(np.subtract.outer(X, X)))
    y, p0 = data(raised, [3.0, 0.7, 0.5]), [1.9, 0.5, 0.7]
    pulls, calls, info = fit_counted(raised, y, p0, sigma, bounds=bounds)
    np.testing.assert_allclose(pulls, 0.0, atol=1e-6)
    assert calls < info["nfev"] + 2 * info["njev"] + 3  # what the constant column leaves


def beyond(a, limit):
    return a - limit if a.real > limit else 0.0


# Sets that hold at the start, all parameters being 1 or all 1.1, and not at the end.
STARTS_ONLY = {
    "logarithm": (lambda x, b, k: np.exp(b - k * x), [2.3, 0.7]),  # exp(1) is 1 times its derivative
    "square": (lambda x, a, k: 0.5 * (a * a + 1.0) * np.exp(-k * x), [3.0, 0.7]),
    "power": (lambda x, a, b: (a * x) ** b, [2.0, 0.6]),
    "kink": (lambda x, a, k: (a + beyond(a, 1.5) ** 2) * np.exp(-k * x), [2.5, 0.7]),
    "late": (lambda x, a, k, b: a * np.exp(-k * x) + b * (1.0 + 0.05 * beyond(a, 2.0) * x), [3.0, 0.7, 0.5]),
}


@pytest.mark.parametrize("name", STARTS_ONLY)
def test_a_set_that_does_not_hold_at_the_end_is_found_out(name):
    model, true = STARTS_ONLY[name]
    start = np.full(len(true), 1.1 if name in ("kink", "late") else 1.0)
    assert sought(model, start)[0] == (FOUND if start[0] > 1.0 else UNSOUGHT)
    pulls, _, _ = fit_counted(model, data(model, true), start)
    np.testing.assert_allclose(pulls, 0.0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Covariance of the parameters could not be estimated")
def test_a_parameter_that_comes_to_change_nothing_is_found_out():
    def saturated(x, a, k):
        return (2.0 if a.real > 2.0 else a) * np.exp(-k * x)

    y = data(decay, [3.0, 0.7])
    popt, pcov = nbopt.curve_fit(saturated, X, y, [1.1, 1.0])
    right, cov = nbopt.curve_fit(saturated, X, y, [1.1, 1.0], jac=exact(saturated))
    assert popt[0] > 2.0 < right[0] and np.isinf(pcov).all() and np.isinf(cov).all()
    assert popt[1] == pytest.approx(right[1], rel=1e-8)


CURVES = {
    "decay": (raised, lambda a, k, c: [a, k, c]),
    "double": (double, lambda a, k, c: [a, k, 0.5 * a + abs(c), 0.2 * k]),
    "peak": (peak, lambda a, k, c: [a, 3.0 + k, 0.5 + 0.3 * k, c, 0.1 * c]),
}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(CURVES)),
    st.floats(0.5, 5.0),
    st.floats(0.4, 2.0),
    st.floats(-3.0, 3.0).filter(lambda c: abs(c) > 0.1),
    st.floats(-4.0, -2.0),
    st.integers(0, 9),
)
def test_a_fit_ends_where_one_with_the_exact_jacobian_does(name, a, k, c, digits, seed):
    model, parameters = CURVES[name]
    true = np.array(parameters(a, k, c))
    p0 = true * (1.0 + 0.1 * np.random.default_rng(seed).uniform(-1.0, 1.0, true.size))
    pulls, _, _ = fit_counted(model, data(model, true, a * 10.0**digits, seed), p0)
    np.testing.assert_allclose(pulls, 0.0, atol=1e-5)


def both_fits(model, y, p0, **options):
    """Fit by name without and with the exact Jacobian; return the first, the calls, and the pulls."""
    counted, start = Counted(model), dict(zip(model.__code__.co_varnames[1:], p0, strict=True))
    found = nbopt.fit(lambda x, a, k, c: counted(x, a, k, c), X, y, start, **options)
    right = nbopt.fit(model, X, y, start, jac=exact(model), **options)
    stderr = np.array([p.stderr if p.stderr else 1.0 for p in right.params.values()])
    assert found.success and found.jac_method == "2-point"
    return found, counted.calls, (found.x - right.x) / stderr


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy"])
def test_robust_fits_by_name(loss):
    y = data(raised, [3.0, 0.7, 0.5]) + np.where(np.arange(X.size) % 9 == 0, 1.0, 0.0)
    found, calls, pulls = both_fits(raised, y, [1.1, 1.0, 0.3], loss=loss, f_scale=0.1)
    assert calls - 2 < found.nfev + 2 * found.njev + 3  # `fit` itself takes two
    np.testing.assert_allclose(pulls, 0.0, atol=1e-5)


@pytest.mark.parametrize("fixed, spares", [({"c": 0.0}, True), ({"c": 0.5}, False), ({"a": 3.0}, False)])
def test_what_is_fixed_is_no_member(fixed, spares):
    y = data(raised, [3.0, 0.7, fixed.get("c", 0.5)])
    found, calls, pulls = both_fits(raised, y, [1.1, 1.0, 0.3], fixed=fixed)
    np.testing.assert_allclose(pulls, 0.0, atol=1e-6)
    if "a" not in fixed:  # else the offset is constant
        assert calls - 2 == found.nfev + (found.njev + 2 if spares else 2 * found.njev)


def test_counts_have_no_such_set():
    y = np.random.default_rng(0).poisson(raised(X, 30.0, 0.7, 5.0)).astype(float)
    _, _, pulls = both_fits(raised, y, [20.0, 1.0, 3.0], cost="poisson")
    np.testing.assert_allclose(pulls, 0.0, atol=1e-5)
