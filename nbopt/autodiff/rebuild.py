"""A user's compiled function built once more, for duals: the same Python function, changed in its IR.

Before types are inferred, functions that get duals are replaced by their own builds for duals, and arrays
of floats that duals are stored into are allocated as arrays of duals.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.untyped_passes import ReconstructSSA
from numba.extending import overload

from nbopt.autodiff.dependence import Dependence, called, calls
from nbopt.autodiff.dual import DualType, dual_in
from nbopt.autodiff.dual_arrays import array_of
from nbopt.autodiff.dual_math import install
from nbopt.kernels.compile import is_compiled

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

    def __init__(self, func_ir: Any, dual: DualType) -> None:
        self.func_ir, self.dual = func_ir, dual

    def apply(self, dependence: Dependence) -> None:
        """Change the calls that matter."""
        for block, place, statement, function in calls(self.func_ir):
            call = statement.value
            if is_compiled(function):
                if dependence.any(var for var in call.list_vars() if var.name != call.func.name):
                    call.func = self._constant(block, place, dual_build(function), call.loc)
            elif function in _RENAMED and dependence.any(call.args):
                call.func = self._constant(block, place, _RENAMED[function], call.loc)
            elif statement.target.name in dependence.names and call.vararg is None:
                if function in _NEW:
                    self._allocate(block, place, call, _NEW[function])
                elif function in _LIKE:
                    self._allocate_like(block, place, call, _LIKE[function])

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
            _Changes(state.func_ir, dual).apply(Dependence(state.func_ir, state.args))
        return dual is not None


class _Compiler(CompilerBase):
    """Numba's compiler with one more pass."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_ForDuals, ReconstructSSA)
        passes.finalize()
        return [passes]


def dual_build(fun: Any) -> Any:
    """Return the dispatcher that compiles a user's function for duals; it lives as long as the function.

    Parameters
    ----------
    fun : numba dispatcher

    Returns
    -------
    numba dispatcher
        To be called from compiled code, with arrays of duals among its arguments.
    """
    build = fun.__dict__.get("_nbopt_dual")
    if build is None:
        install()
        options = {name: fun.targetoptions.get(name, default) for name, default in _KEPT.items()}
        build = numba.njit(
            fun.py_func, pipeline_class=_Compiler, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options
        )
        fun.__dict__["_nbopt_dual"] = build
    return build
