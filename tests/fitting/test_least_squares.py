"""least_squares() against scipy's, and its contract."""

import math

import numba
import numpy as np
import pytest
import scipy.optimize as so

from nbopt.fitting.least_squares import least_squares

T = np.linspace(0.0, 4.0, 30)
RNG = np.random.default_rng(7)
NOISE = 0.05 * RNG.normal(size=T.size)
OUTLIERS = NOISE + np.where(np.arange(T.size) % 7 == 3, 1.5, 0.0)


@numba.njit
def rosenbrock(x):
    return np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


@numba.njit
def decay(x, t, y):
    return x[0] * np.exp(-x[1] * t) + x[2] - y


@numba.njit
def decay_jac(x, t, y):
    jac = np.empty((t.size, 3))
    jac[:, 0] = np.exp(-x[1] * t)
    jac[:, 1] = -x[0] * t * jac[:, 0]
    jac[:, 2] = 1.0
    return jac


def powell(x):
    return np.array(
        [x[0] + 10 * x[1], 5**0.5 * (x[2] - x[3]), (x[1] - 2 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2]
    )


def freudenstein_roth(x):
    return np.array(
        [-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]]
    )


def helix(x):
    theta = math.atan2(x[1], x[0]) / (2 * math.pi)
    return np.array([10 * (x[2] - 10 * theta), 10 * (math.hypot(x[0], x[1]) - 1), x[2]])


def bard(x):
    u = np.arange(1.0, 16.0)
    v, y = 16 - u, [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.1, 4.39]
    return np.array(y) - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


def beale(x):
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** np.arange(1, 4))


def linear(x):
    return np.arange(12.0).reshape(6, 2) @ x - np.ones(6)


def wide(x):
    return np.array([x[0] + x[1] + x[2] - 1.0])


DATA = T, 2.0 * np.exp(-1.3 * T) + 0.5 + NOISE
PROBLEMS = {
    "rosenbrock": (rosenbrock.py_func, [-1.2, 1.0]),
    "decay": (lambda x: decay.py_func(x, *DATA), [1.0, 1.0, 1.0]),
    "powell": (powell, [3.0, -1.0, 0.0, 1.0]),
    "helix": (helix, [-1.0, 0.0, 0.0]),
    "bard": (bard, [1.0, 1.0, 1.0]),
    "beale": (beale, [1.0, 1.0]),
    "freudenstein": (freudenstein_roth, [0.5, -2.0]),
    "linear": (linear, [0.0, 0.0]),
    "wide": (wide, [0.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_the_minimum_is_scipys(name, method):
    fun, x0 = PROBLEMS[name]
    if method == "lm" and name == "wide":
        with pytest.raises(ValueError, match=r"doesn't work when the number of residuals \(1\) is less"):
            least_squares(fun, x0, method=method)
        return
    tight = {"ftol": 1e-12, "xtol": 1e-12, "gtol": 1e-12, "max_nfev": 1000}
    ours = least_squares(fun, x0, method=method, **tight)
    theirs = so.least_squares(fun, x0, method=method, **tight)
    assert ours.success and ours.status in (1, 2, 3, 4)
    assert ours.cost <= theirs.cost * (1 + 1e-6) + 1e-8
    assert ours.nfev <= 2 * theirs.nfev + 5
    if name not in ("powell", "wide"):  # there the minimum is flat, or no point
        np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-5, atol=1e-6)


BOXES = {
    "rosenbrock": ([-1.5, 1.5], [0.5, 3.0]),
    "decay": ([0.0, 0.0, 0.6], [1.8, 5.0, 2.0]),
    "bard": ([0.1, 0.0, 0.0], [5.0, 1.0, 2.0]),
    "beale": ([0.0, 0.0], [2.5, 2.0]),
    "linear": ([-1.0, -1.0], [0.1, 0.1]),
}


@pytest.mark.parametrize("name", BOXES)
def test_with_bounds_the_minimum_is_scipys_and_kkt_holds(name):
    fun, x0 = PROBLEMS[name]
    lower, upper = map(np.array, BOXES[name])
    x0 = np.clip(x0, lower, upper)
    ours = least_squares(fun, x0, bounds=(lower, upper), ftol=1e-12, xtol=1e-12, gtol=1e-10)
    theirs = so.least_squares(
        fun, 0.5 * (x0 + np.clip(x0, lower + 0.01, upper - 0.01)), bounds=(lower, upper)
    )
    assert ours.success and ours.cost <= theirs.cost * (1 + 1e-6) + 1e-12
    assert ((ours.x >= lower) & (ours.x <= upper)).all()
    np.testing.assert_array_equal(
        ours.active_mask, np.where(ours.x == lower, -1, np.where(ours.x == upper, 1, 0))
    )
    free = np.where(ours.active_mask == 0, ours.grad, 0.0)
    np.testing.assert_allclose(free, 0.0, atol=1e-5)
    assert (ours.grad * ours.active_mask <= 1e-9).all()
    assert ours.optimality <= 1e-5


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
@pytest.mark.parametrize("f_scale", [0.1, 1.0])
def test_robust_losses_give_scipys_result(loss, f_scale):
    y = DATA[1] + OUTLIERS
    tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-10, "loss": loss, "f_scale": f_scale, "max_nfev": 2000}
    start = [2.0, 1.0, 0.5]
    ours = least_squares(decay, start, args=(T, y), **tight)
    theirs = so.least_squares(decay, start, decay_jac, args=(T, y), **tight)
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6)
    np.testing.assert_allclose(ours.cost, theirs.cost, rtol=1e-10)
    np.testing.assert_allclose(ours.jac, theirs.jac, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.fun, theirs.fun, rtol=1e-5, atol=1e-6)


