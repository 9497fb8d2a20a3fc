"""Expressions taken apart: which can be, and what is found backwards through them."""

import operator

import numpy as np
import pytest
from llvmlite import ir as llvm
from numba import njit, types
from numba.core import ir
from numba.extending import intrinsic

from nbopt.autodiff.backwards import Expression, Node, derivatives, parts
from nbopt.autodiff.dual import DOUBLE
from nbopt.autodiff.dual_math import install
from nbopt.autodiff.emit import Site

HERE = ir.Loc(__file__, 1)
A, B, C = (ir.Var(None, name, HERE) for name in "abc")
TWO = ir.Const(2, HERE)
SUM, PRODUCT = (operator.add, [A, B]), (operator.mul, [A, (operator.neg, [C])])
POWER = (operator.pow, [A, TWO])


@pytest.mark.parametrize(
    ("tree", "separable", "polynomial"),
    [
        (A, True, True),
        (SUM, True, True),
        ((np.subtract, [PRODUCT, (np.exp, [C])]), True, True),  # c is no variable
        (POWER, True, False),
        ((operator.truediv, [A, B]), True, False),
        ((np.hypot, [A, C]), True, False),
        ((np.hypot, [A, SUM]), False, False),
        ((operator.gt, [A, B]), False, False),
    ],
)
def test_what_can_be_taken_apart(tree, separable, polynomial):
    found = Expression(tree, {"a", "b"})
    assert (found.is_separable, found.is_polynomial) == (separable, polynomial)


def test_derivatives_add_up_over_all_ways_to_a_variable():
    install()
    tree = (operator.mul, [(operator.truediv, [SUM, PRODUCT]), (np.exp, [(operator.sub, [POWER, A])])])
    expression = Expression(tree, {"a", "b"})

    @intrinsic
    def evaluate(typing_context, a, b, c):
        def codegen(context, builder, signature, args):
            site = Site(context, builder)
            one, two = (llvm.Constant(DOUBLE, slope) for slope in (1.0, 2.0))
            leaves = {
                "a": Node(value=args[0], slopes=((Node(place=3), one),)),
                "b": Node(value=args[1], slopes=((Node(place=1), two), (Node(place=3), one))),
                "c": Node(value=args[2]),
            }
            node = expression.record(site, leaves)
            found = derivatives(site, node)
            assert node.varies and sorted(found) == [1, 3]
            return context.make_tuple(builder, signature.return_type, [node.value, found[3], found[1]])

        return types.UniTuple(types.float64, 3)(a, b, c), codegen

    a, b, c = 0.75, -1.5, 2.5
    u, e = (a + b) / (a * -c), np.exp(a**2 - a)
    found = njit(lambda a, b, c: evaluate(a, b, c))(a, b, c)
    by_b = e / (a * -c)
    expected = u * e, e * (1.0 / (a * -c) - u / a + u * (2.0 * a - 1.0)) + by_b, 2.0 * by_b
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_part_that_stands_in_several_places_is_one_part():
    install()
    tree = A
    for _ in range(30):  # without that 2**30 steps
        tree = (operator.mul, [tree, tree])
    powers = (operator.add, [tree, A])
    assert len(parts(powers)) == 32 and parts(powers)[-1] is powers
    expression = Expression(powers, {"a"})
    assert expression.is_polynomial

    @intrinsic
    def evaluate(typing_context, a):
        def codegen(context, builder, signature, args):
            site, one = Site(context, builder), llvm.Constant(DOUBLE, 1.0)
            node = expression.record(site, {"a": Node(value=args[0], slopes=((Node(place=0), one),))})
            return derivatives(site, node)[0]

        return types.float64(a), codegen

    a = 1.0 + 2.0**-30
    np.testing.assert_allclose(njit(lambda a: evaluate(a))(a), 2.0**30 * a ** (2**30 - 1) + 1.0, rtol=1e-6)
