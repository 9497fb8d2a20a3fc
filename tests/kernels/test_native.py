"""Entries of compiled functions: every kind of argument arrives, nothing is copied, errors are clear."""

import gc
import weakref
from collections import namedtuple

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

import nbopt.kernels.native as native
from nbopt.kernels.compile import compiled
from nbopt.kernels.native import COMPLEX, GRADIENT, PAIR, VALUE, NotNative, call_entry, call_value, entry_for


@compiled
def _gradient_at(address, x, g, words):
    return call_entry(address, x, g, words.ctypes.data)


@compiled
def _value_at(address, x, words):
    return call_value(address, x, words.ctypes.data)


def value(fun, x, *args, what=VALUE):
    """Call a function through its entry."""
    entry = entry_for(fun, args, what)
    return _value_at(entry.address, x, entry.words(args))


@njit
def first(x, a):
    return x[0] + a


@njit
def norm_of(x, a):
    return x[0] + np.sum(a)


@njit
def last_of(x, a):
    return x[0] + a[-1]


@pytest.mark.parametrize(
    "a",
    [2.5, 3, True, np.float32(0.1), np.float64(0.1), np.int8(-3), np.uint16(9), np.bool_(True), -(2**62)],
    ids=lambda a: f"{type(a).__name__} {a}",
)
def test_scalars(a):
    x = np.array([1.0])
    assert value(first, x, a) == first(x, a)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "u1", "?", "i8"])
@pytest.mark.parametrize("index", [np.s_[:], np.s_[::2], np.s_[::-1], np.s_[:0]])
def test_arrays_of_any_dtype_and_stride(dtype, index):
    x, a = np.array([1.0]), (np.arange(7) % 3).astype(dtype)[index]
    assert value(norm_of, x, a) == norm_of(x, a) == 1.0 + a.sum()


def test_matrices_in_any_order():
    @njit
    def form(x, a):
        s = 0.0
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                s += (10 * i + j) * a[i, j]
        return s

    a, x = np.arange(12.0).reshape(3, 4), np.ones(1)
    for m in (a, a.T, a[:, ::2], np.asfortranarray(a)):
        assert value(form, x, m) == form(x, m)
    a.flags.writeable = False
    assert value(form, x, a) == form(x, a)
    assert value(form, x, a[:0]) == 0.0


def test_structured_arrays():
    @njit
    def weighed(x, rows):
        s = 0.0
        for r in rows:
            s += r.w * (r.y - x[0])
        return s

    rows = np.array([(1.0, 2), (3.0, 4)], dtype=[("y", "f8"), ("w", "i4")])
    assert value(weighed, np.array([0.5]), rows) == 2 * 0.5 + 4 * 2.5


def test_tuples_none_complex_and_functions():
    Pair = namedtuple("Pair", "u v")

    @njit
    def double(t):
        return 2.0 * t

    @njit
    def mixed(x, nested, pair, z, nothing, f):
        s = nested[0] + nested[1][0][1] + pair.u * pair.v + z.real * z.imag
        if nothing is None:
            s += 100.0
        return f(s)

    x = np.ones(1)
    args = ((1.5, (np.array([1.0, 2.0]), True)), Pair(3.0, np.float32(2.0)), 2.0 - 1.0j, None, double)
    assert value(mixed, x, *args) == mixed(x, *args) == 2.0 * (1.5 + 2.0 + 6.0 - 2.0 + 100.0)


@pytest.mark.parametrize("a", [[1.0, 2.0], {1.0}, np.ma.masked_array([1.0]), object(), {"k": 1.0}])
def test_what_has_no_native_form(a):
    with pytest.raises(NotNative):
        entry_for(first, (a,), VALUE)
    with pytest.raises(NotNative):
        entry_for(last_of, ("text",), VALUE)


def test_value_and_gradient():
    @njit
    def fun(x, a):
        return np.sum(a * x * x), 2.0 * a * x

    @njit
    def alone(x, a):
        return np.sum(a * x * x)

    @njit
    def slope(x, a):
        return 2.0 * a * x

    x, a, g = np.array([1.0, -2.0]), np.array([3.0, 0.5]), np.empty(2)
    for entry in (entry_for(fun, (a,), GRADIENT), entry_for(alone, (a,), PAIR, slope)):
        g[:] = np.nan
        assert _gradient_at(entry.address, x, g, entry.words((a,))) == 5.0
        np.testing.assert_array_equal(g, [6.0, -2.0])


@pytest.mark.parametrize("form", ["float32", "int", "tuple", "strided", "list"])
def test_forms_of_a_gradient(form):
    forms = {
        "float32": njit(lambda x: (1.0, x.astype(np.float32))),
        "int": njit(lambda x: (1, x.astype(np.int64))),
        "tuple": njit(lambda x: (1.0, (x[0], x[1]))),
        "strided": njit(lambda x: (1.0, np.repeat(x, 2)[::2])),
        "list": njit(lambda x: (1.0, [x[0], x[1]])),
    }
    entry, g = entry_for(forms[form], (), GRADIENT), np.empty(2)
    assert _gradient_at(entry.address, np.array([3.0, 4.0]), g, entry.words(())) == 1.0
    np.testing.assert_array_equal(g, [3.0, 4.0])


def test_a_pair_may_write_to_x():
    @njit
    def fun(x):
        x *= 2.0
        return x.sum()

    @njit
    def jac(x):
        return x + 1.0

    entry, g = entry_for(fun, (), PAIR, jac), np.empty(2)
    assert _gradient_at(entry.address, np.array([1.0, 2.0]), g, entry.words(())) == 6.0
    np.testing.assert_array_equal(g, [2.0, 3.0])


