"""The L-BFGS-B engine and minimize() with bounds, against scipy's L-BFGS-B and their own promises."""

import numpy as np
import pytest
import scipy.optimize
from bounded_problems import INF, PROBLEMS, quadratic
from classic_problems import rosenbrock
from fresh_process import run_python
from numba import njit
from scipy.optimize import LbfgsInvHessProduct

from nbopt.solvers import lbfgs, lbfgsb
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP
from nbopt.solvers.minimize import minimize
from nbopt.solvers.options import Options

TIGHT = {"ftol": 0.0, "gtol": 1e-7}
CONVERGED = (lbfgs.SMALL_GRADIENT, lbfgs.SMALL_REDUCTION, lbfgs.FLAT)


def drive(fun, x0, lower, upper, args=(), pause=False, seen=None, **options):
    """Run the engine to its end, every point checked; note tasks and iterates in `seen`."""
    x0 = np.asarray(x0, float)
    lower, upper = np.broadcast_to(lower, x0.shape), np.broadcast_to(upper, x0.shape)
    w = lbfgsb.Workspace(x0, Options(**options), 1, pause, lower, upper)
    task, f = EVALUATE, 0.0
    while task != STOP:
        assert np.isfinite(w.x).all()
        assert (lower <= w.x).all() and (w.x <= upper).all()
        if task == EVALUATE:
            f, w.g[...] = fun(w.x.copy(), *args)
        if seen is not None:
            seen.append((task, w.x.copy(), w.f))
        task = lbfgsb.advance(f, w.work, w.counts)
    assert (lower <= w.x).all() and (w.x <= upper).all()
    return w


def scipys(p, x0, **options):
    """Return scipy's result on a problem."""
    bounds = scipy.optimize.Bounds(p.lower, p.upper)
    return scipy.optimize.minimize(
        p.fun, x0, p.args, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )


def active(x, p):
    """Return -1 where x is at its lower bound, 1 at its upper, else 0."""
    return (x == p.upper) * 1 - (x == p.lower) * 1


def assert_kkt(x, g, lower, upper, tolerance):
    """Assert the conditions of first order: no slope off the bounds, none into the box on them."""
    fixed, low, high = lower == upper, x == lower, x == upper
    off = ~low & ~high
    assert (abs(g[off]) <= tolerance).all()
    assert (g[low & ~fixed] >= -tolerance).all()
    assert (g[high & ~fixed] <= tolerance).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_same_minimum_and_same_active_set_as_scipy(name):
    p = PROBLEMS[name]
    theirs = scipys(p, p.x0, **TIGHT)
    w = drive(p.fun, p.x0, p.lower, p.upper, p.args, **TIGHT)
    assert w.counts[lbfgs.REASON] in CONVERGED
    assert w.f <= theirs.fun + 1e-9 * max(1.0, abs(theirs.fun))
    np.testing.assert_array_equal(active(w.x, p), active(theirs.x, p))
    f, g = p.fun(w.x, *p.args)
    assert f == w.f
    np.testing.assert_array_equal(g, w.g)
    if w.counts[lbfgs.REASON] == lbfgs.SMALL_GRADIENT:
        assert_kkt(w.x, g, p.lower, p.upper, TIGHT["gtol"])


def test_no_more_evaluations_than_scipy_in_total():
    ours = theirs = 0
    rng = np.random.default_rng(5)
    for p in PROBLEMS.values():
        # a few starts each: on hard problems one start is a matter of luck for either
        for k in range(8):
            x0 = np.clip(p.x0 * (1.0 + 0.01 * k * rng.normal(size=p.x0.size)), p.lower, p.upper)
            w, scipy_ = drive(p.fun, x0, p.lower, p.upper, p.args), scipys(p, x0)
            if abs(w.f - scipy_.fun) <= 1e-6 * max(1.0, abs(w.f)):  # not two different minima
                ours += int(w.counts[lbfgs.NFEV])
                theirs += scipy_.nfev
    assert ours <= theirs


@pytest.mark.parametrize(
    "name", ["HS2", "HS45", "wood", "box 20, condition 100", "rosenbrock 25, every other above 1.01"]
)
def test_compiled_python_and_hand_driven_runs_agree_in_every_bit(name):
    p = PROBLEMS[name]
    bounds = scipy.optimize.Bounds(p.lower, p.upper)
    w = drive(p.fun, p.x0, p.lower, p.upper, p.args)
    for fun in (p.fun, lambda *a: p.fun(*a)):
        res = minimize(fun, p.x0, p.args, jac=True, bounds=bounds)
        np.testing.assert_array_equal(res.x, w.x)
        np.testing.assert_array_equal(res.jac, w.g)
        counts = res.fun, res.nfev, res.nit
        assert counts == (w.f, w.counts[lbfgs.NFEV], w.counts[lbfgs.NIT])
        assert "projected gradient" in res.message or "relative reduction" in res.message


