"""value_and_grad() and jacobian(): twenty functions against mpmath, what users may and may not write."""

import math
import threading

import numpy as np
import pytest
from numba import njit, prange

from nbopt.autodiff.gradient import Jacobian, ValueAndGrad, as_line, jacobian, value_and_grad


def rosenbrock(x):
    s = 0.0
    for i in range(x.size - 1):
        s += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return s


def powell_singular(x):
    a, b = x[0] + 10 * x[1], x[2] - x[3]
    return a**2 + 5 * b**2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4


def helical_valley(x):
    turn = math.atan2(x[1], x[0]) / (2 * math.pi)
    return 100 * ((x[2] - 10 * turn) ** 2 + (math.hypot(x[0], x[1]) - 1) ** 2) + x[2] ** 2


def beale(x):
    s = 0.0
    for y, i in ((1.5, 1), (2.25, 2), (2.625, 3)):
        s += (y - x[0] * (1 - x[1] ** i)) ** 2
    return s


def wood(x):
    a, b = x[1] - x[0] * x[0], x[3] - x[2] * x[2]
    return (
        100 * a**2 + (1 - x[0]) ** 2 + 90 * b**2 + (1 - x[2]) ** 2
        + 10.1 * ((x[1] - 1) ** 2 + (x[3] - 1) ** 2) + 19.8 * (x[1] - 1) * (x[3] - 1)
    )  # fmt: skip


def box_three_dimensional(x):
    s = 0.0
    for i in range(1, 11):
        t = 0.1 * i
        s += (math.exp(-t * x[0]) - math.exp(-t * x[1]) - x[2] * (math.exp(-t) - math.exp(-10 * t))) ** 2
    return s


def brown_badly_scaled(x):
    return (x[0] - 1e6) ** 2 + (x[1] - 2e-6) ** 2 + (x[0] * x[1] - 2) ** 2


def branin(x):
    a = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return a**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10


def ackley(x):
    s, c = 0.0, 0.0
    for v in x:
        s += v * v
        c += math.cos(2 * math.pi * v)
    n = len(x)
    return -20 * math.exp(-0.2 * math.sqrt(s / n)) - math.exp(c / n) + 20 + math.e


def trigonometric(x):
    n, s, cosines = len(x), 0.0, 0.0
    for v in x:
        cosines += math.cos(v)
    for i in range(n):
        s += (n - cosines + (i + 1) * (1 - math.cos(x[i])) - math.sin(x[i])) ** 2
    return s


def goldstein_price(x):
    a, b = x[0], x[1]
    p = 19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2
    q = 18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2
    return (1 + (a + b + 1) ** 2 * p) * (30 + (2 * a - 3 * b) ** 2 * q)


def lennard_jones(x):
    s = 0.0
    for i in range(3):
        for j in range(i):
            r2 = 0.0
            for k in range(2):
                r2 += (x[2 * i + k] - x[2 * j + k]) ** 2
            s += 1 / r2**6 - 2 / r2**3
    return s


def poisson_likelihood(x):
    s = 0.0
    for t, k in ((0.5, 3.0), (1.5, 2.0), (2.5, 1.0)):
        rate = x[0] * math.exp(-t / x[1]) + x[2]
        s += rate - k * math.log(rate) + math.lgamma(k + 1)
    return s


def student_likelihood(x):
    s = 0.0
    for y in (0.3, -1.2, 4.0):
        z, nu = (y - x[0]) / x[1], x[2]
        s += math.lgamma(nu / 2) - math.lgamma((nu + 1) / 2) + math.log(x[1]) + 0.5 * math.log(nu)
        s += (nu + 1) / 2 * math.log1p(z**2 / nu)
    return s


def newton_root(x):
    r = 1.0
    while abs(r**3 - x[0]) > 1e-13 * abs(x[0]):
        r = r - (r**3 - x[0]) / (3 * r**2)
    return r * x[1]


def huber(x):
    s = 0.0
    for y in (0.1, -3.0, 2.5):
        r = y - x[0]
        if abs(r) <= x[1]:
            s += r**2 / 2
        else:
            s += x[1] * (abs(r) - x[1] / 2)
    return s


def continued_fraction(x):
    y = x[1]
    for i in range(8, 0, -1):
        y = i + x[0] / (x[1] + y)
    return math.sqrt(y)


def logistic_map(x):
    y = x[0]
    for _ in range(6):
        y = x[1] * y * (1 - y)
    return y


def error_function_step(x):
    return x[0] / 2 * (1 + math.erf((0.7 - x[1]) / (x[2] * math.sqrt(2)))) + math.erfc(x[1]) * math.tanh(x[2])


def power_law(x):
    if x[0] < 0:
        return x[0]
    y = x[0] * 2.5 ** x[1] + x[2] ** 1.5 + x[0] ** x[2] - max(x[0], x[1], x[2]) * min(x[0], 1.0)
    return y % 3.0


