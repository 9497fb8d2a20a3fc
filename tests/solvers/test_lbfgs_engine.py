"""The L-BFGS engine, driven by hand, against scipy's L-BFGS-B and against its own promises."""

import numpy as np
import pytest
import scipy.optimize
from classic_problems import PROBLEMS, powell_badly_scaled, rosenbrock

from nbopt.solvers import lbfgs
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP
from nbopt.solvers.options import Options

TIGHT = {"ftol": 0.0, "gtol": 1e-8}


def drive(fun, x0, pause=False, seen=None, **options):
    """Run the engine to its end; note the iterates and the points in `seen`."""
    w = lbfgs.Workspace(np.asarray(x0, float), Options(**options), 1, pause)
    task, f = EVALUATE, 0.0
    while task != STOP:
        if task == EVALUATE:
            f, w.g[...] = fun(w.x.copy())
        if seen is not None:
            seen.append((task, w.x.copy(), w.f))
        task = lbfgs.advance(f, w.work, w.counts)
    return w


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_finds_the_minimum(name):
    fun, x0, least = PROBLEMS[name]
    w = drive(fun, x0, **TIGHT)
    assert lbfgs.MESSAGES[w.counts[lbfgs.REASON]][0] == 0
    assert w.f == pytest.approx(least, rel=1e-9, abs=1e-9)
    f, g = fun(w.x)
    assert f == w.f
    np.testing.assert_array_equal(g, w.g)


def test_no_more_evaluations_than_scipy_in_total():
    ours = theirs = lower = higher = 0
    rng = np.random.default_rng(5)
    for fun, x0, _ in PROBLEMS.values():
        # a few starts each: on hard problems one start is a matter of luck for either
        for k in range(4):
            start = x0 * (1.0 + 0.02 * k * rng.normal(size=x0.size))
            w, scipy_ = drive(fun, start), scipy.optimize.minimize(fun, start, jac=True, method="L-BFGS-B")
            if abs(w.f - scipy_.fun) <= 1e-6 * max(1.0, abs(w.f)):  # neither has stopped on the way
                ours += int(w.counts[lbfgs.NFEV])
                theirs += scipy_.nfev
            lower += w.f < scipy_.fun - 1e-6 * max(1.0, abs(w.f))
            higher += w.f > scipy_.fun + 1e-6 * max(1.0, abs(w.f))
    assert ours <= theirs
    assert higher <= lower


def test_it_goes_on_where_scipy_gives_up():
    scipys = scipy.optimize.minimize(
        powell_badly_scaled, [0.0, 1.0], jac=True, method="L-BFGS-B", options=TIGHT
    )
    w = drive(powell_badly_scaled, [0.0, 1.0], **TIGHT)
    assert not scipys.success
    assert w.f < 1e-20


def test_iterates_descend_and_pauses_show_them():
    seen = []
    w = drive(rosenbrock, [-1.2, 1.0], pause=True, seen=seen)
    iterates = [(x, f) for task, x, f in seen if task == NEW_ITERATE]
    assert len(iterates) == w.counts[lbfgs.NIT]
    values = [f for _, f in iterates]
    assert values == sorted(values, reverse=True)
    for x, f in iterates:
        assert rosenbrock(x)[0] == f
    quiet = drive(rosenbrock, [-1.2, 1.0])
    np.testing.assert_array_equal(w.x, quiet.x)


def test_a_function_that_writes_to_x_changes_nothing():
    w = lbfgs.Workspace(np.array([-1.2, 1.0]), Options())
    task = EVALUATE
    while task != STOP:
        f, w.g[...] = rosenbrock(w.x)
        w.x[...] = np.nan
        task = lbfgs.advance(f, w.work, w.counts)
    np.testing.assert_array_equal(w.x, drive(rosenbrock, [-1.2, 1.0]).x)


def test_a_copy_of_the_arrays_resumes_the_run():
    w = lbfgs.Workspace(np.array([-1.2, 1.0]), Options())
    for _ in range(20):
        f, w.g[...] = rosenbrock(w.x)
        assert lbfgs.advance(f, w.work, w.counts) == EVALUATE
    work, counts = w.work.copy(), w.counts.copy()
    task = EVALUATE
    while task != STOP:
        f, work[2:4] = rosenbrock(work[:2])
        task = lbfgs.advance(f, work, counts)
    np.testing.assert_array_equal(work[:2], drive(rosenbrock, [-1.2, 1.0]).x)


def test_the_first_step_has_length_one():
    for scale in (1.0, 1e-30):
        seen = []
        drive(lambda x: (scale * (x @ x), 2.0 * scale * x), [3.0, 4.0], seen=seen, gtol=0.0)  # noqa: B023
        np.testing.assert_allclose(seen[1][1], [2.4, 3.2])


@pytest.mark.parametrize("f0", [np.nan, np.inf, -np.inf])
def test_nothing_finite_at_the_start(f0):
    w = drive(lambda x: (f0, x), [1.0, 2.0])
    assert w.counts[lbfgs.REASON] == lbfgs.BAD_START
    np.testing.assert_array_equal(w.x, [1.0, 2.0])
    w = drive(lambda x: (1.0, np.array([np.nan, 1.0])), [1.0, 2.0])
    assert w.counts[lbfgs.REASON] == lbfgs.BAD_START


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_counts_as_too_far(bad):
    def walled(x):  # -log(1 - x) + 8x^2 has its minimum near -0.057, the wall at 1
        if x[0] >= 1.0:
            return bad, np.array([bad])
        return -np.log1p(-x[0]) + 8.0 * x[0] ** 2, 1.0 / (1.0 - x) + 16.0 * x

    w = drive(walled, [0.99], **TIGHT)
    assert w.counts[lbfgs.REASON] == lbfgs.SMALL_GRADIENT
    assert w.x[0] == pytest.approx((1.0 - 1.25**0.5) / 2.0, rel=1e-8)


