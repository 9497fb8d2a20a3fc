"""Which variables of a function are whole numbers, before types are known: sizes, indices of loops."""

from __future__ import annotations

import operator
from typing import Any

import numba
from numba import types
from numba.core import ir
from numba.core.ir_utils import get_definition, guard

from nbopt.autodiff.dependence import called

_WHOLE = frozenset({operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod})
_WHOLE |= {operator.iadd, operator.isub, operator.imul, operator.ifloordiv, operator.imod}


class Counts:
    """What is known to be a whole number in a function.

    Parameters
    ----------
    func_ir : numba FunctionIR
        In SSA form, untyped.
    kinds : tuple of numba types
        The types of the arguments.
    """

    def __init__(self, func_ir: Any, kinds: tuple[Any, ...]) -> None:
        self.func_ir, self.kinds = func_ir, kinds

    def made(self, var: Any) -> Any:
        """Return what a variable is assigned; None if that is not one thing."""
        return guard(get_definition, self.func_ir, var)

    def is_count(self, var: Any, above: frozenset[str] = frozenset()) -> bool:
        """Tell whether a variable is a whole number for certain; ``above`` are those that ask."""
        made = self.made(var)
        if isinstance(made, ir.Const | ir.Global | ir.FreeVar):
            return type(made.value) is int
        if isinstance(made, ir.Arg):
            return isinstance(self.kinds[made.index], types.Integer)
        if not isinstance(made, ir.Expr):
            return False
        if made.op in ("binop", "inplace_binop", "phi"):
            parts = made.incoming_values if made.op == "phi" else (made.lhs, made.rhs)
            above |= {var.name}
            whole = made.op == "phi" or made.fn in _WHOLE
            return whole and all(v.name in above or self.is_count(v, above) for v in parts)
        if made.op == "call":
            return called(self.func_ir, made.func) in (len, int)
        if made.op == "getattr":
            return made.attr == "size"
        return self._is_item(made)

    def _is_item(self, made: Any) -> bool:
        """Tell whether an expression is the length along an axis, or what a loop counts."""
        if made.op in ("getitem", "static_getitem"):
            whole = self.made(made.value)
            if isinstance(whole, ir.Expr) and whole.op == "getattr":
                return whole.attr == "shape"
            first = made.op == "static_getitem" and made.index == 0
            pair = isinstance(whole, ir.Expr) and whole.op == "exhaust_iter"
            return first and pair and self._is_from(self.made(whole.value), enumerate)
        return self._is_from(made, range, numba.prange)

    def _is_from(self, made: Any, *functions: Any) -> bool:
        """Tell whether an expression is what a loop over one of some functions takes in turn."""
        for op in ("pair_first", "iternext", "getiter"):
            if not isinstance(made, ir.Expr) or made.op != op:
                return False
            made = self.made(made.value)
        return (
            isinstance(made, ir.Expr) and made.op == "call" and called(self.func_ir, made.func) in functions
        )
