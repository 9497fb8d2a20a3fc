"""The offsets by which compiled code reads object headers, and the refusal to guess them."""

import sys

import numpy as np
import pytest

from nbopt.kernels import headers
from nbopt.optim.parameter import Parameter

needs_offsets = pytest.mark.skipif(headers.HEADER is None, reason="this interpreter's headers are not read")


@needs_offsets
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.complex128, object, "U3", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3), (1, 4, 1, 5), (2,) * 20])
def test_the_offsets_hold_for_any_array(dtype, shape):
    a = np.zeros(shape, dtype)
    for view in (a, a.T, a[::-1] if a.ndim else a, a[..., ::2] if a.ndim else a):
        assert headers._array_agrees(headers.HEADER, view)


@needs_offsets
def test_the_flags_are_read():
    a = np.zeros(3)
    flags = headers._int(id(a) + headers.HEADER.flags)
    assert flags & headers.WRITEABLE and flags & headers.ALIGNED
    a.flags.writeable = False
    assert not headers._int(id(a) + headers.HEADER.flags) & headers.WRITEABLE


@needs_offsets
@pytest.mark.parametrize("field", headers.ArrayHeader._fields)
def test_a_layout_that_is_not_the_expected_one_is_noticed(field, monkeypatch):
    right = headers._expected()
    wrong = right._replace(**{field: right.data if field != "data" else right.dims})
    monkeypatch.setattr(headers, "_expected", lambda: wrong)
    assert headers.array_header() is None


@pytest.mark.parametrize("what", ["free-threaded", "other interpreter", "32 bit", "lists"])
def test_where_headers_cannot_be_trusted_there_are_no_offsets(what, monkeypatch):
    if what == "free-threaded":
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    elif what == "other interpreter":
        monkeypatch.setattr(sys.implementation, "name", "pypy")
    elif what == "32 bit":
        monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    else:
        monkeypatch.setattr(headers, "_list_agrees", lambda items: False)
    assert headers.array_header() is None


def test_an_interpreter_with_the_gil_switched_on_is_trusted(monkeypatch):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    assert headers._gil_protects()
    monkeypatch.delattr(sys, "_is_gil_enabled")
    assert headers._gil_protects()


@needs_offsets
def test_slots_are_found_where_instances_keep_them():
    p = Parameter(np.zeros(2), grad=np.ones(2))
    for name in ("data", "grad"):
        assert headers._word(id(p) + headers.slot_offset(Parameter, name)) == id(getattr(p, name))


def test_a_class_without_such_a_slot_has_no_offset():
    class Plain:
        pass

    class Shadowed(Parameter):
        """An attribute of the class stands before the slot."""

        data = property(lambda self: None, lambda self, value: None)

    assert headers.slot_offset(Plain, "data") is None
    assert headers.slot_offset(Shadowed, "data") is None


@needs_offsets
def test_lists_are_read():
    items = [object(), None, 3.5]
    assert headers._list_agrees(items)
    items.append("x")
    items.pop(0)
    assert headers._list_agrees(items)


@pytest.mark.parametrize("known", [True, False])
def test_address_of_the_first_element(known, monkeypatch):
    if not known:
        monkeypatch.setattr(headers, "_DATA", 0)
    base = np.arange(12.0).reshape(3, 4)
    for a in (base, base[1:, ::2], base[::-1], base.T, np.array(1.5), np.zeros(0), np.ma.masked_array(base)):
        assert headers.address(a) == a.__array_interface__["data"][0]
