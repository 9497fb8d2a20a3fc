"""What Numba knows of duals: our templates stand first, answer for duals only, and are put there once."""

import math
import operator

import numpy as np
import pytest
from numba import njit, types
from numba.core.registry import cpu_target

from nbopt.autodiff.dual import DualType
from nbopt.autodiff.dual_math import install
from nbopt.autodiff.rules import IN_PLACE, RULES

DUAL = DualType(2)
ARRAY, FLOATS = types.Array(DUAL, 1, "C"), types.Array(types.float64, 1, "C")


@pytest.fixture(scope="module")
def resolve():
    """Return what types a call."""
    install()
    return lambda function, *args: cpu_target.typing_context.resolve_function_type(
        cpu_target.typing_context.resolve_value_type(function), args, {}
    )


def test_types_of_results(resolve):
    assert resolve(operator.add, DUAL, types.int64).return_type == DUAL
    assert resolve(math.exp, DUAL).return_type == resolve(np.exp, DUAL).return_type == DUAL
    assert resolve(operator.lt, DUAL, DUAL).return_type == types.boolean
    assert resolve(math.floor, DUAL).return_type == resolve(int, DUAL).return_type == types.int64
    assert resolve(max, DUAL, types.float64, types.int64).return_type == DUAL


def test_types_of_arrays(resolve):
    assert resolve(operator.mul, DUAL, FLOATS).return_type == ARRAY
    assert resolve(np.exp, ARRAY).return_type == ARRAY
    assert resolve(operator.gt, ARRAY, FLOATS).return_type == types.Array(types.boolean, 1, "C")
    two = types.Array(types.float32, 2, "F")
    assert resolve(np.maximum, two, DUAL).return_type == types.Array(DUAL, 2, "F")
    assert resolve(operator.sub, two, ARRAY).return_type == types.Array(DUAL, 2, "C")
    assert resolve(operator.iadd, ARRAY, FLOATS).return_type == ARRAY


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (operator.iadd, (FLOATS, ARRAY)),  # floats cannot take duals
        (operator.add, (DUAL, types.complex128)),
        (operator.add, (DUAL, types.unicode_type)),
        (operator.and_, (DUAL, DUAL)),
        (math.floor, (ARRAY,)),
        (np.exp, (DUAL, DUAL)),
    ],
)
def test_what_is_not_for_duals_is_refused(resolve, function, args):
    from numba.core.errors import NumbaError

    with pytest.raises((NumbaError, AttributeError)):
        found = resolve(function, *args)
        if found is None:
            raise NumbaError("no match")


def test_installing_twice_changes_nothing(resolve):
    context = cpu_target.typing_context
    before = len(context._lookup_global(operator.add).templates)
    install()
    assert len(context._lookup_global(operator.add).templates) == before


def test_every_function_has_our_template_first(resolve):
    context = cpu_target.typing_context
    for function in [f for rule in RULES for f in rule.functions] + list(IN_PLACE):
        assert context._lookup_global(function).templates[0].__name__ == f"Dual_{function.__name__}"


def test_functions_of_floats_compile_as_before(resolve):
    @njit
    def fun(t, a):
        t += np.exp(a) * t**2 + np.where(t > a, t, a)
        return np.sum(t) + max(a, 2) + abs(-a) + t.mean() + int(a) + (a if a else 1.0)

    t = np.array([1.0, 3.0])
    expected = t + np.exp(2.0) * t**2 + np.where(t > 2, t, 2)
    assert fun(t.copy(), 2.0) == pytest.approx(expected.sum() + 2 + 2 + expected.mean() + 2 + 2)
