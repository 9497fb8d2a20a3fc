"""Clipping: torch's factor to its digits, norms of any order and size, and nothing changed by a refusal."""

import math
from fractions import Fraction

import numpy as np
import pytest

from nbopt import Parameter
from nbopt.optim.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm

ORDERS = [1.0, 2.0, 3.0, 0.5, 7.25, math.inf, -1.0, -2.5, -math.inf]


def normal(*shape, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def some_parameters(dtype=np.float64):
    shapes = [(7,), (3, 5), ()]
    return [Parameter(np.zeros(s, dtype), normal(*s, seed=k, dtype=dtype)) for k, s in enumerate(shapes)]


def witness(arrays, p):
    """The norm straight from its definition, in long doubles."""
    x = np.concatenate([np.abs(np.asarray(a, np.clongdouble)).reshape(-1) for a in arrays])
    if math.isinf(p):
        return x.max() if p > 0 else x.min()
    return (x**p).sum() ** np.longdouble(1 / p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("p", ORDERS)
def test_norm_and_factor(dtype, p):
    params = some_parameters(dtype)
    before = [q.grad.copy() for q in params]
    expected = float(witness(before, p))
    limit = 0.3 * expected
    found = clip_grad_norm_(params, limit, norm_type=p)
    assert isinstance(found, np.float64)
    assert found == pytest.approx(expected, rel=1e-13)
    factor = limit / (expected + 1e-6)
    for q, g in zip(params, before, strict=True):
        np.testing.assert_allclose(q.grad, g * factor, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_gradients_within_the_limit_keep_their_bits():
    params = some_parameters()
    before = [q.grad.copy() for q in params]
    norm = clip_grad_norm_(params, 1e3)
    assert all(np.array_equal(q.grad, g) for q, g in zip(params, before, strict=True))
    clip_grad_norm_(params, float(norm) + 2e-6)
    assert all(np.array_equal(q.grad, g) for q, g in zip(params, before, strict=True))


def test_a_norm_of_exactly_the_limit_shrinks_as_in_torch():
    w = Parameter(np.zeros(2), np.array([0.6, 0.8]))
    clip_grad_norm_(w, 1.0)
    np.testing.assert_allclose(w.grad, np.array([0.6, 0.8]) / (1 + 1e-6), rtol=1e-15)


def test_missing_gradients_are_passed_over_and_nothing_is_nothing():
    params = [Parameter(np.zeros(2)), Parameter(np.zeros(1), np.array([-2.0])), Parameter(np.zeros(3))]
    assert clip_grad_norm_(iter(params), 1.0) == 2
    assert params[0].grad is None
    assert clip_grad_norm_([], 1.0) == 0
    assert clip_grad_norm_(params[:1], 1.0, norm_type=math.inf) == 0
    assert clip_grad_norm_([Parameter(np.zeros(0), np.zeros(0))], 1.0, norm_type=-1) == 0
    clip_grad_value_(params[:1], 1.0)
    assert get_total_norm([]) == 0
    assert get_total_norm([None, np.array([3.0, -4.0])]) == 5


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 64.0, math.inf])
@pytest.mark.parametrize("dtype, large, tiny", [(np.float32, 3e38, 1e-44), (np.float64, 1e308, 1e-320)])
@pytest.mark.parametrize("pairs", [False, True])
def test_finite_gradients_neither_overflow_nor_vanish(p, dtype, large, tiny, pairs):
    n = 100
    for size in (large, tiny):
        # float64 cannot hold all of these norms; exact fractions can
        g = np.full(n, size, dtype)
        x = Fraction(float(g[0]))
        g = g + 0j if pairs else g
        norm = x if math.isinf(p) else x * Fraction(n ** (1 / p))
        w = Parameter(np.zeros_like(g), g)
        found = clip_grad_norm_(w, 2.0, norm_type=p, error_if_nonfinite=True)
        assert found == (pytest.approx(float(norm), rel=1e-13) if norm < 1.7e308 else math.inf)
        expected = float(x * min(1, 2 / (norm + Fraction(1e-6))))
        np.testing.assert_allclose(g, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_a_norm_beyond_float64_under_a_large_limit():
    w = Parameter(np.zeros(4), np.full(4, 1.5e308))  # norm 3e308
    assert clip_grad_norm_(w, 1.2e308) == math.inf
    np.testing.assert_allclose(w.grad, 0.6e308, rtol=1e-15)


def test_factors_too_small_for_float32_keep_their_digits():
    w = Parameter(np.zeros(3, np.float32), np.full(3, 3e38, np.float32))
    clip_grad_norm_(w, 1e-5)
    np.testing.assert_allclose(w.grad, 1e-5 / math.sqrt(3), rtol=1e-6)


def test_rounding_stays_small_over_many_elements():
    g = np.full(3_000_000, 0.1, np.float32)
    assert get_total_norm(g) == pytest.approx(float(np.float32(0.1)) * math.sqrt(g.size), rel=1e-14)


def test_torch_what_becomes_of_nan_and_inf():
    nothing = [0, math.nan, 0]
    for bad, expected in [(math.nan, [math.nan] * 3), (math.inf, nothing), (-math.inf, nothing)]:
        a, b = Parameter(np.zeros(2), np.array([1.0, bad])), Parameter(np.zeros(1), np.array([2.0]))
        norm = clip_grad_norm_([a, b], 1.0)
        assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
        np.testing.assert_array_equal(np.r_[a.grad, b.grad], expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_nonfinite_gradients_can_be_an_error_that_names_them(bad, p):
    params = some_parameters()
    params[1].grad[2, 2] = bad
    before = [q.grad.copy() for q in params]
    with pytest.raises(RuntimeError, match=r"order .* parameter 1 is not finite"):
        clip_grad_norm_(params, 1.0, norm_type=p, error_if_nonfinite=True)
    assert all(np.array_equal(q.grad, g, equal_nan=True) for q, g in zip(params, before, strict=True))
    with pytest.raises(RuntimeError, match="norm of order"):
        get_total_norm([q.grad for q in params], p, error_if_nonfinite=True)


def test_limit_inf_only_measures():
    w = Parameter(np.zeros(2), np.array([np.inf, 1.0]))
    assert clip_grad_norm_(w, math.inf) == math.inf
    assert w.grad.tolist() == [np.inf, 1.0]


@pytest.mark.parametrize("bad", [-1.0, math.nan, -math.inf])
def test_limits_out_of_range(bad):
    w = Parameter(np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match=r"clip_grad_norm_: max_norm=.* must lie in \[0, inf\]"):
        clip_grad_norm_(w, bad)
    with pytest.raises(ValueError, match=r"clip_grad_value_: clip_value=.* must lie in \[0, inf\]"):
        clip_grad_value_(w, bad)
    with pytest.raises(TypeError, match="max_norm='1' must be a number"):
        clip_grad_norm_(w, "1")
    assert w.grad.tolist() == [1, 1]


@pytest.mark.parametrize("bad", [0, math.nan, "two", None])
def test_orders_that_are_none(bad):
    with pytest.raises(ValueError, match=r"norm_type=.* must be a number other than 0"):
        clip_grad_norm_(Parameter(np.zeros(2), np.ones(2)), 1.0, norm_type=bad)
    assert get_total_norm(np.array([1.0, -3.0]), "inf") == 3


def test_limits_may_be_numbers_of_any_kind():
    for limit in (1, np.float32(1), np.array(1.0), np.int64(1)):
        w = Parameter(np.zeros(1), np.array([5.0]))
        clip_grad_norm_(w, limit)
        assert w.grad[0] == 5.0 * (1 / (5.0 + 1e-6))
        clip_grad_value_(w, np.float64(0.5))
        assert w.grad[0] == 0.5


def test_what_is_no_parameter():
    w = np.ones(2)
    cases = {
        "bare ndarray, which has no .grad": [w, [w], [Parameter(w), w]],
        "pass its .values": [{"w": Parameter(w)}],
        "float cannot be iterated over": [3.0],
        "tuple; pass parameters without their names": [[("w", Parameter(w))]],
        "parameter 0 is float, which has no .grad": [[3.0]],
    }
    for message, given in cases.items():
        for parameters in given:
            with pytest.raises(TypeError, match=message):
                clip_grad_norm_(parameters, 1.0)
            with pytest.raises(TypeError, match=message):
                clip_grad_value_(parameters, 1.0)


def test_an_optimizer_is_told_how_to_pass_its_parameters():
    import nbopt

    opt = nbopt.SGD([np.ones(2)], lr=0.1)
    with pytest.raises(TypeError, match="of an optimizer pass"):
        clip_grad_norm_(opt, 1.0)
    params = [p for group in opt.param_groups for p in group["params"]]
    params[0].grad = np.array([3.0, 4.0])
    assert clip_grad_norm_(params, 1.0) == 5


def test_values_are_moved_to_the_edges():
    for dtype in (np.float32, np.float64):
        g = np.array([-7, -0.1, 0, 0.1, 7, np.nan, np.inf, -np.inf], dtype)
        w = Parameter(np.zeros_like(g), g)
        assert clip_grad_value_([w], 0.1) is None
        c = dtype(0.1)
        np.testing.assert_array_equal(w.grad, np.array([-c, -c, 0, c, c, np.nan, c, -c], dtype))
        assert w.grad is g


def test_complex_values_have_no_order():
    params = [Parameter(np.zeros(2), np.full(2, 9.0)), Parameter(np.zeros(2, complex), np.ones(2, complex))]
    with pytest.raises(TypeError, match="complex"):
        clip_grad_value_(params, 1.0)
    assert params[0].grad.tolist() == [9, 9]


def test_total_norm_takes_gradients_only():
    with pytest.raises(TypeError, match=r"array 0 is a Parameter; pass its \.grad"):
        get_total_norm([Parameter(np.ones(2))])
    with pytest.raises(TypeError, match="array 1 has dtype int64"):
        get_total_norm([np.ones(2), np.ones(2, int)])
    with pytest.raises(TypeError, match="array 0 is list"):
        get_total_norm([[1.0, 2.0]])
    assert get_total_norm(np.broadcast_to(np.float32(2), 9)) == 6  # read-only, overlapping: only measured


def test_torch_gives_the_same():
    torch = pytest.importorskip("torch", reason="compares with torch's own clipping")
    for dtype in (torch.float32, torch.float64, torch.complex128):
        for p in ORDERS:
            for limit in (0.0, 0.5, 1e6, math.inf):
                ours = [torch.nn.Parameter(torch.zeros(s, dtype=dtype)) for s in ((4,), (2, 3), ())]
                torch.manual_seed(1)
                for q in ours:
                    q.grad = torch.randn(q.shape, dtype=dtype)
                theirs = [torch.nn.Parameter(q.detach().clone()) for q in ours]
                for q, r in zip(theirs, ours, strict=True):
                    q.grad = r.grad.clone()
                versions = [q.grad._version for q in ours]
                norm, expected = (
                    clip_grad_norm_(ours, limit, p),
                    torch.nn.utils.clip_grad_norm_(theirs, limit, p),
                )
                tolerance = 2e-6 if dtype == torch.float32 else 1e-14
                assert norm.dtype == expected.dtype
                assert norm.item() == pytest.approx(expected.item(), rel=tolerance)
                for q, r in zip(ours, theirs, strict=True):
                    np.testing.assert_allclose(q.grad.numpy(), r.grad.numpy(), rtol=tolerance, atol=0)
                if norm > limit:
                    assert all(q.grad._version > v for q, v in zip(ours, versions, strict=True))


def test_torch_finite_norms_within_two_ulp():
    torch = pytest.importorskip("torch", reason="compares with torch's own clipping")
    for seed in range(50):
        for dtype in (np.float32, np.float64):
            g = normal(10, seed=seed, dtype=dtype)
            w = torch.nn.Parameter(torch.zeros(10, dtype=torch.from_numpy(g).dtype))
            w.grad = torch.from_numpy(g.copy())
            expected = torch.nn.utils.clip_grad_norm_(w, 0.7)
            p = Parameter(np.zeros_like(g), g)
            norm = clip_grad_norm_(p, 0.7)
            ulp = np.finfo(dtype).eps
            np.testing.assert_allclose(dtype(norm), expected.item(), rtol=2 * ulp)
            np.testing.assert_allclose(p.grad, w.grad.numpy(), rtol=2 * ulp, atol=0)


def test_torch_norms_that_float32_cannot_hold_are_double():
    torch = pytest.importorskip("torch", reason="clips a torch tensor")
    w = torch.nn.Parameter(torch.zeros(100))
    w.grad = torch.full((100,), 3e38)
    norm = clip_grad_norm_(w, 1.0)
    assert norm.dtype == torch.float64
    assert norm.item() == pytest.approx(float(np.float32(3e38)) * 10, rel=1e-13)
    np.testing.assert_allclose(w.grad.numpy(), 0.1, rtol=1e-6)


def test_a_clipped_step_of_an_optimizer_is_the_clipped_one():
    import nbopt

    a, b = Parameter(np.array([1.0, 2.0])), np.array([1.0, 2.0])
    opt, same = nbopt.Adam([a], lr=0.1), nbopt.Adam([b], lr=0.1)
    for k in range(20):
        a.grad = np.array([30.0, -40.0]) * (k + 1)
        clip_grad_norm_([a], 1.0)
        opt.step()
        g = np.array([30.0, -40.0]) * (k + 1)
        same.step(grads=[g * (1 / (50.0 * (k + 1) + 1e-6))])
    np.testing.assert_allclose(a.data, b, rtol=1e-14)
