"""Makes Numba know the rules of duals: their types, and how they are lowered, for numbers and for arrays.

Our templates stand before Numba's own in the functions that both know, and answer only where a dual is
among the arguments: Numba's are never asked about a type that NumPy has no number for.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, signature

from nbopt.autodiff.dual import PLAIN, DualType, lowering
from nbopt.autodiff.dual_arrays import METHODS, TEMPLATES, ArrayMethods, lower_method
from nbopt.autodiff.emit import Site, load, store
from nbopt.autodiff.ends import fuse
from nbopt.autodiff.map_elements import map_elements
from nbopt.autodiff.rows import SetRow
from nbopt.autodiff.rules import IN_PLACE, RULES, Rule


def _element(kind: Any) -> Any:
    """Return the type of what a rule sees of an argument."""
    return kind.dtype if isinstance(kind, types.Array) else kind


def _operand(kind: Any, role: str) -> Any:
    """Return the type that an argument of a rule is cast to, None if it may not stand there."""
    if isinstance(kind, DualType) and role != "truth":
        return kind
    if not isinstance(kind, PLAIN):
        return None
    if role == "truth":
        return types.boolean
    return kind if role == "exponent" and isinstance(kind, types.Integer) else types.float64


def _signature_of(rule: Rule, args: tuple[Any, ...]) -> Any:
    """Return the signature of a rule for arguments, None if it is not for them."""
    if len(args) != rule.arity and (rule.arity or len(args) < 2):
        return None
    roles = rule.operands or ("float",) * len(args)
    elements = tuple(map(_element, args))
    dual = next((kind for kind in elements if isinstance(kind, DualType)), None)
    operands = [_operand(kind, role) for kind, role in zip(elements, roles, strict=True)]
    if dual is None or None in operands:
        return None
    result = dual if rule.result is None else rule.result
    arrays = [a for a in args if isinstance(a, types.Array)]
    if not arrays:
        return signature(result, *operands)
    if not rule.elementwise:
        return None
    fortran = all(a.layout == "F" for a in arrays)
    return signature(types.Array(result, max(a.ndim for a in arrays), "F" if fortran else "C"), *args)


class _DualTemplate(AbstractTemplate):
    """The typing of one function that a rule is for."""

    rule: Rule
    in_place = False

    def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        found = None if kws else _signature_of(self.rule, args)
        if found is None or not (self.in_place and isinstance(args[0], types.Array)):
            return found
        written = args[0]
        if found.return_type.dtype != written.dtype or found.return_type.ndim != written.ndim:
            return None  # an array of floats cannot take duals
        return signature(written, *found.args)

    def get_impl_key(self, sig: Any) -> Any:
        return self.rule, self.in_place and isinstance(sig.return_type, types.Array)


def _lower(rule: Rule, context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Emit a rule, for numbers or for arrays."""
    if isinstance(sig.return_type, types.Array):
        return map_elements(context, builder, sig, args, rule.functions[0])
    site = Site(context, builder)
    y = rule.emit(site, *(load(site, kind, a) for kind, a in zip(sig.args, args, strict=True)))
    return store(site, sig.return_type, y) if isinstance(sig.return_type, DualType) else y


def _lower_in_place(rule: Rule, context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Emit a rule that writes to the array that is its first argument."""
    return map_elements(context, builder, sig, args, rule.functions[0], args[0])


def _template(function: Any, rule: Rule, in_place: bool = False) -> Any:
    """Return the template of a rule for one of the functions that it is for."""
    literal = "exponent" in rule.operands
    members = {"key": function, "rule": rule, "in_place": in_place, "prefer_literal": literal}
    return type("Dual_" + function.__name__, (_DualTemplate,), members)


def _teach(function: Any, template: Any) -> None:
    """Put a template before those that Numba has for a function."""
    context = cpu_target.typing_context
    known = context._lookup_global(function)
    if known is not None:
        context._remove_global(function)
    context._insert_global(function, types.Function((template, *(known.templates if known else ()))))


def install() -> None:
    """Make Numba know duals; done once, before the first function is compiled for them."""
    with global_compiler_lock:  # another thread may be compiling
        _install()


@functools.cache
def _install() -> None:
    """Put all templates and rules in their places."""
    import nbopt.autodiff.dual_linalg  # noqa: F401

    context = cpu_target.typing_context
    context.refresh()
    by_function = {function: rule for rule in RULES for function in rule.functions}
    for function, rule in by_function.items():
        _teach(function, _template(function, rule))
    for function, plain in IN_PLACE.items():
        _teach(function, _template(function, by_function[plain], in_place=True))
    for function, template in TEMPLATES:
        _teach(function, template)
    _teach(operator.setitem, SetRow)
    context._attributes[types.Array].insert(0, ArrayMethods(context))
    for method in METHODS:
        lowering.lower(method.key, types.VarArg(types.Any))(functools.partial(lower_method, method))
    for rule in RULES:
        lowering.lower((rule, False), types.VarArg(types.Any))(functools.partial(_lower, rule))
        lowering.lower((rule, True), types.VarArg(types.Any))(functools.partial(_lower_in_place, rule))
    cpu_target.target_context.install_registry(lowering)
    fuse(cpu_target.target_context)
