"""MINPACK's factors against plain linear algebra."""

import numpy as np
import pytest

from nbopt.fitting.minpack_factors import factors


@pytest.mark.parametrize("m, n", [(7, 1), (9, 3), (4, 4)])
def test_they_give_back_the_jacobian(m, n):
    rng = np.random.default_rng(m)
    J, r = rng.normal(size=(m, n)), rng.normal(size=m)
    found = factors(J, r)
    R, columns = np.triu(found["fjac"].T[:n]), J[:, found["ipvt"]]
    assert found["fjac"].shape == (n, m) and sorted(found["ipvt"]) == list(range(n))
    np.testing.assert_allclose(R.T @ R, columns.T @ columns, atol=1e-12)
    np.testing.assert_allclose(R.T @ found["qtf"], columns.T @ r, atol=1e-12)
    assert (np.diff(np.abs(np.diag(R))) <= 0.0).all()