@njit
def guarded(x, lower, upper, center):
    for k in range(x.size):
        if not lower[k] <= x[k] <= upper[k]:
            raise ValueError("outside")
    return ((x - center) ** 2).sum() + x[0] * x[2]


@njit
def guarded_with_gradient(x, lower, upper, center):
    f = guarded(x, lower, upper, center)
    g = 2.0 * (x - center)
    g[0] += x[2]
    g[2] += x[0]
    return f, g


@pytest.mark.parametrize("jac", [True, None, "2-point", "3-point"])
@pytest.mark.parametrize("width", [2.0, 1e-3, 1e-9, 1e-15])
def test_no_point_outside_the_bounds_is_ever_evaluated(jac, width):
    fun = guarded_with_gradient if jac is True else guarded
    center = np.array([3.0, -3.0, 3.0, 5.0])
    lower, upper = np.array([0.0, -1.0, -INF, 5.0]), np.array([width, INF, 0.1, 5.0])
    for f in (fun, lambda *a: fun(*a)):
        for x0 in (np.array([0.0, -1.0, 0.1, 5.0]), np.array([width, 3.0, -7.0, 5.0])):
            res = minimize(f, x0, (lower, upper, center), jac=jac, bounds=np.column_stack([lower, upper]))
            assert res.success
            assert res.x[0] == width or width < 1e-5  # then gtol is satisfied anywhere
            np.testing.assert_array_equal(res.x[1:], [-1.0, 0.1, 5.0])


def test_starts_at_a_bound_and_in_corners():
    for x0 in ([0.5, 0.0], [0.5, 2.0], [-1.0, 0.0], [-1.0, 2.0], [0.0, 0.0]):
        w = drive(rosenbrock, x0, [-1.0, 0.0], [0.5, 2.0], **TIGHT)
        np.testing.assert_allclose(w.x, [0.5, 0.25], atol=1e-7)
        assert w.x[0] == 0.5
    w = drive(rosenbrock, [1.0, 1.0], [-3.0, -3.0], [1.0, 1.0])  # there already
    assert (w.counts[lbfgs.NFEV], w.counts[lbfgs.REASON]) == (1, lbfgs.SMALL_GRADIENT)
    w = drive(lambda x: (-x.sum(), -np.ones(2)), [2.0, 2.0], 0.0, 2.0)  # pressed into its corner
    assert (w.counts[lbfgs.NFEV], w.counts[lbfgs.REASON]) == (1, lbfgs.SMALL_GRADIENT)


def test_linear_functions_end_in_a_corner():
    c = np.array([1.0, -2.0, 3.0, -1e-3])
    w = drive(lambda x: (c @ x, c), np.full(4, 0.3), [-1.0, -1.0, 0.0, -2.0], [4.0, 5.0, 1.0, 2.0])
    np.testing.assert_array_equal(w.x, [-1.0, 5.0, 0.0, 2.0])
    assert w.counts[lbfgs.NFEV] <= 12


@pytest.mark.parametrize("hole", [np.nan, np.inf, 7.0])
def test_fixed_variables_stay_and_do_not_matter(hole):
    def fun(x):
        f, g = rosenbrock(x[[0, 1, 3, 4]])
        return f, np.array([g[0], g[1], hole, g[2], g[3]])

    fixed = np.array([False, False, True, True, False])
    lower = np.where(fixed, [0.0, 0.0, 2.0, 0.7, 0.0], -2.0)
    upper = np.where(fixed, lower, 3.0)
    w = drive(fun, [-1.2, 1.0, 2.0, 0.7, 1.0], lower, upper, **TIGHT)
    np.testing.assert_array_equal(w.x[fixed], [2.0, 0.7])

    def reduced(x):
        f, g = rosenbrock(np.array([x[0], x[1], 0.7, x[2]]))
        return f, g[[0, 1, 3]]

    small = drive(reduced, [-1.2, 1.0, 1.0], -2.0, 3.0, **TIGHT)
    np.testing.assert_allclose(w.x[~fixed], small.x, atol=1e-6)
    assert abs(w.counts[lbfgs.NFEV] - small.counts[lbfgs.NFEV]) <= 2
    s, y = w.correction_pairs()
    assert (s[:, fixed] == 0.0).all() and (y[:, fixed] == 0.0).all()


