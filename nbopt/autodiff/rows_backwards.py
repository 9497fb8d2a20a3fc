"""Rows of a Jacobian found backwards: a loop that goes from each value back to the variables.

The duals must be the same for all rows, and be variables, or made of one or two, as the parameters of models
are. Whether they are is seen when the code runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir as llvm
from numba import types
from numba.core import cgutils

from nbopt.autodiff.backwards import Expression, Node, derivatives
from nbopt.autodiff.dual import DOUBLE, unpack, vector, zeros
from nbopt.autodiff.emit import FUSED, Site
from nbopt.autodiff.rows import WORD, Writer

# So many partials are one register's: to carry them costs no more than to go backwards.
_NARROW = 4


class Guess(NamedTuple):
    """What a dual seems to be: the variable of a number, and all that it is made of; None if unknown."""

    variable: int | None
    made_of: frozenset[int] | None


def is_faster(expression: Expression, guesses: dict[str, Guess], k: int) -> bool:
    """Tell whether duals of k partials seem to be made of few variables, and to go backwards is faster.

    Parameters
    ----------
    expression : Expression
    guesses : dict of str to Guess
        Of all that varies in the expression.
    k : int
    """
    known = all(guess.made_of is not None for guess in guesses.values())
    return known and expression.is_separable and (k > _NARROW or expression.is_polynomial)


class RowsBackwards:
    """What emits the loop.

    Parameters
    ----------
    site : Site
    expression : Expression
        Each value's.
    duals : dict of str to LLVM values
        What varies in the expression.
    guesses : dict of str to Guess
        See `is_faster`.
    elements : callable
        ``elements(i)`` emits what else is in the expression, or may be: type and LLVM value by name.
    """

    def __init__(
        self,
        site: Site,
        expression: Expression,
        duals: dict[str, Any],
        guesses: dict[str, Guess],
        elements: Callable[[Any], dict[str, tuple[Any, Any]]],
    ) -> None:
        self.site, self.builder, self.expression = site, site.builder, expression
        self.duals, self.guesses, self.elements = duals, guesses, elements

    def emit(self, writer: Writer, count: Any, right: Any = cgutils.true_bit) -> Any:
        """Emit the writing of the first ``count`` rows if a condition is right; return whether it is done."""
        self.writer, self.count = writer, count
        done = cgutils.alloca_once_value(self.builder, cgutils.false_bit)
        with self.builder.if_then(self.builder.and_(right, self._is_as_it_seems())):
            self._go_backwards()
            self.builder.store(cgutils.true_bit if self._has_no_poles() else self._finite(), done)
        return self.builder.load(done)

    def _has_no_poles(self) -> bool:
        """Tell whether all is sums and products of variables."""
        return self.expression.is_polynomial and None not in (g.variable for g in self.guesses.values())

    def _is_as_it_seems(self) -> Any:
        """Emit whether the duals have the partials that they seem to have, and no others."""
        builder, right = self.builder, cgutils.true_bit
        for name, dual in self.duals.items():
            partials, (variable, made_of) = unpack(builder, dual)[1], self.guesses[name]
            k = partials.type.count
            every = llvm.Constant(llvm.IntType(k), -1)
            unit = [float(lane == variable) for lane in range(k)]
            same = builder.fcmp_ordered("==", partials, llvm.Constant(vector(k), unit))
            free = sum(1 << lane for lane in made_of or () if variable is None)
            bits = builder.or_(builder.bitcast(same, every.type), llvm.Constant(every.type, free))
            right = builder.and_(right, builder.icmp_signed("==", bits, every))
        return right

    def _numbers(self) -> dict[str, Node]:
        """Emit the duals as numbers with slopes in their variables."""
        builder, found, one = self.builder, {}, llvm.Constant(DOUBLE, 1.0)
        for name, dual in self.duals.items():
            value, partials = unpack(builder, dual)
            variable, made_of = self.guesses[name]
            slopes = []
            for place in sorted(made_of or ()):
                own = builder.extract_element(partials, llvm.IntType(32)(place))
                slopes.append((Node(place=place), own if variable is None else one))
            found[name] = Node(value=value, slopes=tuple(slopes))
        return found

    def _go_backwards(self) -> None:
        """Emit the loop."""
        polynomial, numbers = self.expression.is_polynomial, self._numbers()
        if polynomial and self.writer.kind.valued:  # without calls LLVM vectorizes what writes values alone
            with cgutils.for_range(self.builder, self.count) as loop:
                self._put_value(loop.index, self._record(loop.index, numbers))
        with cgutils.for_range(self.builder, self.count) as loop:
            node = self._record(loop.index, numbers)
            if not polynomial:
                self._put_value(loop.index, node)
            self._put_row(loop.index, derivatives(self.site, node))
            body = self.builder.block
        # Vectorized it would scatter, after checks for overlaps; calls take longer than the jumps of a loop.
        kept = ("vectorize",) if polynomial else ("vectorize", "unroll")
        keep_as_it_is(self.builder.module, body.terminator, *kept)

    def _record(self, i: Any, numbers: dict[str, Node]) -> Node:
        """Emit the value at a place, and the slopes of each step to it."""
        others = {name: Node(*pair) for name, pair in self.elements(i).items()}
        return self.expression.record(self.site, others | numbers)

    def _put_value(self, i: Any, node: Node) -> None:
        """Emit the store of a value."""
        context, builder = self.site.context, self.builder
        self.writer.put_value(i, context.cast(builder, node.value, node.kind, types.float64))

    def _put_row(self, i: Any, found: dict[int, Any]) -> None:
        """Emit the store of a row: as a vector, but number by number where calls stand in the loop.

        There the processor is at work on several rows, and a vector would keep it waiting for all its parts.
        """
        builder, n = self.builder, self.writer.kind.n
        if self.expression.is_polynomial or len(found) < n:
            row = zeros(n)
            for lane, slope in found.items():
                row = builder.insert_element(row, slope, llvm.IntType(32)(lane))
            self.writer.put_partials(i, row)
            return
        for lane, slope in found.items():
            builder.store(slope, builder.gep(self.writer.row(i), [WORD(lane)]))

    def _finite(self) -> Any:
        """Emit whether all derivatives are finite: where one is not, partials tell what it should be."""
        builder, zero, partials = self.builder, llvm.Constant(DOUBLE, 0.0), self.writer.partials
        total = cgutils.alloca_once_value(builder, zero)
        with cgutils.for_range(builder, builder.mul(self.count, WORD(self.writer.kind.n))) as loop:
            # 0, but NaN for what is not finite; zeros may be added up in any order
            here = builder.fmul(builder.load(builder.gep(partials, [loop.index])), zero, flags=FUSED)
            builder.store(builder.fadd(builder.load(total), here, flags=(*FUSED, "reassoc")), total)
        return builder.fcmp_ordered("==", builder.load(total), zero)


def keep_as_it_is(module: Any, jump: Any, *what: str) -> None:
    """Keep LLVM from changing the loop that a jump ends: from what is named of "vectorize" and "unroll"."""
    no, yes = (llvm.Constant(llvm.IntType(1), bit) for bit in (0, 1))
    options = {"vectorize": ("llvm.loop.vectorize.enable", no), "unroll": ("llvm.loop.unroll.disable", yes)}
    found = [module.add_metadata(options[name]) for name in what]
    loop = module.add_metadata([*found, WORD(len(module.metadata))])  # the number makes it one of its own
    loop.operands = (loop, *found)
    jump.set_metadata("llvm.loop", loop)
