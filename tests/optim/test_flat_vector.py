"""All parameters of a group as one vector."""

import numpy as np
import pytest

from nbopt.optim.flat_vector import FlatVector
from nbopt.optim.parameter import Parameter


def test_reads_and_writes_parameters_of_any_layout_in_order():
    a = np.arange(6.0).reshape(2, 3)
    b = np.arange(20.0, 32.0).reshape(3, 4)[:, ::2]
    c = np.array(7.0)
    flat = FlatVector("LBFGS", [Parameter(a.T), Parameter(b), Parameter(c)])
    assert flat.size == 13
    x = np.empty(13)
    flat.read(x)
    np.testing.assert_array_equal(x, [0, 3, 1, 4, 2, 5, 20, 22, 24, 26, 28, 30, 7])
    flat.write(-x)
    np.testing.assert_array_equal(a, -np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(b, [[-20, -22], [-24, -26], [-28, -30]])
    assert c == -7.0


def test_complex_numbers_are_pairs_and_mixed_dtypes_make_float64():
    z, w = np.array([1 + 2j, 3 - 4j]), np.ones(1, np.float32)
    flat = FlatVector("LBFGS", [Parameter(z), Parameter(w)])
    assert (flat.size, flat.dtype) == (5, np.float64)
    x = np.empty(5)
    flat.read(x)
    assert x.tolist() == [1, 2, 3, -4, 1]
    flat.write(2 * x)
    assert z.tolist() == [2 + 4j, 6 - 8j]
    assert w.dtype == np.float32
    assert w[0] == 2


def test_gradients_missing_strided_and_sparse():
    ps = [Parameter(np.ones(2)), Parameter(np.ones((2, 2))), Parameter(np.ones((3, 2)))]
    ps[1].grad = np.arange(4.0).reshape(2, 2).T
    ps[2].grad = (np.array([2, 0, 2]), np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]]))
    g = np.full(12, np.nan)
    FlatVector("LBFGS", ps).read_gradient(g)
    assert g.tolist() == [0, 0, 0, 2, 1, 3, 3, 4, 0, 0, 11, 22]


def test_refuses_what_is_no_gradient_and_names_it():
    p = Parameter(np.ones(3), name="w")
    p.grad = np.ones(2)
    with pytest.raises(ValueError, match=r"LBFGS: gradient 0 \(w\) has shape \(2,\)"):
        FlatVector("LBFGS", [p]).read_gradient(np.empty(3))
    with pytest.raises(TypeError, match="wrap it in"):
        FlatVector("LBFGS", [np.ones(3)])


def test_torch_tensors_and_their_version():
    torch = pytest.importorskip("torch", reason="torch parameters")
    p = torch.ones(2, 3, dtype=torch.float64).T.detach().requires_grad_()
    q = torch.ones(2, dtype=torch.complex128, requires_grad=True)
    (p.sum() * 2 + (q.real * 3).sum()).backward()
    flat = FlatVector("LBFGS", [p, q])
    g, version = np.empty(10), p._version
    flat.read_gradient(g)
    assert g.tolist() == [2] * 6 + [3, 0, 3, 0]
    flat.write(np.arange(10.0))
    assert p.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert q.tolist() == [6 + 7j, 8 + 9j]
    assert p._version > version
    p.grad = torch.ones(3, 2, dtype=torch.float64).to_sparse()
    flat.read_gradient(g)
    assert g[:6].tolist() == [1] * 6
