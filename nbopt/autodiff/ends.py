"""What a function ends in: an expression of numbers and lines is written as rows of the Jacobian at once.

The rows are found backwards where they can be; else partials are carried along.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from numba import types
from numba.core import cgutils, ir

from nbopt.autodiff.backwards import Expression
from nbopt.autodiff.dual import dual_in, first_lanes, unpack
from nbopt.autodiff.dual_arrays import is_dual_array
from nbopt.autodiff.emit import Site
from nbopt.autodiff.map_elements import element_kinds, emit_tree, evaluated, lower_expression
from nbopt.autodiff.rows import WORD, RowsType, Writer, allocate
from nbopt.autodiff.rows_backwards import Guess, RowsBackwards, is_faster, keep_as_it_is
from nbopt.autodiff.sources import Sources


def _statements(func_ir: Any) -> list[Any]:
    """Return all statements of a function."""
    return [statement for block in func_ir.blocks.values() for statement in block.body]


def assignments(func_ir: Any) -> list[Any]:
    """Return the assignments to elements in a function."""
    return [s for s in _statements(func_ir) if isinstance(s, ir.SetItem | ir.StaticSetItem)]


def returned(func_ir: Any) -> tuple[list[str], Any]:
    """Return the names that a function's result goes by, and the expression that makes it.

    No names if it returns in several places, or does more with the result than assign to its elements.
    """
    statements = _statements(func_ir)
    ends = [s for s in statements if isinstance(s, ir.Return)]
    uses = Counter(name for s in statements for name in {var.name for var in s.list_vars()})
    uses.subtract(s.target.name for s in assignments(func_ir))
    made = {s.target.name: s.value for s in statements if isinstance(s, ir.Assign)}
    names: list[str] = []
    found: Any = ends[0].value if len(ends) == 1 else None
    while isinstance(found, ir.Var):
        if uses[found.name] != 2:  # where it is made, and where it is passed on
            return [], None
        names.append(found.name)
        found = made.get(found.name)
        found = found.value if isinstance(found, ir.Expr) and found.op == "cast" else found
    return names, found


def end_in_rows(state: Any, kind: RowsType) -> bool:
    """Make a typed function return rows if it ends in an expression of a line of duals; tell whether."""
    names, expression = returned(state.func_ir)
    if not isinstance(expression, ir.Expr) or expression.op != "arrayexpr":
        return False
    if not is_dual_array(expression.ty, 1) or any(s.target.name in names for s in assignments(state.func_ir)):
        return False
    expression.ty = state.return_type = kind
    for name in names:
        del state.typemap[name]
        state.typemap[name] = kind
    return True


def fuse(context: Any) -> None:
    """Make a target lower the expressions of arrays of duals."""
    context.special_ops["arrayexpr"] = _lower


def _lower(lowerer: Any, expression: Any) -> Any:
    """Emit an expression of arrays."""
    if isinstance(expression.ty, RowsType):
        return _Ending(lowerer, expression).emit()
    return lower_expression(lowerer, expression)


class _Ending:
    """The expression that a function ends in."""

    def __init__(self, lowerer: Any, expression: Any) -> None:
        self.context, self.builder = lowerer.context, lowerer.builder
        self.site = Site(self.context, self.builder)
        self.tree, self.kind = expression.expr, expression.ty
        self.names = sorted({var.name for var in expression.list_vars()})
        self.kinds = [lowerer.typeof(name) for name in self.names]
        self.args = [lowerer.loadvar(name) for name in self.names]
        self.dual: Any = next(filter(None, map(dual_in, self.kinds)))
        pairs = zip(self.names, self.kinds, self.args, strict=True)
        self.duals = {name: a for name, kind, a in pairs if kind == self.dual}
        self.expression = Expression(self.tree, set(self.duals))
        sources = Sources(lowerer.func_ir, lowerer.fndesc.argtypes, self.kind.n)
        self.guesses = {
            var.name: Guess(sources.variable(var), sources.of(var))
            for var in expression.list_vars()
            if var.name in self.duals
        }

    def emit(self) -> Any:
        """Emit the loops, and return the rows that they write."""
        context, builder = self.context, self.builder
        self.inputs = [evaluated(context, builder, *a) for a in zip(self.kinds, self.args, strict=True)]
        self.places = [a.create_iter_indices() for a in self.inputs]
        rows = allocate(context, builder, self.kind, self._length())
        writer = Writer(context, builder, self.kind, rows)
        arrays = any(is_dual_array(kind) for kind in self.kinds)
        if arrays or not is_faster(self.expression, self.guesses, self.dual.k):
            self._go_forwards(writer)
            return rows
        backwards = RowsBackwards(self.site, self.expression, self.duals, self.guesses, self._elements)
        with builder.if_then(builder.not_(backwards.emit(writer, writer.size))):
            body = self._go_forwards(writer)
            # this is for rare cases, and is to compile fast
            keep_as_it_is(builder.module, body.terminator, "vectorize", "unroll")
        return rows

    def _length(self) -> Any:
        """Emit the length that all arrays have, or are broadcast to."""
        builder, length, one = self.builder, WORD(1), WORD(1)
        for number, (kind, a) in enumerate(zip(self.kinds, self.inputs, strict=True)):
            if isinstance(kind, types.Array) and kind.ndim:
                (own,) = a.shape
                first = builder.icmp_signed("==", length, one)
                fits = builder.or_(
                    builder.icmp_signed("==", own, one), builder.icmp_signed("==", own, length)
                )
                with builder.if_then(builder.not_(builder.or_(first, fits)), likely=False):
                    message = f"unable to broadcast argument {number} to output array"
                    self.context.call_conv.return_user_exc(builder, ValueError, (message,))
                length = builder.select(first, own, length)
        return length

    def _elements(self, i: Any) -> dict[str, tuple[Any, Any]]:
        """Load the elements of all arguments at a place."""
        found = {}
        for number, (name, kind) in enumerate(zip(self.names, element_kinds(self.kinds), strict=True)):
            self.places[number].update_indices([i], number)
            found[name] = kind, self.inputs[number].load_data(self.places[number].as_values())
        return found

    def _go_forwards(self, writer: Writer) -> Any:
        """Emit the loop that carries partials along; return the block that ends in its jump."""
        with cgutils.for_range(self.builder, writer.size) as loop:
            kind, y = emit_tree(self.site, self.tree, self._elements(loop.index))
            value, partials = unpack(self.builder, self.context.cast(self.builder, y, kind, self.dual))
            writer.put_value(loop.index, value)
            writer.put_partials(loop.index, first_lanes(self.builder, partials, self.kind.n))
            body = self.builder.block
        return body
