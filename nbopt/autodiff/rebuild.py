"""A user's compiled function built once more, for duals: the same Python function, changed in its IR.

Before types are inferred, functions that get duals are replaced by their own builds for duals, and arrays
of floats that duals are stored into are allocated as arrays of duals.
"""

from __future__ import annotations

import dis
import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config, ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NopythonRewrites
from numba.core.untyped_passes import ReconstructSSA
from numba.extending import overload

from nbopt.autodiff.counts import Counts
from nbopt.autodiff.dependence import Dependence, called, calls
from nbopt.autodiff.dual import DualType, dual_in
from nbopt.autodiff.dual_arrays import array_of
from nbopt.autodiff.dual_math import install
from nbopt.autodiff.ends import assignments, end_in_rows, returned
from nbopt.autodiff.loop_rows import go_backwards_first
from nbopt.autodiff.rows import RowsType, new_rows
from nbopt.kernels.compile import UserFragments, is_compiled

# Options of the user's own build that change what is computed, with Numba's defaults: a build inside
# another would else take over that one's.
_KEPT = {"error_model": "python", "fastmath": False, "boundscheck": None}

# Functions that Numba treats in ways of its own, with those that stand for them.
_RENAMED = {np.float64: float, np.array: array_of}

# Allocators with the place of their dtype among the arguments.
_NEW = {np.zeros: 1, np.empty: 1, np.ones: 1, np.full: 2}
_FLOATS = (float, np.float64)


def _like(a, fill, dtype):
    """Return an array of duals like an array of floats, all elements ``fill``; others keep their dtype."""


@overload(_like)
def _like_floats(a, fill, dtype):
    if isinstance(a, types.Array) and isinstance(a.dtype, (types.Float, DualType)):
        return lambda a, fill, dtype: np.full(a.shape, fill, dtype)
    return lambda a, fill, dtype: np.full_like(a, fill)


_LIKE = {np.zeros_like: 0.0, np.empty_like: 0.0, np.ones_like: 1.0, np.full_like: None}


class _Changes:
    """The changes to one function."""

    def __init__(self, func_ir: Any, dual: DualType, rows: RowsType | None = None) -> None:
        self.func_ir, self.dual, self.rows = func_ir, dual, rows
        self.names: list[str] = []
        self.result: Any = None
        self.in_rows = False
        if rows is not None:
            self.names, self.result = returned(func_ir)

    def apply(self, dependence: Dependence) -> None:
        """Change the calls that matter."""
        for block, place, statement, function in calls(self.func_ir):
            call = statement.value
            if is_compiled(function):
                if dependence.any(var for var in call.list_vars() if var.name != call.func.name):
                    build = dual_build(function, self.rows if call is self.result else None)
                    call.func = self._constant(block, place, build, call.loc)
            elif function in _RENAMED and dependence.any(call.args):
                call.func = self._constant(block, place, _RENAMED[function], call.loc)
            elif statement.target.name in dependence.names and call.vararg is None:
                if call is self.result and self._allocate_rows(block, place, call, function, dependence):
                    continue
                if function in _NEW:
                    self._allocate(block, place, call, _NEW[function])
                elif function in _LIKE:
                    self._allocate_like(block, place, call, _LIKE[function])
        if self.rows is not None and self.in_rows:
            go_backwards_first(self.func_ir, self.names, dependence, self.rows)

    def _constant(self, block: Any, place: int, value: Any, loc: Any) -> Any:
        """Insert a variable that holds a constant before a statement."""
        var = block.scope.redefine("$nbopt", loc)
        constant = ir.Global("nbopt", value, loc)
        block.body.insert(place, ir.Assign(constant, var, loc))
        self.func_ir._definitions[var.name] = [constant]
        return var

    def _allocate(self, block: Any, place: int, call: Any, at: int) -> None:
        """Make an allocation of floats, with the dtype as argument number ``at``, one of duals."""
        args, kws = list(call.args), dict(call.kws)
        given = args[at] if len(args) > at else kws.get("dtype")
        if given is None or called(self.func_ir, given) in _FLOATS:
            kws["dtype"] = self._constant(block, place, self.dual, call.loc)
            call.args, call.kws = tuple(args[:at]), tuple(kws.items())

    def _allocate_rows(
        self, block: Any, place: int, call: Any, function: Any, dependence: Dependence
    ) -> bool:
        """Make the allocation of the function's result one of rows, if elements are assigned one by one."""
        counts = Counts(self.func_ir, dependence.kinds)
        given = [*call.args[1:], *(var for name, var in call.kws if name == "dtype")]
        floats = all(called(self.func_ir, var) in _FLOATS for var in given)
        written = [s for s in assignments(self.func_ir) if s.target.name in self.names]
        places = [s.index_var if isinstance(s, ir.StaticSetItem) else s.index for s in written]
        if function not in (np.zeros, np.empty) or not floats or len(call.args) + len(call.kws) > 2:
            return False
        if not call.args or not all(map(counts.is_count, [call.args[0], *places])):
            return False
        alone = sum(dual_in(kind) is not None for kind in dependence.kinds) == 1
        new = new_rows(self.rows, function is np.zeros, alone)
        call.func = self._constant(block, place, new, call.loc)
        call.args, call.kws = (call.args[0],), ()
        self.in_rows = True
        return True

    def _allocate_like(self, block: Any, place: int, call: Any, fill: float | None) -> None:
        """Make an allocation like an array, with a fill unless the call tells it, one of duals."""
        args, kws = list(call.args), dict(call.kws)
        if fill is not None:
            args.append(self._constant(block, place, fill, call.loc))
        elif "fill_value" in kws:
            args.append(kws.pop("fill_value"))
        if len(args) == 2 and not kws:
            call.args = (*args, self._constant(block, place, self.dual, call.loc))
            call.func = self._constant(block, place, _like, call.loc)
            call.kws = ()


