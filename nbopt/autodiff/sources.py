"""Which variables a number in a function is made of, to all appearances: what the code computes it from.

Code that runs may find otherwise, where an array of variables was changed or arguments come in another
order. So this is a guess, to be checked there.
"""

from __future__ import annotations

from typing import Any

from numba.core import ir

from nbopt.autodiff.dual import DualType

# Numbers made of more variables than that gain nothing by being taken apart.
_MOST = 2


class Sources:
    """What the numbers in a function seem to be made of.

    Parameters
    ----------
    func_ir : numba FunctionIR
    kinds : tuple of numba types
        The types of the arguments.
    n : int
        Number of variables. Elements x[i] stand for these, as do arguments that are duals, in their order.
    """

    def __init__(self, func_ir: Any, kinds: tuple[Any, ...], n: int) -> None:
        self.n = n
        body = (s for block in func_ir.blocks.values() for s in block.body)
        self._made = {s.target.name: s.value for s in body if isinstance(s, ir.Assign)}
        duals = [i for i, kind in enumerate(kinds) if isinstance(kind, DualType)]
        self._places = {argument: place for place, argument in enumerate(duals) if place < n}
        self._plain = set(range(len(kinds))) - set(duals)

    def origin(self, value: Any) -> Any:
        """Return what a name stands for in the end."""
        seen: set[str] = set()
        while isinstance(value, ir.Var) and value.name not in seen:
            seen.add(value.name)
            value = self._made.get(value.name)
        return value

    def variable(self, value: Any) -> int | None:
        """Return which variable a number seems to be, None if it is made of others or unknown."""
        found = self.origin(value)
        if isinstance(found, ir.Arg):
            return self._places.get(found.index)
        index = None
        if isinstance(found, ir.Expr) and found.op in ("getitem", "static_getitem"):
            index = found.index if found.op == "static_getitem" else self.origin(found.index)
            index = index.value if isinstance(index, ir.Const) else index
        return index % self.n if isinstance(index, int) else None

    def of(self, value: Any, depth: int = 8) -> frozenset[int] | None:
        """Return the variables that a number seems to be made of; None if unknown, or too many."""
        found, place = self.origin(value), self.variable(value)
        if place is not None:
            return frozenset({place})
        if isinstance(found, ir.Const | ir.Global | ir.FreeVar):
            return frozenset()
        if isinstance(found, ir.Arg):
            return frozenset() if found.index in self._plain else None
        if not isinstance(found, ir.Expr) or found.op not in ("unary", "binop", "call") or not depth:
            return None
        function = getattr(found, "func", None) if found.op == "call" else None
        operands = [v for v in found.list_vars() if function is None or v.name != function.name]
        parts = [self.of(operand, depth - 1) for operand in operands]
        if None in parts:
            return None
        union = frozenset().union(*(part for part in parts if part is not None))
        return union if len(union) <= _MOST else None