def test_a_loss_may_be_a_function():
    def rho(z):
        return np.array([np.log1p(z), 1 / (1 + z), -1 / (1 + z) ** 2])

    args = T, DATA[1] + OUTLIERS
    ours = least_squares(decay, [2.0, 1.0, 0.5], args=args, loss=rho, f_scale=0.2)
    named = least_squares(decay, [2.0, 1.0, 0.5], args=args, loss="cauchy", f_scale=0.2)
    np.testing.assert_allclose(ours.x, named.x, rtol=1e-10)
    np.testing.assert_allclose(ours.jac, named.jac, rtol=1e-10)
    assert ours.jac_method == "dual"


@pytest.mark.parametrize(
    "jac", [None, "auto", "dual", "2-point", "3-point", "cs", decay_jac, decay_jac.py_func]
)
@pytest.mark.parametrize("compiled", [True, False])
def test_every_kind_of_jacobian_comes_to_the_same(jac, compiled):
    fun = decay if compiled else decay.py_func
    if jac == "dual" and not compiled:
        with pytest.raises(ValueError, match="jac='dual' needs fun compiled"):
            least_squares(fun, [1.0, 1.0, 1.0], jac, args=DATA)
        return
    res = least_squares(fun, [1.0, 1.0, 1.0], jac, args=DATA, xtol=1e-12, ftol=1e-12)
    auto = "dual" if compiled else "2-point"
    assert res.jac_method == ("user" if callable(jac) else auto if jac in (None, "auto") else jac)
    best = so.least_squares(decay, [1.0, 1.0, 1.0], decay_jac, args=DATA, xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(res.x, best.x, rtol=1e-6)
    np.testing.assert_allclose(res.jac, best.jac, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(res.grad, res.jac.T @ res.fun)
    np.testing.assert_allclose(res.cost, 0.5 * res.fun @ res.fun)


def test_the_fields_and_their_types_are_scipys():
    ours, theirs = least_squares(rosenbrock, [-1.2, 1.0]), so.least_squares(rosenbrock, [-1.2, 1.0])
    assert set(theirs) <= set(ours)
    assert all(np.shape(ours[k]) == np.shape(theirs[k]) for k in theirs)
    assert isinstance(ours.nfev, int) and isinstance(ours.cost, float) and ours.success is True
    assert {-2, 0, 1, 2, 3, 4} >= {ours.status}


@pytest.mark.parametrize("compiled", [True, False])
def test_statuses(compiled):
    fun = rosenbrock if compiled else rosenbrock.py_func
    for changes, status, message in (
        ({"max_nfev": 3}, 0, "The maximum number of function evaluations is exceeded."),
        ({"ftol": None, "xtol": None}, 1, "`gtol` termination condition is satisfied."),
        ({"ftol": 0.9, "xtol": None, "gtol": None}, 2, "`ftol` termination condition is satisfied."),
        ({"ftol": None, "xtol": 0.9, "gtol": None}, 3, "`xtol` termination condition is satisfied."),
    ):
        res = least_squares(fun, [-1.2, 1.0], **changes)
        assert (res.status, res.message, res.success) == (status, message, status > 0)
        assert res.nfev <= 3 or status != 0
        np.testing.assert_allclose(fun(res.x), res.fun)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_callback_sees_the_iterates_and_stops(compiled):
    fun, seen = rosenbrock if compiled else rosenbrock.py_func, []

    def callback(intermediate_result):
        seen.append(intermediate_result.cost)
        if len(seen) == 3:
            raise StopIteration

    res = least_squares(fun, [-1.2, 1.0], callback=callback)
    assert (res.status, res.success, res.nit) == (-2, False, 3)
    assert seen == sorted(seen, reverse=True) and seen[-1] == res.cost
    points = []
    res = least_squares(fun, [-1.2, 1.0], callback=lambda x: points.append(x))
    assert res.success and len(points) == res.nit
    np.testing.assert_array_equal(points[-1], res.x)
    with pytest.warns(UserWarning, match="not supported with `lm`"):
        least_squares(fun, [-1.2, 1.0], method="lm", callback=print)


def test_verbose_prints(capsys):
    least_squares(rosenbrock, [-1.2, 1.0], verbose=1)
    assert "termination condition is satisfied" in capsys.readouterr().out
    res = least_squares(rosenbrock, [-1.2, 1.0], verbose=2)
    assert len(capsys.readouterr().out.splitlines()) == res.nit + 3


def test_scales_and_named_arguments():
    plain = least_squares(decay.py_func, [1.0, 1.0, 1.0], kwargs={"t": T, "y": DATA[1]})
    for x_scale in ("jac", 2.0, [1.0, 0.1, 10.0]):
        res = least_squares(decay, [1.0, 1.0, 1.0], args=DATA, x_scale=x_scale)
        np.testing.assert_allclose(res.x, plain.x, rtol=1e-5)
    units = np.array([1e-8, 1.0, 1e8])
    scaled = least_squares(lambda x: decay(x * units, *DATA), 1.0 / units, x_scale="jac")
    np.testing.assert_allclose(scaled.x * units, plain.x, rtol=1e-5)


def test_arguments_without_a_native_form_go_through_python():
    @numba.njit
    def fun(x, pairs):
        return np.array([x[0] - pairs[0], x[1] - pairs[1]])

    res = least_squares(fun, [0.0, 0.0], args=(numba.typed.List([1.0, 2.0]),))
    np.testing.assert_allclose(res.x, [1.0, 2.0])


def test_trial_points_that_are_not_finite_are_too_far():
    def fun(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array([np.log(x[0]), 0.1 * (x[0] - 2.0)])

    res = least_squares(fun, [30.0])
    assert res.success and np.isfinite(res.x).all()
    np.testing.assert_allclose(res.grad, 0.0, atol=1e-5)


def test_a_jacobian_that_is_not_finite_is_too_far():
    def jac(x):
        return np.array([[np.nan]]) if 0 < x[0] < 0.9 else np.array([[2 * x[0]]])

    res = least_squares(lambda x: x**2 - 1.0, [3.0], jac)
    assert res.success
    np.testing.assert_allclose(res.x, 1.0, rtol=1e-6)


def test_the_function_may_write_to_x():
    @numba.njit
    def fun(x):
        x[0] -= 2.0
        return x * np.array([1.0, 3.0])

    for f in (fun, fun.py_func):
        for jac in ("2-point", "3-point"):
            np.testing.assert_allclose(least_squares(f, [5.0, 1.0], jac).x, [2.0, 0.0], atol=1e-7)


def test_an_error_in_the_function_reaches_the_caller():
    @numba.njit
    def fun(x):
        if x[0] < 2.0:
            raise ValueError("too small")
        return x - 1.0

    with pytest.raises(ValueError, match="too small"):
        least_squares(fun, [3.0])
    with pytest.raises(ValueError, match="too small"):
        least_squares(fun.py_func, [3.0])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"method": "newton"}, "method='newton' must be"),
        ({"jac": "exact"}, "jac='exact' must be"),
        ({"loss": "l1"}, "loss='l1' must be one of"),
        ({"loss": "hubber"}, r"or a callable; did you mean 'huber'\?"),
        ({"method": "dogbx"}, r"'lm'; did you mean 'dogbox'\?"),
        ({"jac": "2point"}, r"or callable; did you mean '2-point'\?"),
        ({"loss": "huber", "method": "lm"}, "supports only 'linear' loss"),
        ({"f_scale": 0.0}, r"f_scale=0.0 must be a number in \(0, inf\)"),
        ({"verbose": 5}, "verbose=5 must be in"),
        ({"max_nfev": 0}, "max_nfev=0 must be None or positive"),
        ({"x0": [[1.0, 2.0]]}, "x0 has shape"),
        ({"x0": []}, "x0 is empty"),
        ({"x0": [1.0, np.nan]}, r"x0\[1\]=nan must be finite"),
        ({"x0": [1j, 0]}, "must be real numbers"),
        ({"x0": "1,2"}, "least_squares: x0 has dtype <U3; it must be real numbers"),
        ({"x0": {"a": 1.0}}, "least_squares: x0 holds {'a': 1.0}; it must be real numbers"),
        ({"bounds": (1,)}, "bounds must contain 2 elements"),
        ({"bounds": ([0, 0, 0], 5)}, "Inconsistent shapes between bounds"),
        ({"bounds": ([0, 5], [5, 5])}, r"strictly less than each upper bound; those of x0\[1\]"),
        ({"bounds": ([0, 2], [5, 5])}, r"x0\[1\]=1.0 must lie in \[2.0, 5.0\]"),
        ({"bounds": (0, 5), "method": "lm"}, "'lm' doesn't support bounds"),
        ({"x_scale": -1.0}, "x_scale=-1.0 must be 'jac' or"),
        ({"x_scale": [1.0, 1.0, 1.0]}, "Inconsistent shapes between x_scale and x0"),
        ({"ftol": -1.0}, "ftol=-1.0 must be"),
        ({"ftol": None, "xtol": None, "gtol": None}, "At least one of the tolerances"),
        ({"ftol": None, "method": "lm"}, "All tolerances must be higher"),
        ({"jac_sparsity": np.eye(2)}, "jac_sparsity is not supported"),
        ({"tr_solver": "cg"}, "tr_solver='cg' must be"),
        ({"jac": lambda x: np.ones((3, 3))}, r"wrong shape: expected \(2, 2\), actual \(3, 3\)"),
        ({"fun": lambda x: np.ones((2, 2))}, "must return at most 1-d array_like"),
        ({"fun": lambda x: np.array([1.0, np.inf])}, "not finite in the initial point: residual 1 is inf"),
        ({"jac": lambda x: np.array([[1.0, np.nan], [1, 1]])}, "residual 0 by variable 1 is nan"),
    ],
)
def test_bad_input_gets_a_sentence(changes, words):
    given = {"fun": rosenbrock.py_func, "x0": [1.0, 1.0], **changes}
    with pytest.raises(ValueError, match=words):
        least_squares(**given)


def test_the_shape_of_a_compiled_jacobian_is_named():
    with pytest.raises(ValueError, match=r"wrong shape: expected \(2, 2\), actual \(3, 2\)"):
        least_squares(rosenbrock, [1.0, 1.0], jac=numba.njit(lambda x: np.ones((3, 2))))


def test_a_fun_that_is_no_function():
    with pytest.raises(TypeError, match="fun=3 must be callable"):
        least_squares(3, [1.0])


def test_a_tolerance_below_rounding_warns():
    with pytest.warns(UserWarning, match="Setting `ftol` below the machine epsilon"):
        assert least_squares(rosenbrock, [1.0, 1.0], ftol=0.0).success