CASES = [
    (rosenbrock, (-1.2, 1.0)),
    (rosenbrock, (-1.2, 1.0, 0.3, 2.0, -0.7)),
    (powell_singular, (3.0, -1.0, 0.5, 1.0)),
    (helical_valley, (-1.0, 0.25, 0.5)),
    (beale, (1.0, 0.8)),
    (wood, (-3.0, -1.0, -2.5, 0.5)),
    (box_three_dimensional, (0.7, 9.0, 1.5)),
    (brown_badly_scaled, (1.0, 1.0)),
    (branin, (-2.5, 11.0)),
    (ackley, (0.9, -0.4, 0.3)),
    (trigonometric, (0.2, 0.25, 0.4, 0.1, -0.3, 0.6)),
    (goldstein_price, (0.3, -0.6)),
    (lennard_jones, (0.1, 0.0, 1.1, 0.2, 0.4, 0.9)),
    (poisson_likelihood, (4.0, 1.3, 0.5)),
    (student_likelihood, (0.2, 1.4, 3.3)),
    (newton_root, (7.0, 2.0)),
    (huber, (0.35, 1.1)),
    (continued_fraction, (1.3, 0.8)),
    (logistic_map, (0.3, 3.4)),
    (error_function_step, (2.0, 0.4, 0.8)),
    (power_law, (0.8, 1.7, 2.2)),
]
IDS = [f"{fun.__name__}-{len(x)}" for fun, x in CASES]


@pytest.mark.parametrize(("fun", "x"), CASES, ids=IDS)
def test_scalar_functions_against_mpmath(fun, x):
    from multiprecision import derivatives

    value, expected = derivatives(fun, x)
    f, g = value_and_grad(njit(fun))(x)
    assert f == pytest.approx(float(value), rel=1e-14)
    # A partial that is a difference of larger terms is as good as these: one part in 1e14 of the largest.
    np.testing.assert_allclose(g, expected, rtol=1e-14, atol=1e-15 * np.abs(expected).max())


GLOBAL_SCALE = 3.0
GLOBAL_DATA = np.array([1.0, 2.0, 4.0])


@njit("float64(float64, float64)")
def signed(a, b):
    return a * math.exp(-b)


@njit
def fill(out, x):
    for i in range(out.size):
        out[i] = x[0] * i + x[1]


@njit
def factorial_like(x, n):
    if n == 0:
        return x
    return x * factorial_like(x, n - 1)


def test_by_hand():
    @njit
    def fun(x):
        return x[0] ** 3 * x[1] + math.sin(x[1])

    f, g = value_and_grad(fun)([2.0, 0.0])
    assert (f, g.tolist()) == (0.0, [0.0, 9.0])
    assert type(f) is float and g.dtype == np.float64 and g.shape == (2,)


def test_globals_closures_signatures_recursion_and_callees_that_store():
    factor = 0.5

    @njit
    def fun(x):
        def inner(v):
            return v * factor

        out = np.empty(3)
        fill(out, x)
        return (
            inner(x[0]) * GLOBAL_SCALE
            + signed(x[0], x[1])
            + factorial_like(x[0], 2)
            + np.sum(out * GLOBAL_DATA)
        )

    f, g = value_and_grad(fun)([2.0, 0.5])
    assert f == 2 * 0.5 * 3 + 2 * math.exp(-0.5) + 8 + (0.5 + 2.5 * 2 + 4.5 * 4)
    np.testing.assert_allclose(g, [1.5 + math.exp(-0.5) + 12 + 10, -2 * math.exp(-0.5) + 7], rtol=1e-15)


def test_arguments_of_every_kind():
    @njit
    def fun(x, t, n, flag, pair, whole, image, single, model):
        s = 0.0
        for i in range(n):
            s += model(x, t[i]) * single[i] + whole[i] * x[0] + image[i, 1] * x[1]
        return s * pair[0] if flag else s + pair[1][0]

    @njit
    def line(x, t):
        return x[0] + x[1] * t

    t, whole, image = np.array([1.0, 3.0]), np.array([2, 5]), np.array([[0.0, 1.0], [0.0, 7.0]])
    args = (t, 2, True, (2, (0.5, 1)), whole, image, np.array([0.5, 0.25], np.float32), line)
    f, g = value_and_grad(fun)([1.0, 10.0], *args)
    assert g.tolist() == [2 * (0.75 + 7), 2 * (0.5 + 0.75 + 8)]
    assert f == g[0] + 10 * g[1]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 9, 16, 17, 40])
def test_any_number_of_variables(n):
    @njit
    def fun(x):
        s = 0.0
        for i in range(x.size):
            s += (i + 1) * x[i] ** 2
            x[i] = 0.0
        return s

    x = np.linspace(-1, 1, n)
    f, g = value_and_grad(fun)(x)
    np.testing.assert_array_equal(x, np.linspace(-1, 1, n))  # fun writes to a copy
    np.testing.assert_allclose(g, 2 * np.arange(1, n + 1) * x, rtol=1e-15)
    assert f == pytest.approx(0.5 * g @ x, rel=1e-14)


