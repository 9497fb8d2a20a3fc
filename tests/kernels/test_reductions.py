"""Sums and maxima in fixed lanes: bit for bit what the naive order gives."""

import math

import numpy as np
import pytest

from nbopt.kernels import reductions
from nbopt.kernels.reductions import BLOCK, LANES

SIZES = [0, 1, LANES - 1, LANES, LANES + 1, 3 * LANES, 1000, 4099, BLOCK, BLOCK + 5, 2 * BLOCK + LANES + 1]
DTYPES = [np.float32, np.float64]


def in_lanes(terms, ways):
    """Sum float64 terms lane by lane, the lanes in pairs, then what is left over, in four sums or in one."""
    whole = len(terms) - len(terms) % LANES
    lanes = [0.0] * LANES
    for k in range(whole):
        lanes[k % LANES] += terms[k]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[k] + lanes[k + half] for k in range(half)]
    rest, fours = terms[whole:], len(terms[whole:]) // 4 * 4
    if ways == 1:
        return _in_order([lanes[0], *rest])
    s, t, u, v = (_in_order([0.0, *rest[k:fours:4], *(rest[fours:] if k == 0 else [])]) for k in range(4))
    return lanes[0] + ((s + u) + (t + v))


def _in_order(terms):
    """Sum terms one after the other, as `sum` does only up to Python 3.11."""
    total = 0.0
    for term in terms:
        total += term
    return total


def in_blocks(terms, ways=1):
    """Sum blocks so, and add them in order; the terms that fill no lanes go with the last one."""
    total, cuts = 0.0, list(range(BLOCK, len(terms) - len(terms) % LANES, BLOCK))
    for low, high in zip([0, *cuts], [*cuts, len(terms)], strict=True):
        total += in_lanes(terms[low:high], ways)
    return total


def test_four_products_of_whole_lanes_are_those_of_any_length():
    for n in (0, LANES, 5 * LANES, BLOCK + LANES, 3 * BLOCK):
        a, b, c, d = vectors(n, np.float64, 4)
        found = reductions.padded_dots(a, b, c, d)
        assert found == tuple(reductions.dot(x, y) for x in (a, b) for y in (c, d))


def vectors(n, dtype, count):
    rng = np.random.default_rng(n)
    return [rng.standard_normal(n).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_dot_has_one_fixed_order(n, dtype):
    a, b = vectors(n, dtype, 2)
    terms = [float(x) * float(y) for x, y in zip(a, b, strict=True)]
    assert reductions.dot(a, b) == in_blocks(terms, ways=4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_axpy_dot_adds_and_then_takes_the_dot_product(n, dtype):
    a, b, c = vectors(n, dtype, 3)
    expected = b + dtype(0.3) * a
    once = b.copy()
    product = reductions.axpy_dot(0.3, a, once, c)
    np.testing.assert_array_equal(once, expected)
    assert product == reductions.dot(expected, c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_sums_and_maxima_of_absolute_values(n, dtype):
    (a,) = vectors(n, dtype, 1)
    assert reductions.sum_abs(a) == in_blocks([abs(float(x)) for x in a])
    assert reductions.max_abs(a) == np.abs(a).max(initial=0)


@pytest.mark.parametrize("n", [1, LANES, LANES + 3])
def test_nan_and_infinity_are_not_lost(n):
    for k in range(n):
        a = np.ones(n)
        a[k] = math.nan
        assert math.isnan(reductions.max_abs(a))
        assert math.isnan(reductions.sum_abs(a))
        assert math.isnan(reductions.dot(a, a))
        assert not reductions.is_finite(a)
        a[k] = -math.inf
        assert reductions.max_abs(a) == math.inf
        assert not reductions.is_finite(a)
        a[k] = 1e308
        assert reductions.is_finite(a)


def test_float32_sums_are_kept_in_float64():
    a = np.full(1_000_003, 0.1, np.float32)
    assert reductions.dot(a, np.ones_like(a)) == pytest.approx(float(a[0]) * a.size, rel=1e-13)


@pytest.mark.parametrize("offset", [1, 3])
def test_arrays_need_only_the_alignment_of_their_elements(offset):
    a = np.arange(100.0, dtype=np.float32)[offset:]
    assert reductions.dot(a, a) == float((a.astype(float) ** 2).sum())
