"""Which variables of a function depend on duals, before types are known: a flow through Numba's IR.

A value depends on what it is computed from, a container on what is stored into it or into a view of it.
What meets a dual where ways join, or as the result of the function, must become one, too.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from numba.core import ir
from numba.core.ir_utils import get_definition, guard

from nbopt.autodiff.dual import dual_in
from nbopt.kernels.compile import is_compiled

# What tells nothing of the values: attributes, and functions that return whole numbers or truth.
_SHAPES = frozenset({"shape", "size", "ndim", "dtype", "itemsize", "nbytes", "strides", "flags"})
_COUNTS = (len, int, bool, round, range)
_COMPARISONS = frozenset(
    {operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne}
    | {operator.is_, operator.is_not, operator.contains, operator.not_}
)
# Methods that store their arguments in their object.
_STORES = frozenset({"append", "extend", "insert", "fill", "add", "update"})


def called(func_ir: Any, var: Any) -> Any:
    """Return the global object that a variable stands for, such as ``np.zeros``; None if it is no global."""
    found = guard(get_definition, func_ir, var)
    if isinstance(found, ir.Global | ir.FreeVar):
        return found.value
    if isinstance(found, ir.Expr) and found.op == "getattr":
        owner = called(func_ir, found.value)
        if isinstance(owner, ModuleType):
            return getattr(owner, found.attr, None)
    return None


class Dependence:
    """The names of a function's variables that depend on duals.

    Parameters
    ----------
    func_ir : numba FunctionIR
        In SSA form, untyped.
    kinds : tuple of numba types
        The types of the arguments.
    """

    def __init__(self, func_ir: Any, kinds: tuple[Any, ...]) -> None:
        self.func_ir, self.kinds = func_ir, kinds
        self.names: set[str] = set()
        self._fixed: set[str] = set()  # arguments of floats stay what they are
        self._owners: dict[str, set[str]] = defaultdict(set)
        size = -1
        while size != len(self.names) + sum(map(len, self._owners.values())):
            size = len(self.names) + sum(map(len, self._owners.values()))
            for block in func_ir.blocks.values():
                for statement in block.body:
                    self._visit(statement)

    def any(self, variables: Any) -> bool:
        """Tell whether one of some variables depends on duals."""
        return any(var.name in self.names for var in variables)

    def _store(self, name: str) -> None:
        """Note that a dual is stored into a container, and so into what that is made of."""
        waiting = [name]
        while waiting:
            here = waiting.pop()
            if here not in self._fixed:
                self.names.add(here)
                waiting += self._owners[here] - self.names - self._fixed

    def _pass_on(self, name: str, sources: Any) -> None:
        """Note that a variable is made of others, be it a view or a new value."""
        if self.any(sources):
            self.names.add(name)
        self._owners[name].update(var.name for var in sources)

    def _join(self, name: str, sources: Any) -> None:
        """Note that variables are one, and so of one type."""
        self._pass_on(name, sources)
        if name in self.names:
            self.names.update({var.name for var in sources} - self._fixed)

    def _visit(self, statement: Any) -> None:
        """Follow one statement."""
        if isinstance(statement, ir.SetItem | ir.StaticSetItem):
            if statement.value.name in self.names:
                self._store(statement.target.name)
        elif isinstance(statement, ir.Assign):
            name, value = statement.target.name, statement.value
            if isinstance(value, ir.Arg):
                (self.names if dual_in(self.kinds[value.index]) else self._fixed).add(name)
            elif isinstance(value, ir.Var):
                self._join(name, [value])
            elif isinstance(value, ir.Expr):
                self._visit_expression(name, value)
        elif isinstance(statement, ir.Return):
            self._join("return", [statement.value])

    def _visit_expression(self, name: str, value: Any) -> None:
        """Follow an expression that is assigned to a variable."""
        if value.op == "call":
            self._visit_call(name, value)
        elif value.op == "inplace_binop":
            if value.rhs.name in self.names:
                self._store(value.lhs.name)
            self._pass_on(name, [value.lhs])
        elif value.op in ("getitem", "getattr"):
            if value.op == "getitem" or value.attr not in _SHAPES:
                self._pass_on(name, [value.value])
        elif value.op in ("phi", "cast"):
            self._join(name, [var for var in value.list_vars() if isinstance(var, ir.Var)])
        elif value.op not in ("binop", "unary") or value.fn not in _COMPARISONS:
            self._pass_on(name, value.list_vars())

    def _visit_call(self, name: str, value: Any) -> None:
        """Follow a call; some methods store into their object, a user's function into its arguments."""
        function = called(self.func_ir, value.func)
        if function in _COUNTS:
            return
        given = [var for var in value.list_vars() if var.name != value.func.name]
        found = guard(get_definition, self.func_ir, value.func)
        if function is None and isinstance(found, ir.Expr) and found.op == "getattr":
            if found.attr in _STORES:
                self._owners[found.value.name].update(var.name for var in given)
                if self.any(given):
                    self._store(found.value.name)
            given.append(found.value)
        elif is_compiled(function) and self.any(given):
            for var in given:
                self._store(var.name)
        self._pass_on(name, given)


def calls(func_ir: Any) -> Iterator[tuple[Any, int, Any, Any]]:
    """Yield every call of a global: its block, its place there, the assignment, what is called."""
    for block in func_ir.blocks.values():
        for place in range(len(block.body) - 1, -1, -1):  # backwards: the caller may insert before it
            statement = block.body[place]
            value = getattr(statement, "value", None)
            if isinstance(statement, ir.Assign) and isinstance(value, ir.Expr) and value.op == "call":
                function = called(func_ir, value.func)
                if function is not None:
                    yield block, place, statement, function
