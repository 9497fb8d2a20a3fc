"""Norms on a device: each thread's own code on the CPU, joined in the order that a block joins it."""

import math

import numpy as np
import pytest
from cuda_stand_in import DeviceArray, StandIn
from numba.core import config as numba_config

from nbopt.kernels import cuda
from nbopt.kernels.cuda_launcher import CHUNK, STRIDE
from nbopt.kernels.device_norms import DeviceLines

pytestmark = pytest.mark.skipif(bool(numba_config.DISABLE_JIT), reason="NUMBA_DISABLE_JIT is set")


def lines(arrays, streams=None):
    device = StandIn()
    memories = [cuda.memory_of(a, "it") for a in arrays]
    return DeviceLines(device, memories, streams or [0] * len(arrays)), device


def draw(sizes, dtypes=("float64",)):
    rng = np.random.default_rng(0)
    kinds = [dtypes[k % len(dtypes)] for k in range(len(sizes))]
    return [DeviceArray(rng.standard_normal(n).astype(d)) for n, d in zip(sizes, kinds, strict=True)]


SIZES = [1, 0, 130, STRIDE + 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7]


@pytest.mark.parametrize("order", [2.0, 1.0, math.inf, -math.inf, 3.0, -1.0])
def test_a_norm_is_numpys_whatever_the_sizes_and_dtypes(order):
    arrays = draw(SIZES, ("float64", "float32") if order == 2 else ("float64",))
    found, _ = lines(arrays)
    unit, length = found.norm(order)
    whole = np.concatenate([a.host.astype(np.float64) for a in arrays])
    np.testing.assert_allclose(unit * length, np.linalg.norm(whole, order), rtol=1e-13)


def test_a_pass_is_one_launch_for_all_arrays_of_a_dtype_and_the_sum_waits_for_other_streams():
    found, device = lines(draw([5, 6, 7]), [3, 4, 3])
    found.norm(2.0)
    assert device.log[0] == ("wait", 3, 4) and device.launches == 1
    assert [entry for entry in device.log if entry[0] == "fetch"] == [("fetch", 3, 3)]


def test_large_and_small_numbers_do_not_overflow_or_vanish():
    for size in (1e200, 1e-200):
        found, _ = lines([DeviceArray(np.full(4, size))])
        unit, length = found.norm(2.0)
        np.testing.assert_allclose(unit * length, 2 * size, rtol=1e-14)


def test_what_is_not_finite_shows():
    for bad, shown in ((np.nan, math.isnan), (np.inf, math.isinf)):
        for order in (2.0, math.inf):
            found, _ = lines([DeviceArray(np.array([1.0, bad, 2.0]))])
            assert shown(math.prod(found.norm(order)))


def test_nothing_has_the_norm_zero():
    found, device = lines([DeviceArray(np.empty(0))])
    assert found.norm(2.0) == (1.0, 0.0) and device.launches == 0


def test_scaling_and_clamping_are_done_there():
    arrays = draw([3, CHUNK + 1], ("float64", "float32"))
    before = [a.host.copy() for a in arrays]
    found, device = lines(arrays, [0, 5])
    found.scale(0.5)
    assert all(np.array_equal(a.host, b * 0.5) for a, b in zip(arrays, before, strict=True))
    found.clamp(0.25)
    for a, b in zip(arrays, before, strict=True):
        assert np.array_equal(a.host, np.clip(b * 0.5, -0.25, 0.25))
    assert device.launches == 4 and found.total == CHUNK + 4


def test_complex_numbers_are_measured_by_the_order_2_only():
    a = np.array([3 + 4j, 12j])
    found, _ = lines([DeviceArray(a)])
    assert found.pairs and math.prod(found.norm(2.0)) == 13.0
    with pytest.raises(TypeError, match="norm_type must be 2"):
        found.norm(1.0)
    found, _ = lines([DeviceArray(a * 1e200)])
    np.testing.assert_allclose(math.prod(found.norm(2.0)), 13e200, rtol=1e-14)
