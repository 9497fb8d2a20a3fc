"""The loop of a function that writes its result, if there is one and each row is found without the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
from numba.core import ir
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.ir_utils import get_definition, guard

from nbopt.autodiff.dependence import called

RANGES = (range, numba.prange)


class RowLoop(NamedTuple):
    """A loop over rows from the first on.

    Parameters
    ----------
    store : numba ir.SetItem or ir.StaticSetItem
        What writes a row.
    count : numba ir.Var
        The number of rows.
    header : int
        The block that takes the next row's number.
    body : set of int
        All blocks of the loop.
    before : numba ir.Block
        The block that leads to it.
    after : int
        The block that follows.
    own : set of str
        The variables that are set in the loop.
    """

    store: Any
    count: Any
    header: int
    body: Any
    before: Any
    after: int
    own: set[str]


def is_phi(statement: Any) -> bool:
    """Tell whether a statement joins what a variable is on several ways."""
    value = getattr(statement, "value", None)
    return isinstance(value, ir.Expr) and value.op == "phi"


def find_loop(func_ir: Any, names: list[str]) -> RowLoop | None:
    """Return the outermost loop around the one place where elements of a function's result are set.

    Parameters
    ----------
    func_ir : numba FunctionIR
        In SSA form, untyped.
    names : list of str
        The names that the result goes by.

    Returns
    -------
    RowLoop or None
        None if there is none, or a number is passed on from row to row or to what comes after the loop.
    """
    blocks = func_ir.blocks
    stores = [
        (label, statement)
        for label, block in blocks.items()
        for statement in block.body
        if isinstance(statement, ir.SetItem | ir.StaticSetItem) and statement.target.name in names
    ]
    if len(stores) != 1:
        return None
    label, store = stores[0]
    around = [loop for loop in compute_cfg_from_blocks(blocks).loops().values() if label in loop.body]
    if not around:
        return None
    loop = max(around, key=lambda loop: len(loop.body))
    first, *others = loop.entries
    before, jump = blocks[first], blocks[loop.header].terminator
    if others or not isinstance(before.terminator, ir.Jump) or not isinstance(jump, ir.Branch):
        return None
    inside = [s for label in loop.body for s in blocks[label].body]
    own = {s.target.name for s in inside if isinstance(s, ir.Assign)}
    count = _count(func_ir, blocks[loop.header])
    found = RowLoop(store, count, loop.header, loop.body, before, jump.falsebr, own)
    return found if count is not None and _is_closed(func_ir, found) else None


def _count(func_ir: Any, header: Any) -> Any:
    """Return the variable that a loop counts to from 0, None if it is of another kind."""
    made: Any = next((s.value for s in header.find_insts(ir.Assign) if _op(s.value) == "iternext"), None)
    for op in ("getiter", "call"):
        made = made and guard(get_definition, func_ir, made.value)
        if _op(made) != op:
            return None
    plain = called(func_ir, made.func) in RANGES and len(made.args) == 1 and not made.kws
    return made.args[0] if plain else None


def _op(value: Any) -> str | None:
    """Return Numba's name for the kind of an expression."""
    return value.op if isinstance(value, ir.Expr) else None


def _is_closed(func_ir: Any, loop: RowLoop) -> bool:
    """Tell whether nothing that a loop sets is needed in a later row, or after the loop."""
    blocks = func_ir.blocks
    joins = [s for label in (loop.header, loop.after) for s in blocks[label].body if is_phi(s)]
    outside = [s for label in blocks.keys() - loop.body for s in blocks[label].body]
    used = {var.name for s in outside for var in s.list_vars()}
    return not joins and loop.own.isdisjoint(used | {loop.store.target.name}) and loop.after not in loop.body