@pytest.mark.parametrize("jac", [True, "2-point", "3-point", "cs"])
def test_all_variables_fixed(jac):
    fun = rosenbrock if jac is True else njit(lambda x: (1.0 - x[0]) ** 2 + (x[1] - x[0]) ** 2)
    for f in (fun, lambda x: fun(x)):
        res = minimize(f, [1.0, 2.0], jac=jac, bounds=[(1, 1), (2, 2)])
        assert res.success and res.nit == 0 and res.njev == 1
        assert res.message == "All independent variables were fixed by bounds."  # as scipy
        np.testing.assert_array_equal(res.x, [1.0, 2.0])
        assert np.isnan(res.jac).all() == (jac is not True)


def test_differences_with_fixed_variables_as_scipy():
    value = lambda x: rosenbrock(x)[0]  # noqa: E731
    bounds = [(-2, 2), (0.7, 0.7), (None, 0.3), (None, None)]
    x0 = [-1.2, 0.7, 0.3, 1.0]
    for jac, calls in ((None, 4), ("2-point", 4), ("3-point", 7)):
        res = minimize(value, x0, jac=jac, bounds=bounds)
        theirs = scipy.optimize.minimize(value, x0, jac=jac, bounds=bounds, method="L-BFGS-B")
        assert res.success and res.nfev == calls * res.njev
        assert abs(res.nfev - theirs.nfev) <= 3 * calls
        np.testing.assert_array_equal(np.isnan(res.jac), np.isnan(theirs.jac))
        np.testing.assert_allclose(res.x, theirs.x, atol=2e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_counts_as_too_far(bad):
    def walled(x):  # finite for x0 < 1 only; the minimum in the box is at (0.5, 0)
        if x[0] >= 1.0:
            return bad, np.full(2, bad)
        return -np.log1p(-x[0]) - 2.0 * x[0] + x[1] ** 2, np.array([1.0 / (1.0 - x[0]) - 2.0, 2.0 * x[1]])

    for upper in (1.0, 5.0, INF, 0.4):
        w = drive(walled, [-30.0, 3.0], [-40.0, 0.0], [upper, 8.0], **TIGHT)
        assert w.counts[lbfgs.REASON] == lbfgs.SMALL_GRADIENT
        np.testing.assert_allclose(w.x, [min(0.5, upper), 0.0], atol=1e-6)
        assert w.x[1] == 0.0
    w = drive(walled, [2.0, 1.0], 0.0, 5.0)
    assert w.counts[lbfgs.REASON] == lbfgs.BAD_START


def test_infinite_bounds_do_what_lbfgs_does():
    w = drive(rosenbrock, [-1.2, 1.0], -INF, INF)
    plain = minimize(rosenbrock, [-1.2, 1.0], jac=True)
    assert abs(w.counts[lbfgs.NFEV] - plain.nfev) <= 5
    np.testing.assert_allclose(w.x, plain.x, atol=1e-4)
    res = minimize(rosenbrock, [-1.2, 1.0], jac=True, bounds=[(None, np.inf), (-np.inf, None)])
    np.testing.assert_array_equal(res.x, plain.x)  # the engine without bounds


def test_iterates_descend_and_pauses_show_them():
    seen, p = [], PROBLEMS["wood"]
    w = drive(p.fun, p.x0, p.lower, p.upper, pause=True, seen=seen)
    iterates = [(x, f) for task, x, f in seen if task == NEW_ITERATE]
    assert len(iterates) == w.counts[lbfgs.NIT]
    values = [f for _, f in iterates]
    assert values == sorted(values, reverse=True)
    for x, f in iterates:
        assert p.fun(x)[0] == f
    np.testing.assert_array_equal(w.x, drive(p.fun, p.x0, p.lower, p.upper).x)


def test_callbacks_and_return_all():
    p, seen = PROBLEMS["wood"], []
    bounds = scipy.optimize.Bounds(p.lower, p.upper)
    res = minimize(p.fun, p.x0, jac=True, bounds=bounds, callback=seen.append, options={"return_all": True})
    assert len(seen) == res.nit == len(res.allvecs) - 1
    np.testing.assert_array_equal(res.allvecs[1:], seen)
    assert all((p.lower <= x).all() and (x <= p.upper).all() for x in seen)

    def stop(intermediate_result):
        if len(seen) < intermediate_result.fun:
            raise StopIteration

    res = minimize(p.fun, p.x0, jac=True, bounds=bounds, callback=stop)
    assert res.status == 99 and res.fun == p.fun(res.x)[0]


def test_a_function_that_writes_to_x_changes_nothing_and_copies_resume():
    p = PROBLEMS["wood"]
    w = lbfgsb.Workspace(p.x0, Options(), 1, False, p.lower, p.upper)
    for _ in range(10):
        f, w.g[...] = p.fun(w.x)
        w.x[...] = np.nan
        assert lbfgsb.advance(f, w.work, w.counts) == EVALUATE
    work, counts, task = w.work.copy(), w.counts.copy(), EVALUATE
    while task != STOP:
        f, work[4:8] = p.fun(work[:4])
        task = lbfgsb.advance(f, work, counts)
    np.testing.assert_array_equal(work[:4], drive(p.fun, p.x0, p.lower, p.upper).x)
    assert lbfgsb.advance(0.0, work, counts) == STOP


def test_limits():
    p = PROBLEMS["wood"]
    first = p.fun(p.x0)[0]
    w = drive(p.fun, p.x0, p.lower, p.upper, maxiter=3)
    assert (w.counts[lbfgs.REASON], w.counts[lbfgs.NIT]) == (lbfgs.ITERATIONS, 3)
    for most in range(1, 15):
        w = drive(p.fun, p.x0, p.lower, p.upper, maxfun=most)
        assert (w.counts[lbfgs.REASON], w.counts[lbfgs.NFEV]) == (lbfgs.EVALUATIONS, most)
        assert w.f == p.fun(w.x)[0] <= first


def test_a_wrong_gradient_ends_with_no_progress():
    w = drive(lambda x: (x @ x, -2.0 * x), [1.0, 2.0], -3.0, 5.0)
    assert w.counts[lbfgs.REASON] == lbfgs.NO_PROGRESS
    np.testing.assert_array_equal(w.x, [1.0, 2.0])


def test_noise_does_not_hang():
    rng = np.random.default_rng(3)

    def noisy(x):
        f, g = rosenbrock(x)
        return f + 1e-3 * rng.normal(), g + 1e-2 * rng.normal(size=2)

    for _ in range(20):
        x0 = rng.uniform(-1.0, 0.7, 2)
        w = drive(noisy, x0, [-1.0, -1.0], [0.7, INF], gtol=0.0, ftol=0.0, maxfun=2000)
        assert w.counts[lbfgs.REASON] != lbfgs.RUNNING


@pytest.mark.parametrize("scale", [1e-100, 1e-20, 1e20, 1e100])
def test_scales_far_from_one(scale):
    center = np.array([0.0, 3.0])
    w = drive(
        lambda x: (scale * ((x - center) ** 2).sum(), 2.0 * scale * (x - center)),
        [1.0, -2.0], -10.0, [5.0, 2.0], gtol=0.0, ftol=0.0,
    )  # fmt: skip
    assert lbfgsb.MESSAGES[w.counts[lbfgs.REASON]][0] == 0
    np.testing.assert_allclose(w.x, [0.0, 2.0], atol=1e-6)


def test_memory_of_one_pair_and_many():
    p = PROBLEMS["rosenbrock 25, every other above 1.01"]
    for maxcor in (1, 3, 40):
        w = drive(p.fun, p.x0, p.lower, p.upper, maxcor=maxcor, **TIGHT)
        assert w.f < 0.6
        s, y = w.correction_pairs()
        assert s.shape == y.shape == (min(maxcor, int(w.counts[lbfgs.RING])), 25)
        assert (np.einsum("ij,ij->i", s, y) > 0.0).all()


def test_hess_inv_is_scipys_product():
    p = PROBLEMS["wood"]
    res = minimize(p.fun, p.x0, jac=True, bounds=scipy.optimize.Bounds(p.lower, p.upper))
    assert type(res.hess_inv) is LbfgsInvHessProduct
    s, y = res.hess_inv.sk[-1], res.hess_inv.yk[-1]
    np.testing.assert_allclose(res.hess_inv @ y, s, rtol=1e-9)


def test_many_variables_many_breaks():
    n = 3000
    rng = np.random.default_rng(0)
    scale, center = np.geomspace(1.0, 100.0, n), rng.normal(size=n)
    lower, upper = -rng.exponential(0.5, n), rng.exponential(0.5, n)
    lower[::7], upper[::5] = -INF, INF

    @njit
    def separable(x, scale, center):
        f, g = 0.0, np.empty(x.size)
        for k in range(x.size):
            d = x[k] - center[k]
            f += 0.5 * scale[k] * d * d
            g[k] = scale[k] * d
        return f, g

    expected = np.clip(center, lower, upper)
    res = minimize(
        separable, np.zeros(n), (scale, center), jac=True, bounds=np.column_stack([lower, upper]),
        options=TIGHT,
    )  # fmt: skip
    assert res.success
    np.testing.assert_allclose(res.x, expected, atol=1e-6)
    np.testing.assert_array_equal(res.x[expected == lower], lower[expected == lower])


def test_random_problems_with_cliffs_end_well():
    hypothesis = pytest.importorskip("hypothesis", reason="draws problems")
    st = hypothesis.strategies

    @hypothesis.given(
        st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]),
        st.floats(0.0, 2.0), st.sampled_from([1e-8, 1.0, 1e8]), st.floats(0.0, 1.0),
    )  # fmt: skip
    @hypothesis.settings(deadline=None, max_examples=300)
    def check(seed, n, bad, cliff, scale, share):
        rng = np.random.default_rng(seed)
        root, center, wall = rng.normal(size=(n, n)), rng.normal(size=n), rng.normal(size=n)
        lower, upper = center - rng.exponential(1.0, n), center + rng.exponential(1.0, n)
        lower[rng.random(n) < 0.3], upper[rng.random(n) < 0.3] = -INF, INF
        same = rng.random(n) < 0.2 * share
        x0 = np.clip(center + rng.normal(size=n), lower, upper)
        lower[same] = upper[same] = x0[same]

        def fun(x):
            r = root @ x
            if wall @ x > cliff:
                return bad, np.full(n, bad)
            f, g = scale * (r @ r + share * np.cos(3.0 * x).sum()), 2.0 * scale * (root.T @ r)
            return f, g - 3.0 * share * scale * np.sin(3.0 * x)

        w = drive(fun, x0, lower, upper, maxfun=3000)
        status = lbfgsb.MESSAGES[w.counts[lbfgs.REASON]][0]
        f0, f = fun(x0)[0], fun(w.x)[0]
        if not np.isfinite(f0):
            assert w.counts[lbfgs.REASON] == lbfgs.BAD_START and w.counts[lbfgs.NFEV] == 1
        else:
            assert np.isfinite(f) and f == w.f <= f0
            assert w.counts[lbfgs.REASON] not in (lbfgs.RUNNING, lbfgs.BAD_START)
            if w.counts[lbfgs.REASON] == lbfgs.SMALL_GRADIENT:
                assert_kkt(w.x, w.g, lower, upper, 1e-5)
        assert status in (0, 1, 2)

    check()


