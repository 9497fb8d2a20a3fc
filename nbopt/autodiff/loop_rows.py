"""Rows that a loop writes, found backwards where they can be: before the loop, which is then left out."""

from __future__ import annotations

import inspect
import operator
from typing import Any

from numba import types
from numba.core import cgutils, ir
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from nbopt.autodiff.backwards import Expression
from nbopt.autodiff.dependence import Dependence
from nbopt.autodiff.dual import PLAIN, DualType, dual_in
from nbopt.autodiff.dual_arrays import is_dual_array
from nbopt.autodiff.emit import Site
from nbopt.autodiff.row_loop import RowLoop, find_loop
from nbopt.autodiff.row_trace import ROW, Leaf, Row, trace
from nbopt.autodiff.rows import WORD, RowsType, Writer
from nbopt.autodiff.rows_backwards import Guess, RowsBackwards, is_faster
from nbopt.autodiff.sources import Sources


def go_backwards_first(func_ir: Any, names: list[str], dependence: Dependence, rows: RowsType) -> None:
    """Make a function that writes rows in a loop find them backwards, if that promises to be faster.

    Parameters
    ----------
    func_ir : numba FunctionIR
        In SSA form, untyped; its result is allocated as rows.
    names : list of str
        The names that the result goes by.
    dependence : Dependence
    rows : RowsType
    """
    loop = find_loop(func_ir, names)
    row = loop and trace(func_ir, loop, dependence, rows.n)
    if loop is None or row is None:
        return
    sources = Sources(func_ir, dependence.kinds, rows.n)
    guesses = {
        name: _guess(leaf, sources)
        for name, leaf in row.leaves.items()
        if leaf.var is not None and leaf.var.name in dependence.names
    }
    expression = Expression(row.tree, set(guesses))
    k = next(kind.k for kind in map(dual_in, dependence.kinds) if kind is not None)
    if guesses and is_faster(expression, guesses, k):
        _insert(func_ir, loop, row, _written(row, expression, guesses))


def _guess(leaf: Leaf, sources: Sources) -> Guess:
    """Return what a dual seems to be."""
    if leaf.index is None:
        return Guess(sources.variable(leaf.var), sources.of(leaf.var))
    if leaf.index == ROW:
        return Guess(None, None)
    place = leaf.index % sources.n
    return Guess(place, frozenset({place}))


def _needed(row: Row) -> list[Any]:
    """Return the variables that a row is computed from."""
    given = [leaf.var for leaf in row.leaves.values() if leaf.var is not None]
    return list({var.name: var for var in (*given, *row.sized)}.values())


def _insert(func_ir: Any, loop: RowLoop, row: Row, written: Any) -> None:
    """Insert the call of what writes all rows, and a jump over the loop for when it has done so."""
    block, loc = loop.before, loop.store.loc
    function, done = (block.scope.redefine("$nbopt", loc) for _ in range(2))
    args = (loop.store.target, loop.count, *_needed(row))
    values = ir.Global("nbopt", written, loc), ir.Expr.call(function, args, (), loc)
    for var, value in zip((function, done), values, strict=True):
        block.body.insert(-1, ir.Assign(value, var, loc))
        func_ir._definitions[var.name] = [value]
    block.body[-1] = ir.Branch(done, loop.after, loop.header, loc)


def _written(row: Row, expression: Expression, guesses: dict[str, Guess]) -> Any:
    """Return what writes all rows and tells whether it has: ``done = written(rows, count, *needed)``."""
    needed = [var.name for var in _needed(row)]

    def written(typing_context, rows, count, *given):
        kinds = dict(zip(needed, given, strict=True))

        def codegen(context, builder, signature, args):
            if not _fits(row, kinds, guesses):
                return cgutils.false_bit
            inputs = _Inputs(Site(context, builder), row, kinds, dict(zip(needed, args[2:], strict=True)))
            number = context.cast(builder, args[1], count, types.intp)
            done = cgutils.alloca_once_value(builder, cgutils.false_bit)
            with builder.if_then(builder.icmp_signed(">", number, WORD(0))):  # else there may be no data
                duals = {name: inputs.load(name)[1] for name in guesses}
                backwards = RowsBackwards(inputs.site, expression, duals, guesses, inputs.others(guesses))
                writer = Writer(context, builder, rows, args[0])
                builder.store(backwards.emit(writer, number, inputs.have_size(rows.n)), done)
            return builder.load(done)

        return types.boolean(rows, count, *given), codegen

    found = intrinsic(_with_arguments(written, len(needed) + 3))
    cpu_target.typing_context.refresh()  # knows it from now on, in the middle of a compilation
    return found


def _with_arguments(function: Any, count: int) -> Any:
    """Give each argument of a function a name: those that have none Numba packs in a tuple first."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [inspect.Parameter(f"argument{i}", kind) for i in range(count)]
    function.__signature__ = inspect.Signature(names)
    return function


def _fits(row: Row, kinds: dict[str, Any], guesses: dict[str, Guess]) -> bool:
    """Tell whether variables have the types of what they were taken for."""
    numbers = [
        (name, _number(kinds[leaf.var.name], leaf))
        for name, leaf in row.leaves.items()
        if leaf.var is not None
    ]
    right = all(isinstance(kind, DualType if name in guesses else PLAIN) for name, kind in numbers)
    if row.of_floats:
        right = right and all(kind == types.float64 for name, kind in numbers if name not in guesses)
    return right and all(is_dual_array(kinds[var.name], 1) for var in row.sized)


def _number(kind: Any, leaf: Leaf) -> Any:
    """Return the type of a number in an expression, None if it is no number."""
    if leaf.index is None:
        return kind
    return kind.dtype if isinstance(kind, types.Array) and kind.ndim == 1 else None


class _Inputs:
    """What loads the numbers that a row is computed from."""

    def __init__(self, site: Site, row: Row, kinds: dict[str, Any], args: dict[str, Any]) -> None:
        self.site, self.row, self.kinds, self.args = site, row, kinds, args

    def load(self, name: str, i: Any = None) -> tuple[Any, Any]:
        """Emit the loading of a number for row i; return type and value."""
        var, index = self.row.leaves[name]
        if var is None:
            return types.int64, i if index == ROW else WORD(index)
        kind, given = self.kinds[var.name], self.args[var.name]
        if index is None:
            return kind, given
        # a row's number is not negative: nothing is to be counted from the end
        place = (types.uintp, i) if index == ROW else (types.intp, WORD(index))
        return self.site.apply(operator.getitem, (kind, place[0]), (given, place[1]))

    def others(self, duals: Any) -> Any:
        """Return what loads all numbers that are no duals for a row."""
        names = [name for name in self.row.leaves if name not in duals]
        return lambda i: {name: self.load(name, i) for name in names}

    def have_size(self, n: int) -> Any:
        """Emit whether arrays hold n elements that were taken to do so."""
        context, builder, right = self.site.context, self.site.builder, cgutils.true_bit
        for var in self.row.sized:
            array = context.make_array(self.kinds[var.name])(context, builder, self.args[var.name])
            (size,) = cgutils.unpack_tuple(builder, array.shape, 1)
            right = builder.and_(right, builder.icmp_signed("==", size, WORD(n)))
        return right
