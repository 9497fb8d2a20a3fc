"""What may be a parameter, how its memory is laid out, and the refusals."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from nbopt.kernels import arrays
from nbopt.kernels.headers import address

BASE = np.arange(24.0)


def places(a):
    """Return the address of every element, in C order of the indices."""
    low = np.zeros(a.shape, np.int64)
    for k, (n, stride) in enumerate(zip(a.shape, a.strides, strict=True)):
        low += np.arange(n).reshape([-1 if j == k else 1 for j in range(a.ndim)]) * stride
    return address(a) + low.reshape(-1)


DENSE = [
    BASE.reshape(4, 6),
    BASE.reshape(4, 6).T,
    BASE.reshape(2, 3, 4).transpose(1, 2, 0),
    BASE,
    BASE[3:9],
    np.array(2.0),
    np.empty((0, 3)),
    np.empty((3, 0))[::2],
    BASE.reshape(1, 24)[::-1],
    BASE[:1:7],
]
GAPPY = [
    BASE[::2],
    BASE[::-1],
    BASE.reshape(4, 6)[:, :5],
    BASE.reshape(4, 6)[::2].T,
    BASE.reshape(4, 6)[:, 2],
]


@pytest.mark.parametrize("a", DENSE, ids=lambda a: f"{a.shape}{a.strides}")
def test_dense_arrays_are_recognised_and_walked_in_memory_order(a):
    assert arrays.is_dense(a)
    line = arrays.in_memory_order(a)
    assert line.shape == (a.size,) and line.flags.c_contiguous
    assert np.array_equal(places(line), np.sort(places(a)))
    assert a.size == 0 or np.shares_memory(a, line)


@pytest.mark.parametrize("a", GAPPY, ids=lambda a: f"{a.shape}{a.strides}")
def test_arrays_with_gaps_or_reversed_are_not_dense(a):
    assert not arrays.is_dense(a)


@pytest.mark.parametrize("a", [*DENSE, *GAPPY], ids=lambda a: f"{a.shape}{a.strides}")
def test_new_memory_has_the_same_layout_or_c_order_and_cannot_be_resized(a):
    b = arrays.empty_like(a)
    assert b.shape == a.shape and b.dtype == a.dtype and not np.shares_memory(a, b)
    assert arrays.same_layout(a, b) if arrays.is_dense(a) and a.size else b.flags.c_contiguous
    with pytest.raises(ValueError, match=r"own its data|single-segment"):
        b.resize(100, refcheck=False)


def test_the_same_layout_ignores_strides_of_axes_of_length_one():
    a = BASE.reshape(1, 24)
    assert arrays.same_layout(a, as_strided(BASE, (1, 24), (1000, 8)))
    assert not arrays.same_layout(a, BASE.reshape(24, 1))
    assert not arrays.same_layout(BASE.reshape(4, 6), BASE.reshape(6, 4).T)


class TestLikeAnyLayout:
    """The same over drawn shapes, strides and orders."""

    def test_density_agrees_with_the_addresses(self):
        hypothesis = pytest.importorskip("hypothesis", reason="draws shapes and strides")
        from layouts import layouts

        @hypothesis.given(layouts())
        @hypothesis.settings(deadline=None, max_examples=200)
        def check(a):
            found = np.sort(places(a))
            block = found.size == 0 or bool((np.diff(found) == a.itemsize).all())
            starts_low = found.size == 0 or found[0] == address(a)
            assert arrays.is_dense(a) == (block and starts_low)
            assert not arrays.overlaps_itself(a)
            assert arrays.overlapping([a]) is None

        check()

    def test_overlaps_are_found_where_elements_are_shared(self):
        hypothesis = pytest.importorskip("hypothesis", reason="draws shapes and strides")
        st = hypothesis.strategies
        memory = np.zeros(400)

        @hypothesis.given(
            st.lists(st.tuples(st.integers(1, 4), st.integers(-12, 12)), min_size=1, max_size=3),
            st.integers(0, 80),
            st.integers(0, 3),
        )
        @hypothesis.settings(deadline=None, max_examples=200)
        def check(axes, shift, other):
            a = as_strided(memory[200:], [n for n, _ in axes], [8 * s for _, s in axes])
            own = places(a)
            if len(set(own.tolist())) < own.size:
                assert arrays.overlaps_itself(a)
            b = memory[200 + shift - 40 : 200 + shift - 40 + other]
            shared = set(own.tolist()) & set(places(b).tolist())
            assert (arrays.overlapping([a, b]) is not None) == bool(shared)

        check()


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("a", [*DENSE, *GAPPY], ids=lambda a: f"{a.shape}{a.strides}")
def test_complex_numbers_are_pairs_of_reals_in_place(a, dtype):
    z = (a + 1j * a[...] ** 2).astype(dtype)[::-1] if a.ndim else np.array(a + 3j, dtype)
    pairs = arrays.as_reals(z)
    assert pairs.shape == (*z.shape, 2) and (z.size == 0 or np.shares_memory(pairs, z))
    assert np.array_equal(pairs[..., 0], z.real) and np.array_equal(pairs[..., 1], z.imag)
    assert np.array_equal(arrays.as_complex(pairs), z)


def test_reals_are_their_own_reals_and_foreign_byte_order_keeps_its_values():
    assert arrays.as_reals(BASE) is BASE
    foreign = np.array([1 + 2j, 3 - 4j]).astype(">c16")
    assert np.array_equal(arrays.as_reals(foreign), [[1, 2], [3, -4]])


def read_only():
    a = np.zeros(3)
    a.flags.writeable = False
    return a


def unaligned(n=3):
    return np.zeros(8 * n + 1, np.uint8)[1:].view(np.float64)


class FakeCuda:
    __cuda_array_interface__ = None


REFUSED = {
    "list": ([1.0, 2.0], TypeError, "is list"),
    "float": (1.5, TypeError, "is float"),
    "numpy scalar": (np.float64(1.5), TypeError, "is float64"),
    "none": (None, TypeError, "is NoneType"),
    "integers": (np.arange(3), TypeError, "has dtype int64.*never cast"),
    "booleans": (np.ones(3, bool), TypeError, "has dtype bool"),
    "half": (np.ones(3, np.float16), TypeError, "has dtype float16"),
    "long double": (np.ones(3, np.longdouble), TypeError, "has dtype"),
    "objects": (np.array([1.0, None]), TypeError, "has dtype object"),
    "strings": (np.array(["a"]), TypeError, "has dtype <U1"),
    "records": (np.zeros(2, [("x", float)]), TypeError, "has dtype"),
    "foreign byte order": (np.zeros(2, np.dtype(float).newbyteorder()), TypeError, "foreign byte order"),
    "masked": (np.ma.array([1.0, 2.0], mask=[0, 1]), TypeError, "is MaskedArray"),
    "cuda": (FakeCuda(), TypeError, "is a CUDA array"),
    "read-only": (read_only(), ValueError, "is read-only"),
    "unaligned": (unaligned(), ValueError, "is not aligned to its 8-byte elements"),
    "broadcast": (as_strided(np.zeros(3), (4, 3), (0, 8)), ValueError, "overlaps itself"),
    "sliding": (as_strided(np.zeros(9), (3, 3), (8, 8)), ValueError, "overlaps itself"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_updated_in_place_is_refused(what):
    a, error, words = REFUSED[what]
    with pytest.raises(error, match=f"^Adam: w .*{words}"):
        arrays.check_parameter(a, "Adam: w")


@pytest.mark.parametrize("a", [*DENSE, *GAPPY], ids=lambda a: f"{a.shape}{a.strides}")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_floats_of_any_layout_are_accepted(a, dtype):
    assert arrays.check_parameter(np.zeros_like(a).astype(dtype), "x") is None
    assert arrays.check_parameter(a, "x") is None


def test_of_many_arrays_the_pair_that_shares_memory_is_named():
    apart = [BASE[:8], BASE[8:16:2], BASE[9:16:2], np.zeros(3), np.empty(0)]
    assert arrays.overlapping(apart) is None
    assert arrays.overlapping([*apart, BASE[15:]]) == (2, 5)
    assert arrays.overlapping([np.empty(0), np.empty(0)]) is None
    crossed = np.zeros((40, 40))
    assert arrays.overlapping([crossed[:, ::2], crossed[:, 1::2]]) is None
    assert arrays.overlapping([crossed[:, ::2], crossed[::3]]) == (0, 1)


def test_a_fingerprint_changes_with_memory_layout_dtype_and_permission():
    a = np.zeros((4, 6))
    before = arrays.fingerprint(a)
    assert arrays.fingerprint(a) == before == arrays.fingerprint(a[:])
    for other in (a.copy(), a[1:], a.T, a.view(np.int64), a.reshape(24)):
        assert arrays.fingerprint(other) != before
    a.flags.writeable = False
    assert arrays.fingerprint(a) != before
