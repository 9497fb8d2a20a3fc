"""Losses against their formulas, and the scaling against the gradient."""

import numpy as np
import pytest

from nbopt.fitting.losses import CALLABLE, KINDS, LINEAR, cost_of, fill_rho, python_rho, rho_at, scaled

Z = np.array([0.0, 1e-12, 0.3, 0.999, 1.001, 7.0, 1e8])
FORMULAS = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * ((1 + z) ** 0.5 - 1),
    "huber": lambda z: np.where(z <= 1, z, 2 * z**0.5 - 1),
    "cauchy": np.log1p,
    "arctan": np.arctan,
}


@pytest.mark.parametrize("name", KINDS)
def test_values_and_derivatives(name):
    for z in Z:
        value, first, second = rho_at(KINDS[name], z)
        np.testing.assert_allclose(value, FORMULAS[name](z), rtol=1e-4 if z < 1e-9 else 1e-12)
        h = 1e-5 * max(z, 0.01)
        up, down = rho_at(KINDS[name], z + h), rho_at(KINDS[name], z - h)
        if z > 1e-9:
            np.testing.assert_allclose(first, (up[0] - down[0]) / (2 * h), rtol=1e-5, atol=1e-12)
            np.testing.assert_allclose(second, (up[1] - down[1]) / (2 * h), rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("name", [k for k in KINDS if k != "linear"])
def test_the_scaled_problem_has_the_gradient_of_the_cost(name):
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(8, 3)), 3 * rng.normal(size=8)
    rho, scale, x = np.empty((3, 8)), 0.7, rng.normal(size=3)

    def cost(x):
        r = A @ x + b
        fill_rho(KINDS[name], r, scale, rho)
        return cost_of(KINDS[name], r, scale, rho)

    slopes = [(cost(x + h) - cost(x - h)) / 2e-6 for h in 1e-6 * np.eye(3)]
    r, J = scaled(KINDS[name], A @ x + b, A, scale, rho)
    np.testing.assert_allclose(J.T @ r, slopes, rtol=1e-6, atol=1e-8)


def test_the_linear_loss_scales_nothing():
    r, J = np.ones(2), np.eye(2)
    assert scaled(LINEAR, r, J, 1.0, np.empty((0, 2)))[1] is J


def test_a_loss_of_the_user_must_have_its_derivatives():
    rho = np.empty((3, 2))
    python_rho(lambda z: np.array([z, 1 + 0 * z, 0 * z]), np.array([1.0, 3.0]), 2.0, rho)
    np.testing.assert_array_equal(rho[0], [0.25, 2.25])
    assert cost_of(CALLABLE, np.ones(2), 2.0, rho) == 0.5 * 4.0 * 2.5
    with pytest.raises(ValueError, match=r"least_squares: loss returned an array of shape \(2,\)"):
        python_rho(lambda z: z, np.ones(2), 1.0, rho)
