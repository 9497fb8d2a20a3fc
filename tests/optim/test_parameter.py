"""Parameter: the user's memory, never a copy."""

import copy
import pickle

import numpy as np
import pytest

import nbopt
from nbopt import Parameter


def test_data_is_the_users_memory():
    a = np.arange(6.0).reshape(2, 3)
    p = Parameter(a, name="w")
    assert p.data is a and p.grad is None and p.name == "w"
    assert (p.shape, p.dtype, p.size, p.ndim, len(p)) == ((2, 3), np.float64, 6, 2, 2)


def test_numpy_sees_the_same_memory():
    p = Parameter(np.arange(3.0))
    assert np.shares_memory(np.asarray(p), p.data)
    assert not np.shares_memory(np.array(p), p.data)
    assert np.asarray(p, np.float32).dtype == np.float32
    assert np.dot(p, p) == 5 and np.sum(p) == 3
    with pytest.raises(ValueError, match=r"copy"):
        np.asarray(p, np.float32, copy=False)


def test_a_subclass_of_ndarray_becomes_a_plain_view_of_the_same_memory(tmp_path):
    disk = np.memmap(tmp_path / "w", np.float64, "w+", shape=(4,))
    p = Parameter(disk)
    assert type(p.data) is np.ndarray and np.shares_memory(p.data, disk)
    nbopt.SGD([p], lr=1).step(grads=[np.ones(4)])
    assert disk.tolist() == [-1] * 4


def test_a_masked_array_is_not_stripped_of_its_mask():
    with pytest.raises(TypeError, match=r"MaskedArray"):
        nbopt.SGD([Parameter(np.ma.array([1.0, 2.0], mask=[0, 1]))])


def test_a_parameter_in_a_parameter_is_refused():
    with pytest.raises(TypeError, match=r"is a Parameter already"):
        Parameter(Parameter(np.zeros(2)))


def test_there_are_no_other_attributes():
    p = Parameter(np.zeros(2))
    with pytest.raises(AttributeError):
        p.gradient = np.zeros(2)


def test_parameters_are_told_apart_by_identity():
    a = np.zeros(2)
    p, q = Parameter(a), Parameter(a)
    assert p != q and len({p, q, p}) == 2


@pytest.mark.parametrize("how", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_have_memory_of_their_own(how):
    p = Parameter(np.arange(6.0).reshape(2, 3).T, grad=np.ones((3, 2)), name="w")
    q = how(p)
    assert np.array_equal(q.data, p.data) and np.array_equal(q.grad, p.grad) and q.name == "w"
    assert not np.shares_memory(q.data, p.data) and not np.shares_memory(q.grad, p.grad)


def test_a_shallow_copy_shares_the_memory():
    p = Parameter(np.zeros(2), name="w")
    assert copy.copy(p).data is p.data


def test_repr_shows_name_and_numbers():
    assert repr(Parameter(np.zeros(1))) == "Parameter(array([0.]))"
    assert repr(Parameter(np.zeros(1), name="w")) == "Parameter(w: array([0.]))"


def test_a_scalar_parameter_has_no_length():
    with pytest.raises(TypeError):
        len(Parameter(np.array(1.0)))