@register_pass(mutates_CFG=False, analysis_only=False)
class _ForDuals(FunctionPass):
    """Numba's name for the changes."""

    _name = "nbopt_for_duals"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Change the function if duals are among its arguments."""
        dual = next(filter(None, map(dual_in, state.args)), None)
        if dual is not None:
            # rows are written without a look at the bounds
            rows = None if state.flags.boundscheck or config.BOUNDSCHECK else state.pipeline.rows
            changes = _Changes(state.func_ir, dual, rows)
            changes.apply(Dependence(state.func_ir, state.args))
        return dual is not None


@register_pass(mutates_CFG=False, analysis_only=False)
class _EndInRows(FunctionPass):
    """Numba's name for the change of what is returned."""

    _name = "nbopt_end_in_rows"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Change the function if it ends in an expression."""
        return state.pipeline.rows is not None and end_in_rows(state, state.pipeline.rows)


class _Compiler(CompilerBase):
    """Numba's compiler with two more passes."""

    rows: RowsType | None = None

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_ForDuals, ReconstructSSA)
        passes.add_pass_after(_EndInRows, NopythonRewrites)
        passes.finalize()
        return [passes]


@functools.cache
def _compiler(rows: RowsType | None) -> type[_Compiler]:
    """Return the compiler of functions that return rows where they can."""
    return type("_Compiler", (_Compiler,), {"rows": rows})


def dual_build(fun: Any, rows: RowsType | None = None) -> Any:
    """Return the dispatcher that compiles a user's function for duals; it lives as long as the function.

    Parameters
    ----------
    fun : numba dispatcher
    rows : RowsType, optional
        What a function that ends in an expression of arrays is to return, instead of an array of duals.

    Returns
    -------
    numba dispatcher
        To be called from compiled code, with arrays of duals among its arguments.
    """
    builds = fun.__dict__.setdefault("_nbopt_dual", {})
    build = builds.get(rows)
    if build is None:
        install()
        options = {name: fun.targetoptions.get(name, default) for name, default in _KEPT.items()}
        build = builds[rows] = _dispatcher(fun.py_func, rows, options)
    return build


def _dispatcher(function: Any, rows: RowsType | None, options: dict[str, Any]) -> Any:
    """Return what compiles a function for duals.

    One that returns rows has one caller, and is inlined there: LLVM then sees that the duals are variables,
    and nothing of that is left to be looked at when the code runs.
    """
    flags = options | {"nopython": True, "forceinline": rows is not None}
    # Python code in a with statement is compiled by the flags of what is around it.
    whole = any("WITH" in instruction.opname for instruction in dis.get_instructions(function))
    if rows is not None and UserFragments is not None and not whole:
        return UserFragments(function, flags, _compiler(rows))
    no = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.jit(function, pipeline_class=_compiler(rows), **flags, **no)
