"""Ranges: which values of an option pass, and what the refusal says."""

import fractions
import math

import numpy as np
import pytest

from nbopt.optim import ranges
from nbopt.optim.ranges import Range, as_number

BORDERS = [
    (ranges.NON_NEGATIVE, [0, 1e-300, 5], [-1e-300, math.inf, math.nan]),
    (ranges.POSITIVE, [1e-300, 1e300], [0, -0.0, math.inf, math.nan]),
    (ranges.DECAY, [0, 0.5, 1 - 2**-53], [1, -1e-9, math.nan]),
    (ranges.FRACTION, [0, 1], [1 + 2**-52, -5e-324, math.nan]),
    (ranges.REAL, [-1e308, 0, 1e308], [math.inf, -math.inf, math.nan]),
    (Range(1, 2, "(]"), [1.5, 2], [1, 2.1]),
]


@pytest.mark.parametrize(
    "allowed, inside, outside", BORDERS, ids=lambda x: str(x) if isinstance(x, Range) else ""
)
def test_borders(allowed, inside, outside):
    for value in inside:
        allowed.check("Adam", "lr", value)
        assert allowed.holds(value)
    for value in outside:
        with pytest.raises(ValueError) as caught:
            allowed.check("Adam", "lr", value)
        assert str(caught.value) == f"Adam: lr={value!r} must lie in {allowed}"


@pytest.mark.parametrize(
    "value", [True, None, "0.1", [0.1], (0.1,), 1j, np.zeros(2), np.bool_(True), object, {}]
)
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^SGD: lr=.* must be a number in \[0, inf\)$"):
        ranges.NON_NEGATIVE.check("SGD", "lr", value)


NUMBERS = [
    0.5,
    np.float32(0.5),
    np.float64(0.5),
    fractions.Fraction(1, 2),
    np.array(0.5),
    np.array([0.5]),
    np.array([[0.5]], np.float32),
    np.float16(0.5),
]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_numbers_of_any_make_pass(value):
    assert as_number(value) == 0.5
    ranges.DECAY.check("X", "y", value)
    ranges.DECAYS.check("X", "y", (value, 0))


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_integers_are_numbers(value):
    assert as_number(value) == 3.0 and type(as_number(value)) is float


def test_a_tensor_of_one_element_is_a_number():
    torch = pytest.importorskip("torch", reason="torch tensors as options")
    assert as_number(torch.tensor(0.5)) == as_number(torch.tensor([0.5])) == 0.5
    assert as_number(torch.tensor([0.5, 0.5])) is None and as_number(torch.tensor(True)) is None


@pytest.mark.parametrize("value", [(0.9, 0.99), [0.9, 0.99], np.array([0.9, 0.99]), (np.array(0.9), 0)])
def test_pairs_in_order_pass(value):
    assert ranges.DECAYS.check("Adam", "betas", value) is None


@pytest.mark.parametrize(
    "value",
    [
        0.9,
        (0.9,),
        (0.9, 0.9, 0.9),
        None,
        "ab",
        (0.9, "x"),
        {0.9, 0.99},
        {0.9: 1, 0.99: 1},
        (0.9, None),
        (True, 0.9),
        (b for b in (0.9, 0.99)),
        np.zeros((2, 2)),
        np.array(0.9),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_ordered_pair_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"(?s)^Adam: betas=.* must be a pair of numbers in \[0, 1\)$"):
        ranges.DECAYS.check("Adam", "betas", value)


@pytest.mark.parametrize("value", [(1.5, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, math.nan)])
def test_a_pair_outside_is_a_value_error(value):
    with pytest.raises(ValueError) as caught:
        ranges.DECAYS.check("Adam", "betas", value)
    assert str(caught.value) == f"Adam: betas={value!r} must lie in [0, 1)"
