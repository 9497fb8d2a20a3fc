"""Numbers under construction: each operation against Python's."""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from nbopt.autodiff.emit import Dual, Real, Site, chain, pick


def emitted(formula):
    """Compile a formula of two numbers under construction."""

    @intrinsic
    def call(typing_context, a, b):
        def codegen(context, builder, signature, args):
            site = Site(context, builder)
            return formula(Real(site, args[0]), Real(site, args[1])).llvm

        return types.float64(types.float64, types.float64), codegen

    return njit(lambda a, b: call(a, b))


def test_arithmetic():
    def formula(a, b):
        return -(a + b) * (a - 2.0) / (1.0 - b) + 3.0 / a - (2.0 + b) * (2.0 * a) / 4.0 + (b - a)

    a, b = 1.25, -0.7
    expected = -(a + b) * (a - 2.0) / (1.0 - b) + 3.0 / a - (2.0 + b) * (2.0 * a) / 4.0 + (b - a)
    assert emitted(formula)(a, b) == expected


def test_calls_choices_and_branches():
    def formula(a, b):
        site = a.site
        larger = site.choose(a.compare(">", b), a, b)
        deep = site.branch(a.compare("<", 0.0), lambda: a * 2.0, lambda: site.call(math.exp, b))
        return larger + 100.0 * deep + 1000.0 * site.compile(lambda v: v + 1.0, b)

    fun = emitted(formula)
    assert fun(-1.0, 2.0) == 2.0 + 100.0 * -2.0 + 3000.0
    assert fun(5.0, 0.0) == 5.0 + 100.0 + 1000.0


def test_comparisons_with_nan_are_false_but_for_unequal():
    signs = ("<", "<=", ">", ">=", "==", "!=")
    for k, sign in enumerate(signs):
        fun = emitted(lambda a, b, sign=sign: a.site.choose(a.compare(sign, b), 1.0, 0.0))
        assert fun(math.nan, 1.0) == (1.0 if sign == "!=" else 0.0)
        assert fun(1.0, 2.0) == [1.0, 1.0, 0.0, 0.0, 0.0, 1.0][k]


def test_the_chain_rule_leaves_out_plain_numbers():
    def formula(a, b):
        y = chain(a * b, (lambda: b, Dual(a)), (lambda: a, Dual(b)))
        assert y.partials is None
        return y.value

    assert emitted(formula)(2.0, 3.0) == 6.0


def test_a_choice_with_a_plain_number_has_partials():
    from nbopt.autodiff.dual import splat

    def formula(a, b):
        dual = Dual(a, splat(a.site.builder, b.llvm, 2))
        chosen = pick(a.site, a.compare(">", 0.0), dual, Dual(b))
        lane = a.site.builder.extract_element(chosen.partials, _lane(1))
        return chosen.value * 10.0 + Real(a.site, lane)

    fun = emitted(formula)
    assert fun(2.0, 3.0) == 23.0 and fun(-2.0, 3.0) == 30.0


def _lane(i):
    from llvmlite import ir

    return ir.IntType(32)(i)


def test_values_stay_those_of_numpy():
    fun = emitted(lambda a, b: a.site.call(np.logaddexp, a, b))
    assert fun(0.5, 1.5) == np.logaddexp(0.5, 1.5)