@pytest.mark.parametrize("n", [2, 20])
def test_jacobian_of_arrays_tuples_and_lists(n):
    @njit
    def array(x, t):
        return x[0] * t + x[1] * t**2

    @njit
    def items(x, t):
        return x[0] * t[0] + x[1], x[0] * t[1], 7

    @njit
    def listed(x, t):
        return [x[1] * v for v in t]

    x, t = np.linspace(1, 2, n), np.array([1.0, 2.0, 4.0])
    jac = jacobian(array)(x, t)
    assert jac.shape == (3, n) and jac.dtype == np.float64
    np.testing.assert_array_equal(jac[:, :2], np.stack((t, t**2), axis=1))
    assert jacobian(items)(x, t)[:, :2].tolist() == [[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]
    assert jacobian(listed)(x, t)[:, :2].tolist() == [[0.0, 1.0], [0.0, 2.0], [0.0, 4.0]]
    assert (jac[:, 2:] == 0).all()


def test_what_does_not_depend_on_x_has_the_slope_0():
    @njit
    def fun(x, t):
        return 3

    @njit
    def residuals(x, t):
        return t * 2

    f, g = value_and_grad(fun)([1.0, 2.0], np.ones(3))
    assert type(f) is float and (f, g.tolist()) == (3.0, [0.0, 0.0])
    assert jacobian(residuals)([1.0, 2.0], np.ones(3)).tolist() == [[0.0, 0.0]] * 3


def test_in_compiled_code():
    @njit
    def fun(x, t):
        return x[0] * t[0] + x[1] ** 2 * t[1]

    @njit
    def residuals(x, t):
        return x[1] * t[0] + x[0], x[1] * t[1] + x[0]

    both, fixed, jac = value_and_grad(fun), value_and_grad(fun, 2), jacobian(residuals, n=2)

    @njit
    def descend(x, t, steps):
        for _ in range(steps):
            f, g = both(x, t)
            for i in range(x.size):
                x[i] -= 0.1 * g[i]
        return f, fixed(x, t)[1], jac(x, t)

    f, g, rows = descend(np.array([1.0, 2.0]), (0.0, 1.0), 2)
    assert f == pytest.approx(1.6**2) and g.tolist() == [0.0, pytest.approx(2 * 1.28)]
    assert rows.tolist() == [[1.0, 0.0], [1.0, 1.0]]

    @njit
    def apply(function, x, t):  # as an argument
        return function(x, t)[1]

    assert apply(fixed, np.array([1.0, 2.0]), (0.5, 1.0)).tolist() == [0.5, 4.0]


def test_in_parallel_code_and_in_threads():
    @njit
    def fun(x):
        return math.exp(x[0]) * x[1] + x[2]

    g = value_and_grad(fun, 3)

    @njit(parallel=True)
    def rows(points):
        out = np.empty(points.shape)
        for i in prange(points.shape[0]):
            out[i] = g(points[i])[1]
        return out

    points = np.random.default_rng(0).normal(size=(64, 3))
    a, b, _ = points.T
    expected = np.stack((np.exp(a) * b, np.exp(a), np.ones(64)), axis=1)
    np.testing.assert_allclose(rows(points), expected, rtol=1e-14)

    found = np.empty_like(points)

    def work(k):
        for i in range(k, 64, 4):
            found[i] = g(points[i])[1]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_exceptions_of_the_user_s_function_pass():
    @njit
    def fun(x):
        if x[0] < 0:
            raise ValueError("x[0] is negative")
        return math.sqrt(x[0])

    g = value_and_grad(fun)
    with pytest.raises(ValueError, match=r"x\[0\] is negative"):
        g([-1.0])
    assert g([4.0])[1].tolist() == [0.25]


def test_x_of_any_kind_and_layout():
    @njit
    def fun(x):
        return x[0] * x[1]

    g = value_and_grad(fun)
    for x in (
        [2, 3],
        (2.0, 3.0),
        np.array([2, 3], np.int32),
        np.array([2.0, 0.0, 3.0])[::2],
        np.float32([2, 3]),
    ):
        f, slope = g(x)
        assert (f, slope.tolist()) == (6.0, [3.0, 2.0])


def test_objects_say_what_they_are():
    @njit
    def fun(x):
        return x[0]

    assert repr(value_and_grad(fun)) == "value_and_grad(fun)" and repr(jacobian(fun)) == "jacobian(fun)"
    assert isinstance(value_and_grad(fun), ValueAndGrad) and isinstance(jacobian(fun), Jacobian)
    assert value_and_grad(fun).fun is fun and value_and_grad(fun, 3).n == 3


def test_as_line():
    line = np.array([1.0, 2.0])
    assert as_line(line, None, "f") is line
    assert as_line([1, 2], 2, "f").tolist() == [1.0, 2.0]
