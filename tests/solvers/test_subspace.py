"""The subspace step beside the solution of the reduced system with the full matrix."""

import dense_bfgs
import numpy as np
import pytest

from nbopt.kernels.large_vectors import Team, stages_of
from nbopt.kernels.reductions import BLOCK, LANES
from nbopt.solvers.cauchy_point import C
from nbopt.solvers.compact import factor_middle, multiply_middle, multiply_pairs
from nbopt.solvers.subspace import (
    OWN_STAGES,
    bounded_step,
    factor_reduced,
    free_variables,
    multiply_parts,
    subspace_step,
)

ALONE = 0, stages_of(OWN_STAGES)


def squares(rows, count):
    return [np.full((rows, rows), np.nan) for _ in range(count)]


def follow(S, Y, slots, fresh, free, changed, kept, crew=ALONE):
    """Bring Y'ZZ'Y, S'AA'S and E up to date."""
    rows, n = S.shape
    room = np.full(n, np.nan), np.full(n, np.nan), dense_bfgs.scratch(rows, n), crew
    multiply_parts(S, Y, slots, fresh, free, changed, *kept, *room)


def parts(S, Y, slots, free, crew=ALONE):
    """Return Y'ZZ'Y, S'AA'S and E from scratch."""
    result = squares(S.shape[0], 3)
    follow(S, Y, slots, slots.size, free, np.empty(0, np.int64), result, crew)
    return result


def step(x, g, target, free, S, Y, slots, theta, crew=ALONE):
    """Return the step from a Cauchy point, and M."""
    m, (rows, n) = slots.size, S.shape
    SS, SY, L, J, P, H, Q = squares(rows, 7)
    scratch = dense_bfgs.scratch(rows, n)
    multiply_pairs(S, Y, slots, m, SS, SY, crew[0])
    assert factor_middle(SS, SY, slots, theta, L, J)
    assert factor_reduced(SY, *parts(S, Y, slots, free, crew), slots, theta, P, H, Q)
    small, r, d = np.full((4, 2 * rows), np.nan), np.empty(n), np.empty(n)
    small[C][: 2 * m] = np.vstack([Y[slots], theta * S[slots]]) @ (target - x)
    subspace_step(x, g, target, free, S, Y, slots, theta, L, J, P, H, Q, r, d, small, scratch, crew)
    M = np.empty((2 * m, 2 * m))
    for v, image in zip(np.eye(2 * m), M, strict=True):
        multiply_middle(L, J, m, v, image)
    return d, M


@pytest.mark.parametrize(("n", "m"), [(2, 1), (5, 3), (40, 6), (40, 1)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_step_minimizes_the_model_over_the_free_variables(n, m, share):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        S, Y, slots, theta = dense_bfgs.pairs(n, m, seed)
        B = dense_bfgs.matrix(S, Y, slots, theta)
        x, g, target = rng.normal(size=(3, n))
        held = rng.random(n) < share
        held[0] = False
        free = np.where(held, 0.0, 1.0)
        d, _ = step(x, g, target, free, S, Y, slots, theta)
        z = np.flatnonzero(free)
        slope = g + B @ (target - x)
        expected = np.zeros(n)
        expected[z] = -np.linalg.solve(B[np.ix_(z, z)], slope[z])
        np.testing.assert_allclose(d, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("held", ["some", "a block", "none"])
def test_many_variables_are_stepped_in_blocks_by_one_thread_or_more(held):
    m, n = 3, 2 * BLOCK + LANES + 5
    rng = np.random.default_rng(1)
    S, x, g, target = rng.normal(size=(m, n)), *rng.normal(size=(3, n))
    Y, slots, theta = S * rng.uniform(0.5, 2.0, n), np.array([2, 0, 1]), 1.3
    free = np.where(rng.random(n) < 0.4, 0.0, 1.0) if held == "some" else np.ones(n)
    if held == "a block":
        free[:BLOCK] = 0.0
    d, M = step(x, g, target, free, S, Y, slots, theta)
    W = np.vstack([Y[slots], theta * S[slots]])
    slope = g + theta * (target - x + d) - W.T @ (M @ (W @ (target - x + d)))
    np.testing.assert_allclose(free * slope, 0.0, atol=1e-8)
    np.testing.assert_array_equal(d[free == 0.0], 0.0)
    for shares in (1, 2, 3):
        team = Team(n, np.dtype(float), shares, OWN_STAGES)
        assert (
            step(x, g, target, free, S, Y, slots, theta, (team.address, ALONE[1]))[0].tobytes() == d.tobytes()
        )


def test_products_follow_the_variables_and_the_pairs():
    S, Y, slots, _ = dense_bfgs.pairs(50, 7, seed=5, rows=8)
    rng = np.random.default_rng(0)
    free = (rng.random(50) < 0.6) * 1.0
    kept = parts(S, Y, slots[:5], free)
    changed = np.flatnonzero(rng.random(50) < 0.2)
    free[changed] = 1.0 - free[changed]
    follow(S, Y, slots, 2, free, changed, kept)
    Z, A = np.diag(free), np.diag(1.0 - free)
    s, y = S[slots], Y[slots]
    E = np.tril(s @ A @ y.T, -1) - np.triu(s @ Z @ y.T)
    order = np.ix_(slots, slots)
    np.testing.assert_allclose(np.tril(kept[0][order]), np.tril(y @ Z @ y.T), atol=1e-12)
    np.testing.assert_allclose(np.tril(kept[1][order]), np.tril(s @ A @ s.T), atol=1e-12)
    np.testing.assert_allclose(kept[2][order], E, atol=1e-12)


def test_free_variables_are_those_off_their_bounds():
    lower, upper = np.array([0.0, 0.0, 0.0, -np.inf, 1.0]), np.array([1.0, 1.0, 1.0, np.inf, 1.0])
    free, changed = np.full(5, np.nan), np.empty(5, np.int64)
    target = np.array([0.0, 0.5, 1.0, -3.0, 1.0])
    assert free_variables(target, lower, upper, free, changed) == (2, 5)
    np.testing.assert_array_equal(free, [0.0, 1.0, 0.0, 1.0, 0.0])
    target[:2] = 0.25, 0.0
    assert free_variables(target, lower, upper, free, changed) == (2, 2)
    np.testing.assert_array_equal(changed[:2], [0, 1])


def test_factors_that_rounding_has_spoilt_are_noticed():
    S, Y, slots, theta = dense_bfgs.pairs(6, 3, seed=1)
    rows = S.shape[0]
    SS, SY, P, H, Q = squares(rows, 5)
    multiply_pairs(S, Y, slots, 3, SS, SY, 0)
    YZY, SAS, E = parts(S, Y, slots, np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0]))
    assert factor_reduced(SY, YZY, SAS, E, slots, theta, P, H, Q)
    assert not factor_reduced(SY, YZY, np.full_like(SAS, np.nan), E, slots, theta, P, H, Q)
    assert not factor_reduced(-SY, 0.0 * YZY, SAS, E, slots, theta, P, H, Q)


def test_the_step_is_projected_where_that_leads_downhill_and_else_cut_short():
    x, lower, upper = np.zeros(2), np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    target = np.array([0.5, 0.0])
    bounded_step(x, np.array([-1.0, 0.1]), lower, upper, np.array([2.0, 0.5]), target)
    np.testing.assert_array_equal(target, [1.0, 0.5])
    target = np.array([0.5, 0.0])
    bounded_step(x, np.array([-1.0, 10.0]), lower, upper, np.array([2.0, 0.5]), target)
    np.testing.assert_array_equal(target, [1.0, 0.125])