def test_a_wrong_gradient_ends_with_no_progress():
    w = drive(lambda x: (x @ x, -2.0 * x), [1.0, 2.0])
    assert w.counts[lbfgs.REASON] == lbfgs.NO_PROGRESS
    np.testing.assert_array_equal(w.x, [1.0, 2.0])


def test_limits():
    w = drive(rosenbrock, [-1.2, 1.0], maxiter=3)
    assert (w.counts[lbfgs.REASON], w.counts[lbfgs.NIT]) == (lbfgs.ITERATIONS, 3)
    for most in range(1, 12):
        w = drive(rosenbrock, [-1.2, 1.0], maxfun=most)
        assert (w.counts[lbfgs.REASON], w.counts[lbfgs.NFEV]) == (lbfgs.EVALUATIONS, most)
        assert w.f == rosenbrock(w.x)[0] <= 24.2
    w = drive(rosenbrock, [-1.2, 1.0], maxiter=0)
    assert (w.counts[lbfgs.REASON], w.counts[lbfgs.NFEV], w.counts[lbfgs.NIT]) == (lbfgs.ITERATIONS, 1, 0)


def test_where_only_rounding_is_left_it_is_a_success():
    def offset(x):  # the bowl drowns in a large constant
        return 1e8 + 1e-9 * (x @ x), 2e-9 * x

    w = drive(offset, [1.0, 2.0], ftol=0.0, gtol=0.0)
    assert lbfgs.MESSAGES[w.counts[lbfgs.REASON]][0] == 0
    assert w.counts[lbfgs.NFEV] < 50


def test_noise_does_not_hang():
    rng = np.random.default_rng(3)

    def noisy(x):
        f, g = rosenbrock(x)
        return f + 1e-3 * rng.normal(), g + 1e-2 * rng.normal(size=2)

    for _ in range(20):
        w = drive(noisy, rng.normal(size=2), gtol=0.0, ftol=0.0, maxfun=2000)
        assert np.isfinite(w.x).all()


@pytest.mark.parametrize("scale", [1e-100, 1e-20, 1e20, 1e100])
def test_scales_far_from_one(scale):
    w = drive(lambda x: (scale * (x @ x), 2.0 * scale * x), [1.0, -2.0], gtol=0.0, ftol=0.0)
    assert np.isfinite(w.x).all()
    assert lbfgs.MESSAGES[w.counts[lbfgs.REASON]][0] == 0
    assert np.abs(w.x).max() < 1e-6


def test_memory_of_one_pair_and_many():
    for maxcor in (1, 3, 40):
        w = drive(rosenbrock, np.tile([-1.2, 1.0], 5), maxcor=maxcor, **TIGHT)
        assert w.f < 1e-15
        s, y = w.correction_pairs()
        assert s.shape == y.shape == (min(maxcor, int(w.counts[lbfgs.RING])), 10)
        assert (np.einsum("ij,ij->i", s, y) > 0.0).all()


def test_a_gradient_whose_square_underflows_is_flat():
    w = drive(lambda x: (x @ x, 2.0 * x), [1e-200, 0.0], gtol=0.0)
    assert (w.counts[lbfgs.REASON], w.counts[lbfgs.NFEV]) == (lbfgs.FLAT, 1)


def test_a_slow_stretch_is_no_minimum():
    w = drive(powell_badly_scaled, [0.0, 1.0])  # its second reduction is smaller than ftol, at f = 0.135
    assert w.counts[lbfgs.REASON] == lbfgs.SMALL_REDUCTION
    assert w.f < 1e-6


@pytest.mark.parametrize(
    ("slow", "nit", "nfev", "slope", "goes_on"),
    [
        (1, 5, 9, 1e-3, True),  # the model promises 5e-7, ftol is 2e-9
        (1, 5, 9, 1e-5, False),
        (lbfgs.SLOWEST, 5, 9, 1e-3, True),
        (lbfgs.SLOWEST + 1, 5, 9, 1e-3, False),
        (1, 6, 9, 1e-3, False),  # a limit comes first
        (1, 5, 10, 1e-3, False),
    ],
)
def test_small_reductions_end_a_run_unless_the_model_promises_more(slow, nit, nfev, slope, goes_on):
    w = lbfgs.Workspace(np.zeros(2), Options(maxiter=6, maxfun=10))
    counts, numbers = w.counts, w.work[2 * (6 + 2 * 11) :]
    w.remember(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]))
    numbers[lbfgs.F] = 0.1
    for name, value in (("REASON", lbfgs.SMALL_REDUCTION), ("SLOW", slow), ("NIT", nit), ("NFEV", nfev)):
        counts[getattr(lbfgs, name)] = value
    S, Y = w.work[12:34].reshape(11, 2), w.work[34:56].reshape(11, 2)
    g = np.array([0.0, slope])  # where the pair knows nothing
    lbfgs.look_further(g, np.empty(2), S, Y, numbers, counts, lbfgs.SLOWEST, 0)
    assert counts[lbfgs.REASON] == (lbfgs.RUNNING if goes_on else lbfgs.SMALL_REDUCTION)


def test_the_pairs_know_the_curvature_that_the_values_show():
    def cubic(x):  # the Hessian at x is 6x + 40
        return float((x**3 + 20.0 * x**2).sum()), 3.0 * x**2 + 40.0 * x

    w = drive(cubic, [5.0], maxiter=1)  # to 4: the first step has the length 1
    s, y = w.correction_pairs()
    assert w.x[0] == pytest.approx(4.0) and y[0, 0] / s[0, 0] == pytest.approx(64.0, rel=1e-9)
