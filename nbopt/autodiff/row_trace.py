"""What a loop writes to each row, as one expression: the loop's body, run once on symbols.

Whole numbers that are known before any code runs, such as those of an inner loop, are numbers here, and what
depends on them is decided: so an inner loop comes out as the steps that it takes.
"""

from __future__ import annotations

import operator
from types import ModuleType
from typing import Any, NamedTuple

from numba.core import ir
from numba.core.ir_utils import get_definition, guard

from nbopt.autodiff.backwards import RING, parts
from nbopt.autodiff.counts import Counts
from nbopt.autodiff.dependence import Dependence, called
from nbopt.autodiff.dual_arrays import is_dual_array
from nbopt.autodiff.row_loop import RANGES, RowLoop, is_phi
from nbopt.autodiff.rules import RULES

# More steps than that take long to compile.
_MOST_STEPS, _MOST_STATEMENTS = 64, 2000
# Products of smaller whole numbers do not overflow.
_LARGEST = 2**31

_NUMERIC = frozenset(function for rule in RULES for function in rule.functions)
# Those that give whole numbers or truth of floats.
_STEPS = frozenset(function for rule in RULES for function in rule.functions if rule.result is not None)
_PARTS = frozenset({operator.floordiv, operator.mod})
_ARITHMETIC = _PARTS | {operator.add, operator.sub, operator.mul, operator.neg, operator.pos}
_LOGIC = frozenset({operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne})
_TRUTH = frozenset({bool, operator.truth, operator.not_})

ROW = "row"


class Leaf(NamedTuple):
    """A number in an expression: element ``index`` of a variable, or the other where one of them is None."""

    var: Any = None
    index: Any = None  # a whole number, or ROW for the row's


class Row(NamedTuple):
    """The expression of a row, what its names stand for, and what was taken for granted.

    Arrays ``sized`` were taken to hold n elements; ``of_floats``, data to be of float64.
    """

    tree: Any
    leaves: dict[str, Leaf]
    sized: list[Any]
    of_floats: bool


class _Given(NamedTuple):
    """A variable that is set before the loop."""

    var: Any


class _Next(NamedTuple):
    """What an iterator gives: an item, and whether there is one."""

    item: Any
    valid: bool


class _UnknownError(Exception):
    """The body does what is no expression."""


def trace(func_ir: Any, loop: RowLoop, dependence: Dependence, n: int) -> Row | None:
    """Return what a loop writes to each row; None if it is not one expression.

    Parameters
    ----------
    func_ir : numba FunctionIR
        In SSA form, untyped.
    loop : RowLoop
    dependence : Dependence
        What depends on the arguments that are duals.
    n : int
        Number of variables; an argument that is an array of duals is taken to hold so many.

    Returns
    -------
    Row or None
    """
    try:
        return _Trace(func_ir, loop, dependence, n).run()
    except (_UnknownError, RecursionError):
        return None


def _require(condition: Any) -> None:
    """Give up if a condition does not hold."""
    if not condition:
        raise _UnknownError


def _whole(symbol: Any) -> int | None:
    """Return the whole number that a symbol is, None if it is none."""
    value = symbol.value if isinstance(symbol, ir.Const) else symbol
    return value if type(value) is int else None