def test_quadratics_reach_the_solution_of_the_kkt_system():
    p = PROBLEMS["box 20, condition 100"]
    A, b = p.args
    w = drive(quadratic, p.x0, p.lower, p.upper, p.args, ftol=0.0, gtol=1e-9)
    side = active(w.x, p)
    free, held = side == 0, side != 0
    exact = np.where(held, w.x, 0.0)
    exact[free] = np.linalg.solve(A[np.ix_(free, free)], b[free] - A[np.ix_(free, held)] @ w.x[held])
    np.testing.assert_allclose(w.x, exact, atol=1e-6)
    assert (side * (A @ exact - b) <= 1e-6).all()


SCRIPT = """
    import numpy as np
    from nbopt.solvers import lbfgs, lbfgsb
    from nbopt.solvers.minimize import minimize

    def fun(x):
        a, b = x[1] - x[0] * x[0], 1.0 - x[0]
        return 100.0 * a * a + b * b, np.array([-400.0 * x[0] * a - 2.0 * b, 200.0 * a])

    for jac in (True, "2-point", "3-point"):
        f = fun if jac is True else lambda x: fun(x)[0]
        res = minimize(f, [-1.2, 1.0], jac=jac, bounds=[(None, 0.5), (-1, 2)])
        print(res.status, res.nit, res.nfev, res.x.round(5).tolist())
    signatures = [len(getattr(e.advance, "signatures", ())) for e in (lbfgs, lbfgsb)]
    print(signatures)
"""


def test_without_the_compiler_and_each_engine_compiled_only_where_it_is_used():
    plain, compiled = (run_python(SCRIPT, NUMBA_DISABLE_JIT=v).splitlines() for v in ("1", None))
    assert plain[:3] == compiled[:3]
    assert all("[0.5, 0.25]" in line for line in plain[:3])
    assert compiled[3] == "[0, 1]"
    without = run_python(SCRIPT.replace(", bounds=[(None, 0.5), (-1, 2)]", ""), NUMBA_DISABLE_JIT=None)
    assert without.splitlines()[3] == "[1, 0]"
