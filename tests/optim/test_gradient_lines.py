"""Gradients of every layout, shared, sparse, from torch: all measured, each memory changed once."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp

from nbopt import Parameter
from nbopt.optim.clip_grad import clip_grad_norm_, clip_grad_value_
from nbopt.optim.gradient_lines import lines_of_parameters


def clip_both(p, limit=1.0):
    """Clip by norm and, on a copy, by value; return both gradients and the norm."""
    q = copy.deepcopy(p)
    norm = clip_grad_norm_([p], limit)
    clip_grad_value_([q], 0.25)
    return p.grad, q.grad, norm


def gradients_of_all_layouts():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 6, 8))
    yield x.copy()
    yield x.copy().T
    yield x.copy().transpose(1, 2, 0)
    yield x.copy()[:, ::2]
    yield x.copy()[:, ::-1, 1::3]
    yield x.astype(np.float32)[1]
    yield x.astype(">f8")
    yield np.frombuffer(bytearray(1 + 8 * 5), np.uint8)[1:].view(np.float64) + 0.0
    unaligned = np.frombuffer(bytearray(1 + 8 * 5), np.uint8)[1:].view(np.float64)
    unaligned[...] = [1, 2, 3, 4, 5]
    yield unaligned
    yield np.array(3.0)
    yield np.zeros((0, 3))
    yield np.ones((1, 5, 1))[:, ::2]


@pytest.mark.parametrize("g", [*gradients_of_all_layouts()], ids=lambda g: f"{g.dtype.str}{g.strides}")
def test_every_layout(g):
    before = g.astype(np.float64)
    by_norm, by_value, norm = clip_both(Parameter(np.zeros(g.shape, g.dtype.newbyteorder("=")), g))
    expected = np.sqrt((before**2).sum())
    assert norm == pytest.approx(expected, rel=1e-14)
    assert by_norm is g
    eps = np.finfo(g.dtype).eps
    np.testing.assert_allclose(by_norm, before * min(1, 1 / (expected + 1e-6)), rtol=4 * eps, atol=0)
    np.testing.assert_array_equal(by_value, np.clip(before, -0.25, 0.25).astype(g.dtype))


@pytest.mark.parametrize("cut", [np.s_[:], np.s_[::2], np.s_[::-1]])
def test_complex_gradients_with_and_without_gaps(cut):
    rng = np.random.default_rng(1)
    g = (rng.standard_normal(12) + 1j * rng.standard_normal(12))[cut]
    before = g.copy()
    w = Parameter(np.zeros(g.shape, complex), g)
    for p in (2.0, 3.0):
        norm = (np.abs(g) ** p).sum() ** (1 / p)
        assert clip_grad_norm_(w, np.inf, norm_type=p) == pytest.approx(norm, rel=1e-14)
    norm = clip_grad_norm_(w, 0.5)
    np.testing.assert_allclose(w.grad, before * (0.5 / (norm + 1e-6)), rtol=1e-15)


def test_many_small_arrays_and_mixed_dtypes():
    rng = np.random.default_rng(2)
    dtypes = [np.float32, np.float64, np.complex64, np.complex128]
    shapes = [(k % 7, dtypes[k % 4]) for k in range(300)]
    params = [Parameter(np.zeros(n, t), rng.standard_normal(n).astype(t)) for n, t in shapes]
    before = [p.grad.copy() for p in params]
    norm = clip_grad_norm_(params, 1.0)
    squares = sum((np.abs(g.astype(complex)) ** 2).sum() for g in before)
    assert norm == pytest.approx(np.sqrt(squares), rel=1e-14)
    for p, g in zip(params, before, strict=True):
        np.testing.assert_allclose(p.grad, g / (norm + 1e-6), rtol=3e-7, atol=0)


def test_a_scalar_gradient_is_replaced_since_it_cannot_change():
    w = Parameter(np.array(2.0))
    w.grad = 2 * w.data  # a NumPy scalar
    assert clip_grad_norm_(w, 1.0) == 4
    assert isinstance(w.grad, np.ndarray) and w.grad.shape == ()
    np.testing.assert_allclose(w.grad, 1.0, rtol=1e-6)


def test_a_parameter_listed_twice_counts_once():
    a, b = Parameter(np.zeros(2), np.array([3.0, 0.0])), Parameter(np.zeros(1), np.array([4.0]))
    assert clip_grad_norm_([a, b, a], 1.0) == 5
    np.testing.assert_allclose(np.r_[a.grad, b.grad], np.array([3, 0, 4]) / (5 + 1e-6), rtol=1e-15)


@pytest.mark.parametrize("count", [2, 100])
def test_parameters_that_share_a_gradient_count_each_but_it_shrinks_once(count):
    g = np.array([3.0, 4.0])
    params = [Parameter(np.zeros(2), g) for _ in range(count)]
    assert clip_grad_norm_(params, 1.0) == pytest.approx(5 * np.sqrt(count), rel=1e-14)
    np.testing.assert_allclose(g, np.array([3, 4]) / (5 * np.sqrt(count) + 1e-6), rtol=1e-14)


VIEWS = [
    lambda m: (m, m.T),
    lambda m: (m, m[:]),
    lambda m: (m[::2], m[::2]),
    lambda m: (m.reshape(-1), m.reshape(-1)),
]


def test_two_views_of_one_memory_shrink_once():
    for make in VIEWS:
        m = np.arange(16.0).reshape(4, 4)
        one, two = make(m)
        before = m.copy()
        norm = clip_grad_norm_([Parameter(np.zeros(g.shape), g) for g in (one, two)], 1.0)
        assert norm == pytest.approx(np.sqrt((one**2).sum() + (two**2).sum()) * (norm + 1e-6), rel=1e-12)
        touched = np.zeros((4, 4), bool)
        touched[::2] = True
        touched |= one.size == 16
        np.testing.assert_allclose(m, np.where(touched, before / (norm + 1e-6), before), rtol=1e-14)


def test_gradients_that_share_a_part_are_refused():
    m = np.arange(10.0)
    before = m.copy()
    for one, two in [(m[:6], m[4:]), (m[::2], m[4:5]), (m[2:4], m)]:
        params = [Parameter(np.zeros(g.shape), g) for g in (one, two)]
        with pytest.raises(ValueError, match="gradient of parameter 1 shares memory"):
            clip_grad_norm_(params, 1.0)
        with pytest.raises(ValueError, match="shares memory"):
            clip_grad_value_(params, 1.0)
    assert np.array_equal(m, before)


def test_neighbours_and_interleaved_views_are_no_overlap():
    m = np.full(100, 2.0)
    clip_grad_value_([Parameter(np.zeros(1), m[k : k + 1]) for k in range(100)], 1.0)
    clip_grad_value_([Parameter(np.zeros(50), m[::2]), Parameter(np.zeros(50), m[1::2])], 0.5)
    assert (m == 0.5).all()


def test_gradients_that_cannot_be_changed_are_refused_before_any_is():
    good = Parameter(np.zeros(2), np.array([3.0, 4.0]))
    fixed = np.ones(3)
    fixed.flags.writeable = False
    expanded = np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,))
    bad = {
        "read-only": (ValueError, fixed),
        "overlaps itself": (ValueError, expanded),
        r"\(w\) has dtype int64": (TypeError, np.ones(3, int)),
        "has dtype float16": (TypeError, np.ones(3, np.float16)),
        "is MaskedArray": (TypeError, np.ma.ones(3)),
        "is list": (TypeError, [1.0, 2.0, 3.0]),
        "is float": (TypeError, 1.0),
    }
    for message, (error, g) in bad.items():
        w = Parameter(np.zeros(3), g, name="w")
        for clip in (clip_grad_norm_, clip_grad_value_):
            with pytest.raises(error, match=message):
                clip([good, w], 1.0)
    assert good.grad.tolist() == [3, 4]


def sparse_forms():
    index, values = np.array([1, 4, 1]), np.array([[3.0, 0.0], [0.0, 12.0], [1.0, 0.0]])
    row, column = np.repeat(index, 2), np.tile([0, 1], 3)
    coo = sp.coo_array((values.reshape(-1), (row, column)), shape=(6, 2))
    return {"rows": (index, values), "coo": coo, "csr": coo.tocsr(), "csc": coo.tocsc()}


@pytest.mark.parametrize("form", sparse_forms())
@pytest.mark.parametrize("p", [2.0, 1.0, np.inf])
def test_sparse_gradients_are_measured_with_duplicates_summed(form, p):
    g = sparse_forms()[form]
    w = Parameter(np.zeros((6, 2)), g)
    both = [w, Parameter(np.zeros(1), np.array([3.0]))]
    dense = np.array([4.0, 12.0, 3.0])
    norm = clip_grad_norm_(both, 1.0, norm_type=p)
    assert norm == pytest.approx(np.linalg.norm(dense, p), rel=1e-15)
    found = np.zeros((6, 2))
    if form == "rows":
        np.add.at(found, g[0], g[1])
    else:
        found = g.toarray()
    assert w.grad is g
    np.testing.assert_allclose([found[1, 0], found[4, 1], both[1].grad[0]], dense / (norm + 1e-6), rtol=1e-15)


def test_sparse_values_can_be_clipped_only_if_each_index_stands_once():
    once = (np.array([4, 1]), np.array([[3.0, 0.0], [0.0, -12.0]]))
    w = Parameter(np.zeros((6, 2)), once)
    clip_grad_value_(w, 1.0)
    assert once[1].tolist() == [[1, 0], [0, -1]]
    for form in ("rows", "coo"):
        with pytest.raises(ValueError, match="several entries of the same index"):
            clip_grad_value_(Parameter(np.zeros((6, 2)), sparse_forms()[form]), 1.0)


def test_sparse_gradients_that_cannot_be_changed():
    w = Parameter(np.zeros((6, 2)), (np.array([1]), [[3.0, 4.0]]))
    with pytest.raises(TypeError, match="values are no ndarray"):
        clip_grad_norm_(w, 1.0)
    w.grad = sp.lil_array(np.ones((6, 2)))
    with pytest.raises(TypeError, match="lil_array, so it cannot be changed in place"):
        clip_grad_norm_(w, 1.0)
    w.grad = (np.array([9]), np.ones((1, 2)))
    with pytest.raises(ValueError, match="index 9 is outside"):
        clip_grad_norm_(w, 1.0)


def torch_parameter(torch, grad):
    w = torch.nn.Parameter(torch.zeros(grad.shape, dtype=grad.dtype))
    w.grad = grad
    return w


def test_torch_layouts():
    torch = pytest.importorskip("torch", reason="clips torch tensors")
    torch.manual_seed(0)

    def x():
        return torch.randn(6, 4, dtype=torch.float64)

    def z():
        return torch.randn(6, 4, dtype=torch.complex128)

    for g in (x(), x().T, x()[:, ::2], x()[0, 0], z(), z()[::2], z().conj(), z()[:, ::2].conj()):
        before = g.clone()
        w = torch_parameter(torch, g)
        version = g._version
        norm = clip_grad_norm_([w], 0.25)
        expected = torch.linalg.vector_norm(before)
        assert norm.item() == pytest.approx(expected.item(), rel=1e-14)
        clipped = before * (0.25 / (expected + 1e-6))
        assert torch.allclose(w.grad, clipped, rtol=1e-14, atol=0)
        assert g._version > version


def test_torch_stale_backward_is_caught():
    torch = pytest.importorskip("torch", reason="uses autograd")
    w = torch.nn.Parameter(torch.ones(3))
    w.grad = torch.full((3,), 5.0)
    scale = torch.ones(3, requires_grad=True)
    loss = (scale * w.grad).sum()
    clip_grad_norm_(w, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_torch_tensors_that_cannot_be_clipped():
    torch = pytest.importorskip("torch", reason="clips torch tensors")
    good = torch_parameter(torch, torch.tensor([3.0, 4.0]))
    bad = {
        "has dtype torch.bfloat16": (TypeError, torch.ones(3, dtype=torch.bfloat16)),
        "is on meta": (TypeError, torch.ones(3, device="meta")),
        "overlaps itself": (ValueError, torch.ones(1).expand(3)),
    }
    for message, (error, g) in bad.items():
        w = torch.nn.Parameter(torch.zeros(3, dtype=g.dtype, device=g.device))
        w.grad = g
        with pytest.raises(error, match=message):
            clip_grad_norm_([good, w], 1.0)
    assert good.grad.tolist() == [3, 4]
    with pytest.raises(TypeError, match=r"of a module pass its \.parameters"):
        clip_grad_norm_(torch.nn.Linear(2, 2), 1.0)


def test_torch_sparse_gradients():
    torch = pytest.importorskip("torch", reason="clips a sparse torch gradient")
    table = torch.nn.Embedding(6, 2, sparse=True).double()
    table(torch.tensor([1, 4, 1])).sum().backward()
    assert clip_grad_norm_(table.parameters(), 1.0).item() == pytest.approx(np.sqrt(4 + 4 + 1 + 1), rel=1e-15)
    np.testing.assert_allclose(table.weight.grad.to_dense()[1].numpy(), 2 / (np.sqrt(10) + 1e-6), rtol=1e-15)


def test_torch_shared_parameters_count_once():
    torch = pytest.importorskip("torch", reason="clips torch tensors")
    w = torch_parameter(torch, torch.tensor([3.0, 4.0]))
    assert clip_grad_norm_([w, w], 1.0).item() == 5
    np.testing.assert_allclose(w.grad.numpy(), [0.6, 0.8], rtol=1e-6)


def test_the_quick_road_is_taken_by_plain_arrays():
    params = [Parameter(np.zeros(3), np.ones(3)) for _ in range(3)]
    found = lines_of_parameters("clip", params)
    assert found.written is found.measured
    assert found.others == () and found.tensors == ()
    assert found.measured.norm(2.0) == (1.0, 3.0)