class _Trace:
    """A run of a loop's body.

    A symbol is a whole number that the run found, a bool, a numba ir.Const of the user's, a part of an
    expression, a list of symbols, a range, an iterator, `_Next`, `_Given`, or None for what is no number.
    """

    def __init__(self, func_ir: Any, loop: RowLoop, dependence: Dependence, n: int) -> None:
        self.func_ir, self.loop, self.n = func_ir, loop, n
        self.kinds, self.duals = dependence.kinds, dependence.names
        self.counts = Counts(func_ir, dependence.kinds)
        self.of_floats = False
        self.symbols: dict[str, Any] = {}
        self.leaves: dict[str, tuple[Any, Leaf]] = {}
        self.sized: dict[str, Any] = {}
        self.steps: list[Any] = []
        self.row = self._leaf(Leaf(index=ROW))
        self.written: Any = None

    def run(self) -> Row:
        """Run the body once."""
        label, before, left = self.loop.header, None, _MOST_STATEMENTS
        while label != self.loop.header or before is None:
            block = self.func_ir.blocks[label]
            left -= len(block.body)
            _require(label in self.loop.body and left > 0)
            joins = [s for s in block.body if is_phi(s)]
            self.symbols |= {s.target.name: self._join(s.value, before) for s in joins}
            for statement in block.body[:-1]:
                if not is_phi(statement):
                    self._do(statement)
            before, label = label, self._next(block.terminator)
        _require(self.written is not None)
        used, made = (
            {id(p) for tree in trees for p in parts(tree)} for trees in ([self.written], self.steps)
        )
        # what is computed for nothing might have raised
        _require(all(id(part) in used for part in self.steps if part[0] not in RING))
        leaves = {name: leaf for name, (var, leaf) in self.leaves.items() if id(var) in used | made}
        return Row(self.written, leaves, list(self.sized.values()), self.of_floats)

    def _next(self, jump: Any) -> int:
        """Return the block that comes next."""
        if isinstance(jump, ir.Jump):
            return jump.target
        _require(isinstance(jump, ir.Branch))
        truth = self._symbol(jump.cond)
        _require(isinstance(truth, bool))
        return jump.truebr if truth else jump.falsebr

    def _join(self, phi: Any, before: Any) -> Any:
        """Return what a variable is that was set in several blocks."""
        for label, var in zip(phi.incoming_blocks, phi.incoming_values, strict=True):
            if label == before and isinstance(var, ir.Var):
                return self._on_all_ways(self._symbol(var), phi)
        raise _UnknownError

    def _on_all_ways(self, symbol: Any, phi: Any) -> Any:
        """Return what a symbol is where ways join: Numba gives all that come there one type."""
        whole, ways = _whole(symbol), [v for v in phi.incoming_values if isinstance(v, ir.Var)]
        if all(map(self.counts.is_count, ways)):
            return symbol if whole is None else whole  # to Numba it is no constant
        if whole is not None:
            _require(abs(whole) < _LARGEST)
            symbol = ir.Const(float(whole), phi.loc)
            self.of_floats |= not any(v.name in self.duals for v in ways)
        elif isinstance(symbol, ir.Var | ir.Const | tuple | _Given):
            self._join_number(symbol)
        return symbol

    def _join_number(self, symbol: Any) -> None:
        """Take data that a joined number is made of for float64, and so the number."""
        made_of = parts(self._operand(symbol))
        _require(not any(type(part) is tuple and part[0] in _STEPS for part in made_of))
        own = {id(part) for part in made_of}
        names = {leaf.var.name for var, leaf in self.leaves.values() if leaf.var and id(var) in own}
        _require(names or any(isinstance(part, ir.Const) and type(part.value) is float for part in made_of))
        self.of_floats |= bool(names) and names.isdisjoint(self.duals)

    def _do(self, statement: Any) -> None:
        """Run a statement."""
        if statement is self.loop.store and isinstance(statement, ir.SetItem):
            _require(self._symbol(statement.index) is self.row and self.written is None)
            self.written = self._operand(self._symbol(statement.value))
            return
        _require(isinstance(statement, ir.Assign))
        self.symbols[statement.target.name] = self._value(statement.value)

    def _symbol(self, var: Any) -> Any:
        """Return the symbol of a variable."""
        if var.name not in self.symbols:
            _require(var.name not in self.loop.own)
            made = guard(get_definition, self.func_ir, var)
            found = self._constant(made)
            self.symbols[var.name] = _Given(var) if found is None else found
        return self.symbols[var.name]

    def _constant(self, made: Any) -> Any:
        """Return the symbol of a whole number or a shape that is set before the loop, None if not known."""
        if isinstance(made, ir.Const | ir.Global | ir.FreeVar):
            return self._value(made) if type(made.value) is int else None
        op = made.op if isinstance(made, ir.Expr) else None
        known = op in ("getattr", "getitem", "static_getitem")
        if op == "call":
            known = called(self.func_ir, made.func) is len
        elif op == "binop":
            known = None not in [_whole(self._symbol(v)) for v in (made.lhs, made.rhs)]
        try:
            found = self._value(made) if known else None
        except _UnknownError:
            return None
        return found if isinstance(found, list) else _whole(found)

    def _size(self, var: Any) -> int:
        """Return the number of elements of an array of variables."""
        given = self._symbol(var)
        _require(isinstance(given, _Given))
        made = guard(get_definition, self.func_ir, given.var)
        _require(isinstance(made, ir.Arg) and is_dual_array(self.kinds[made.index], 1))
        self.sized[given.var.name] = given.var
        return self.n

    def _value(self, made: Any) -> Any:
        """Return the symbol of what is assigned."""
        if isinstance(made, ir.Var):
            return self._symbol(made)
        if isinstance(made, ir.Const | ir.Global | ir.FreeVar):
            return ir.Const(made.value, made.loc) if type(made.value) in (int, float) else None
        _require(isinstance(made, ir.Expr))
        visit: Any = getattr(self, "_" + made.op, None)
        _require(visit is not None)
        return visit(made)

    # Numba's kinds of expressions

    def _binop(self, made: Any) -> Any:
        return self._apply(made.fn, [made.lhs, made.rhs])

    def _inplace_binop(self, made: Any) -> Any:
        return self._apply(made.immutable_fn, [made.lhs, made.rhs])

    def _unary(self, made: Any) -> Any:
        return self._apply(made.fn, [made.value])

    def _cast(self, made: Any) -> Any:
        return self._symbol(made.value)

    def _exhaust_iter(self, made: Any) -> Any:
        return self._symbol(made.value)

    def _build_tuple(self, made: Any) -> Any:
        return [self._symbol(item) for item in made.items]

    def _getiter(self, made: Any) -> Any:
        found = self._symbol(made.value)
        _require(isinstance(found, range))
        return iter(found)

    def _iternext(self, made: Any) -> Any:
        if made.value.name not in self.loop.own:
            return _Next(self.row, True)
        item = next(self._symbol(made.value), None)
        return _Next(item, item is not None)

    def _pair_first(self, made: Any) -> Any:
        return self._symbol(made.value).item

    def _pair_second(self, made: Any) -> Any:
        return self._symbol(made.value).valid

    def _getattr(self, made: Any) -> Any:
        owner = called(self.func_ir, made.value)
        if isinstance(owner, ModuleType):
            value = getattr(owner, made.attr, None)
            return ir.Const(value, made.loc) if type(value) in (int, float) else None
        _require(made.attr in ("size", "shape"))
        size = self._size(made.value)
        return size if made.attr == "size" else [size]

    def _static_getitem(self, made: Any) -> Any:
        return self._item(made.value, made.index)

    def _getitem(self, made: Any) -> Any:
        index = self._symbol(made.index)
        return self._item(made.value, ROW if index is self.row else _whole(index))

    def _item(self, var: Any, index: Any) -> Any:
        """Return an element of an array or a tuple."""
        _require(index == ROW or type(index) is int)
        owner = self._symbol(var)
        if isinstance(owner, list):
            _require(index != ROW and -len(owner) <= index < len(owner))
            return owner[index]
        _require(isinstance(owner, _Given))
        return self._leaf(Leaf(owner.var, index))

    def _call(self, made: Any) -> Any:
        _require(not made.kws and made.vararg is None)
        function = called(self.func_ir, made.func)
        if function is len:
            return self._size(*made.args)
        if function not in RANGES:
            return self._apply(function, made.args)
        limits: list[Any] = [_whole(self._symbol(limit)) for limit in made.args]
        _require(None not in limits and 0 not in limits[2:])
        return range(*limits)

    def _apply(self, function: Any, given: Any) -> Any:
        """Return what a function of numbers gives."""
        symbols = [self._symbol(var) for var in given]
        numbers: list[Any] = [_whole(symbol) for symbol in symbols]
        if function in _TRUTH and (numbers[0] is not None or isinstance(symbols[0], bool)):
            return bool(symbols[0] if numbers[0] is None else numbers[0]) != (function is operator.not_)
        if None not in numbers:
            _require(function in _LOGIC | _ARITHMETIC and (function not in _PARTS or numbers[1]))
            _require(all(abs(number) < _LARGEST for number in numbers))
            return function(*numbers)
        _require(function in _NUMERIC and len(self.steps) < _MOST_STEPS)
        self.steps.append((function, [self._operand(symbol) for symbol in symbols]))
        return self.steps[-1]

    # Numbers

    def _operand(self, symbol: Any) -> Any:
        """Return a symbol as a part of an expression."""
        if type(symbol) is int:
            _require(abs(symbol) < _LARGEST)
            return self._leaf(Leaf(index=symbol))
        if isinstance(symbol, _Given):
            return self._leaf(Leaf(symbol.var))
        _require(isinstance(symbol, ir.Var | ir.Const) or type(symbol) is tuple)
        return symbol

    def _leaf(self, leaf: Leaf) -> Any:
        """Return the variable that stands for a number, the same for the same number."""
        name = f"{leaf.var.name if leaf.var else ''}[{leaf.index}]"
        return self.leaves.setdefault(name, (ir.Var(None, name, self.loop.store.loc), leaf))[0]
