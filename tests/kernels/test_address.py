"""Calls by machine address: what the function raises comes back, and memory is read where it lies."""

import numpy as np
import pytest
from numba import carray

from nbopt.kernels import launcher
from nbopt.kernels.address import call_loop, load_i32, load_i64, pointer_to, raise_status, try_loop
from nbopt.kernels.compile import compiled

F8 = np.dtype(np.float64)
EMPTY = (np.empty(0), np.empty(0), np.empty(0))


def add(p, g, state, h):
    for i in range(p.size):
        p[i] += h[0] * g[i]


def plain_fault(p, g, state, h):
    for i in range(p.size):
        if g[i] > 1:
            raise ValueError("a gradient above one")


def telling_fault(p, g, state, h):
    for i in range(p.size):
        if g[i] > 1:
            raise IndexError("element", i, g[i])


@compiled(cache=False)
def call(loop, p, g, state, h):
    call_loop(loop, p, g, state, h)
    return p.size


@compiled(cache=False)
def catch(loop, p, g, state, h, words):
    words[0], words[1] = try_loop(loop, p, g, state, h)


@compiled(cache=False)
def throw(words):
    raise_status(words[0], words[1])
    return words.size


def test_a_loop_is_called_by_its_address():
    p = np.zeros(5)
    at = launcher.loop_address(add, F8)
    assert call(at, p, np.arange(5.0), EMPTY, np.array([2.0])) == 5
    assert np.array_equal(p, [0, 2, 4, 6, 8])


@pytest.mark.parametrize(
    "loop, error, arguments",
    [(plain_fault, ValueError, ("a gradient above one",)), (telling_fault, IndexError, ("element", 3, 7.0))],
)
def test_what_a_loop_raises_arrives_at_once_or_later(loop, error, arguments):
    p, g, h = np.zeros(5), np.array([0, 1, 0, 7, 9.0]), np.zeros(1)
    at = launcher.loop_address(loop, F8)
    with pytest.raises(error) as caught:
        call(at, p, g, EMPTY, h)
    assert caught.value.args == arguments
    words = np.zeros(2, np.int64)
    catch(at, p, g, EMPTY, h, words)
    assert words[0] != 0
    with pytest.raises(error) as caught:
        throw(words)
    assert caught.value.args == arguments


def test_a_loop_that_raises_nothing_leaves_nothing_to_raise():
    words = np.ones(2, np.int64)
    catch(launcher.loop_address(plain_fault, F8), np.zeros(3), np.zeros(3), EMPTY, np.zeros(1), words)
    assert words.tolist() == [0, 0]
    assert throw(words) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_address_becomes_an_array_of_the_given_type(dtype):
    @compiled(cache=False)
    def second(at, like, n):
        return carray(pointer_to(at + like.itemsize, like), (n,))[0]

    a = np.array([1.5, 2.5, 3.5], dtype)
    found = second(a.ctypes.data, np.empty(0, dtype), 2)
    assert found == 2.5


def test_integers_are_read_with_their_sign():
    @compiled(cache=False)
    def both(at):
        return load_i64(at), load_i32(at), load_i32(at + 4)

    a = np.array([-5, 7], np.int32)
    assert both(a.ctypes.data) == (int(a.view(np.int64)[0]), -5, 7)
