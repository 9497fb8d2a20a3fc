"""What a function ends in: an expression of numbers and lines is written as rows of the Jacobian at once.

Where its duals are variables, or made of one or two, as the parameters of models are, the derivatives are
found backwards. Whether they are is seen when the code runs; else partials are carried along.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from llvmlite import ir as llvm
from numba import types
from numba.core import cgutils, ir

from nbopt.autodiff.backwards import Expression, Node, derivatives
from nbopt.autodiff.dual import DOUBLE, dual_in, first_lanes, unpack, vector, zeros
from nbopt.autodiff.dual_arrays import is_dual_array
from nbopt.autodiff.emit import Site
from nbopt.autodiff.map_elements import element_kinds, emit_tree, evaluated, lower_expression
from nbopt.autodiff.rows import WORD, RowsType, Writer, allocate
from nbopt.autodiff.sources import Sources

# So many partials are one register's: to carry them costs no more than to go backwards.
_NARROW = 4


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
        self.sources = Sources(lowerer.func_ir, lowerer.fndesc.argtypes, self.kind.n)
        self.made_of = {
            var.name: self.sources.of(var) for var in expression.list_vars() if var.name in self.duals
        }
        self.variable = {var.name: self.sources.variable(var) for var in expression.list_vars()}

    def emit(self) -> Any:
        """Emit the loops, and return the rows that they write."""
        context, builder = self.context, self.builder
        self.inputs = [evaluated(context, builder, *a) for a in zip(self.kinds, self.args, strict=True)]
        self.places = [a.create_iter_indices() for a in self.inputs]
        rows = allocate(context, builder, self.kind, self._length())
        self.writer = Writer(context, builder, self.kind, rows)
        done = cgutils.alloca_once_value(builder, cgutils.false_bit)
        if self._may_go_backwards():
            with builder.if_then(self._is_as_it_seems()):
                self._go_backwards()
                builder.store(cgutils.true_bit if self._has_no_poles() else self._finite(), done)
        with builder.if_then(builder.not_(builder.load(done))):
            self._go_forwards()
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

    def _may_go_backwards(self) -> bool:
        """Tell whether all duals seem to be made of few variables, and to go backwards is faster."""
        faster = self.dual.k > _NARROW or self.expression.is_polynomial
        arrays = any(is_dual_array(kind) for kind in self.kinds)
        known = not arrays and None not in self.made_of.values()
        return faster and known and self.expression.is_separable

    def _has_no_poles(self) -> bool:
        """Tell whether all is sums and products of variables."""
        return self.expression.is_polynomial and None not in (self.variable[name] for name in self.duals)

    def _is_as_it_seems(self) -> Any:
        """Emit whether the duals have the partials that they seem to have, and no others."""
        builder, k, right = self.builder, self.dual.k, cgutils.true_bit
        every = llvm.Constant(llvm.IntType(k), -1)
        for name, dual in self.duals.items():
            partials, variable = unpack(builder, dual)[1], self.variable[name]
            unit = [float(lane == variable) for lane in range(k)]
            same = builder.fcmp_ordered("==", partials, llvm.Constant(vector(k), unit))
            free = sum(1 << lane for lane in self.made_of[name] or () if variable is None)
            bits = builder.or_(builder.bitcast(same, every.type), llvm.Constant(every.type, free))
            right = builder.and_(right, builder.icmp_signed("==", bits, every))
        return right

    def _numbers(self) -> dict[str, Node]:
        """Emit the duals as numbers with slopes in their variables."""
        builder, found, one = self.builder, {}, llvm.Constant(DOUBLE, 1.0)
        for name, dual in self.duals.items():
            value, partials = unpack(builder, dual)
            slopes = []
            for place in sorted(self.made_of[name] or ()):
                own = builder.extract_element(partials, llvm.IntType(32)(place))
                slopes.append((Node(place=place), own if self.variable[name] is None else one))
            found[name] = Node(value=value, slopes=tuple(slopes))
        return found

    def _elements(self, i: Any) -> dict[str, tuple[Any, Any]]:
        """Load the elements of all arguments at a place."""
        found = {}
        for number, (name, kind) in enumerate(zip(self.names, element_kinds(self.kinds), strict=True)):
            self.places[number].update_indices([i], number)
            found[name] = kind, self.inputs[number].load_data(self.places[number].as_values())
        return found

    def _go_forwards(self) -> None:
        """Emit the loop that carries partials along."""
        with cgutils.for_range(self.builder, self.writer.size) as loop:
            kind, y = emit_tree(self.site, self.tree, self._elements(loop.index))
            value, partials = unpack(self.builder, self.context.cast(self.builder, y, kind, self.dual))
            self.writer.put_value(loop.index, value)
            self.writer.put_partials(loop.index, first_lanes(self.builder, partials, self.kind.n))
            body = self.builder.block
        if self._may_go_backwards():  # then this is for rare cases, and is to compile fast
            _keep_as_it_is(self.builder.module, body.terminator, "vectorize", "unroll")

    def _go_backwards(self) -> None:
        """Emit the loop that goes back from each value to the variables."""
        polynomial, numbers = self.expression.is_polynomial, self._numbers()
        if polynomial and self.kind.valued:  # without calls LLVM vectorizes what writes values alone
            with cgutils.for_range(self.builder, self.writer.size) as loop:
                self._put_value(loop.index, self._record(loop.index, numbers))
        with cgutils.for_range(self.builder, self.writer.size) as loop:
            node = self._record(loop.index, numbers)
            if not polynomial:
                self._put_value(loop.index, node)
            self._put_row(loop.index, derivatives(self.site, node))
            body = self.builder.block
        # Vectorized it would scatter, after checks for overlaps; calls take longer than the jumps of a loop.
        kept = ("vectorize",) if polynomial else ("vectorize", "unroll")
        _keep_as_it_is(self.builder.module, body.terminator, *kept)

    def _record(self, i: Any, numbers: dict[str, Node]) -> Node:
        """Emit the value at a place, and the slopes of each step to it."""
        others = {name: Node(*pair) for name, pair in self._elements(i).items()}
        return self.expression.record(self.site, others | numbers)

    def _put_value(self, i: Any, node: Node) -> None:
        """Emit the store of a value."""
        self.writer.put_value(i, self.context.cast(self.builder, node.value, node.kind, types.float64))

    def _put_row(self, i: Any, found: dict[int, Any]) -> None:
        """Emit the store of a row: as a vector, but number by number where calls stand in the loop.

        There the processor is at work on several rows, and a vector would keep it waiting for all its parts.
        """
        builder, n, row = self.builder, self.kind.n, zeros(self.kind.n)
        if self.expression.is_polynomial or len(found) < n:
            for lane, slope in found.items():
                row = builder.insert_element(row, slope, llvm.IntType(32)(lane))
            self.writer.put_partials(i, row)
            return
        for lane, slope in found.items():
            builder.store(slope, builder.gep(self.writer.row(i), [WORD(lane)]))

    def _finite(self) -> Any:
        """Emit whether all derivatives are finite: where one is not, partials tell what it should be."""
        builder, exponent = self.builder, WORD(0x7FF << 52)
        words = builder.bitcast(self.writer.partials, WORD.as_pointer())
        wrong = cgutils.alloca_once_value(builder, WORD(0))
        with cgutils.for_range(builder, builder.mul(self.writer.size, WORD(self.kind.n))) as loop:
            word = builder.and_(builder.load(builder.gep(words, [loop.index])), exponent)
            here = builder.zext(builder.icmp_signed("==", word, exponent), WORD)
            builder.store(builder.or_(builder.load(wrong), here), wrong)
        return builder.icmp_signed("==", builder.load(wrong), WORD(0))


def _keep_as_it_is(module: Any, jump: Any, *what: str) -> None:
    """Keep LLVM from changing the loop that a jump ends: from what is named of "vectorize" and "unroll"."""
    no, yes = (llvm.Constant(llvm.IntType(1), bit) for bit in (0, 1))
    options = {"vectorize": ("llvm.loop.vectorize.enable", no), "unroll": ("llvm.loop.unroll.disable", yes)}
    found = [module.add_metadata(options[name]) for name in what]
    loop = module.add_metadata([*found, WORD(len(module.metadata))])  # the number makes it one of its own
    loop.operands = (loop, *found)
    jump.set_metadata("llvm.loop", loop)