def test_complex_values():
    fun = njit(lambda x: (x * x).sum())
    assert value(fun, np.array([1.0 + 1.0j, 2.0]), what=COMPLEX) == 2.0j + 4.0


@pytest.mark.parametrize(
    ("fun", "what", "match"),
    [
        (njit(lambda x: None), VALUE, "fun returned None"),
        (njit(lambda x: "text"), VALUE, "must return a real number"),
        (njit(lambda x: x[0] + 1j), VALUE, "complex128; it must return a real number"),
        (njit(lambda x: x[0]), GRADIENT, r"must return \(value, gradient\)"),
        (njit(lambda x: (x[0], x, x)), GRADIENT, r"must return \(value, gradient\)"),
        (njit(lambda x: (x[0], None)), GRADIENT, "fun gave None for the gradient"),
        (njit(lambda x: (x[0], x[0])), GRADIENT, "must be a 1-D array"),
        (njit(lambda x: (x[0], x.reshape(1, -1))), GRADIENT, "must be a 1-D array"),
        (njit(lambda x: (x[0], x + 1j)), GRADIENT, "must be a 1-D array of floats"),
        (njit(lambda x: (1j, x)), GRADIENT, "must return a real number"),
    ],
)
def test_wrong_results_are_refused_when_the_entry_is_made(fun, what, match):
    with pytest.raises(TypeError, match=match):
        entry_for(fun, (), what)


def test_an_array_of_one_element_is_left_to_python():
    with pytest.raises(NotNative):
        entry_for(njit(lambda x: x[:1]), (), VALUE)


def test_a_gradient_of_another_length():
    entry = entry_for(njit(lambda x: (x[0], x[1:])), (), GRADIENT)
    with pytest.raises(ValueError, match="not as many elements as x"):
        _gradient_at(entry.address, np.ones(2), np.empty(2), entry.words(()))


def test_exceptions_of_the_function_reach_the_caller():
    @njit
    def fragile(x):
        if x[0] > 1.0:
            raise ValueError("beyond the edge", 7)
        return x[0]

    entry = entry_for(fragile, (), VALUE)
    assert _value_at(entry.address, np.array([0.5]), entry.words(())) == 0.5
    with pytest.raises(ValueError, match="beyond the edge") as caught:
        _value_at(entry.address, np.array([1.5]), entry.words(()))
    assert caught.value.args == ("beyond the edge", 7)


def test_typing_errors_of_the_function_reach_the_caller():
    with pytest.raises(TypingError):
        entry_for(njit(lambda x: x.nonsense), (), VALUE)
    with pytest.raises((TypeError, TypingError)):
        entry_for(first, (), VALUE)


def test_a_function_with_its_own_signature():
    fun = njit("float64(float64[:], int64)")(lambda x, k: x[0] * k)
    assert value(fun, np.array([1.5]), 2) == 3.0


def test_arrays_are_neither_copied_nor_read_early():
    a = np.ones(1000)
    entry = entry_for(norm_of, (a,), VALUE)
    words, x = entry.words((a,)), np.zeros(1)
    assert words.nbytes < 100
    assert _value_at(entry.address, x, words) == 1000.0
    a[:] = 2.0
    assert _value_at(entry.address, x, words) == 2000.0


def test_entries_are_found_again_and_die_with_the_function():
    def make():
        @njit
        def fun(x, a):
            return a * x[0]

        return fun

    fun = make()
    entry = entry_for(fun, (2.0,), VALUE)
    assert entry_for(fun, (3.0,), VALUE) is entry
    assert entry_for(fun, (np.float32(3.0),), VALUE) is not entry
    assert entry_for(fun, (3,), VALUE) is not entry
    arrays = entry_for(norm_of, (np.ones(3),), VALUE)
    assert entry_for(norm_of, (np.zeros(5),), VALUE) is arrays
    assert entry_for(norm_of, (np.zeros(5)[::2],), VALUE) is not arrays
    assert value(fun, np.array([2.0]), 4.0) == 8.0
    alive = weakref.ref(fun)
    del fun, entry
    gc.collect()
    assert alive() is None


def test_the_code_of_an_entry_outlives_the_function():
    @njit
    def fun(x, a):
        if x[0] < 0.0:
            raise ValueError("negative")
        return a * x[0]

    entry = entry_for(fun, (2.0,), VALUE)
    del fun
    gc.collect()
    assert _value_at(entry.address, np.array([3.0]), entry.words((5.0,))) == 15.0
    with pytest.raises(ValueError, match="negative"):
        _value_at(entry.address, np.array([-3.0]), entry.words((5.0,)))


def test_a_new_function_costs_one_small_compile_and_no_solver():
    made = []
    plain = native.numba.njit

    def counted(*args, **kwargs):
        made.append(kwargs)
        return plain(*args, **kwargs)

    native.numba.njit = counted
    try:
        fun = plain(lambda x, a, b: a * x[0] + b.sum())
        entry_for(fun, (1.0, np.ones(2)), VALUE)
        entry_for(fun, (2.0, np.ones(9)), VALUE)
    finally:
        native.numba.njit = plain
    assert len(made) == 1
    assert made[0]["no_cpython_wrapper"] and made[0]["no_cfunc_wrapper"]


@pytest.mark.parametrize("args, given", [((), 0), ((1.0,), 1), ((1.0, 2.0, 3.0), 3)])
def test_a_wrong_number_of_arguments_is_said_in_a_line(args, given):
    with pytest.raises(TypeError, match=rf"takes a, b after x; args has {given} of that"):
        entry_for(njit(lambda x, a, b: x[0] + a + b), args, VALUE)
