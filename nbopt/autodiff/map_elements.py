"""Functions of arrays of duals, element by element: one loop for a whole expression, with broadcasting.

Numba collects the element-wise operations of an expression before it compiles them. For floats it makes
a function of them; for duals their rules are emitted where they stand, in the body of one loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils, ir
from numba.core.imputils import impl_ret_borrowed, impl_ret_new_ref
from numba.np import npyimpl
from numba.np.ufunc.array_exprs import _lower_array_expr

from nbopt.autodiff.dual import dual_in
from nbopt.autodiff.emit import Site


def evaluated(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return what loads the elements of an argument, an array or one number for all."""
    if isinstance(kind, types.Array):
        return npyimpl._prepare_argument(context, builder, value, kind)
    return npyimpl._ScalarHelper(context, builder, value, kind)


def _loop(
    context: Any, builder: Any, result: Any, kinds: Any, args: Any, body: Callable, written: Any = None
) -> Any:
    """Emit ``out[i] = body(elements at i)`` over all i; out is a new array unless one is given."""
    inputs = [evaluated(context, builder, kind, a) for kind, a in zip(kinds, args, strict=True)]
    if written is None:
        out = npyimpl._build_array(context, builder, result, kinds, inputs)
    else:
        out = evaluated(context, builder, result, written)
    places = [a.create_iter_indices() for a in inputs]
    order = "F" if result.layout == "F" else "C"
    with cgutils.loop_nest(builder, out.shape, intp=context.get_value_type(types.intp), order=order) as at:
        values = []
        for number, (place, a) in enumerate(zip(places, inputs, strict=True)):
            place.update_indices(at, number)
            values.append(a.load_data(place.as_values()))
        out.store_data(at, body(values))
    return out.return_val


def element_kinds(kinds: Any) -> tuple[Any, ...]:
    """Return the types of the elements of arguments."""
    return tuple(kind.dtype if isinstance(kind, types.Array) else kind for kind in kinds)


def map_elements(
    context: Any, builder: Any, sig: Any, args: Any, function: Callable, written: Any = None
) -> Any:
    """Emit a function of numbers for every element of its arguments.

    Parameters
    ----------
    context, builder, sig, args
        As in any lowering; ``sig`` returns an array.
    function : callable
        Known to Numba for the elements.
    written : LLVM value, optional
        The array that takes the result, else a new one does.

    Returns
    -------
    LLVM value
        The array.
    """
    site, elements = Site(context, builder), element_kinds(sig.args)

    def body(values: list[Any]) -> Any:
        kind, y = site.apply(function, elements, values)
        return context.cast(builder, y, kind, sig.return_type.dtype)

    out = _loop(context, builder, sig.return_type, sig.args, args, body, written)
    finish = impl_ret_new_ref if written is None else impl_ret_borrowed
    return finish(context, builder, sig.return_type, out)


def constant(context: Any, builder: Any, value: Any) -> tuple[Any, Any]:
    """Return type and LLVM value of a constant in an expression."""
    kind = types.maybe_literal(value) or context.typing_context.resolve_value_type(value)
    return kind, context.get_constant_generic(builder, kind, value)


def emit_tree(site: Site, tree: Any, leaves: dict[str, tuple[Any, Any]]) -> tuple[Any, Any]:
    """Emit an expression: a function with its operands, a variable or a constant."""
    if isinstance(tree, ir.Var):
        return leaves[tree.name]
    if isinstance(tree, ir.Const):
        return constant(site.context, site.builder, tree.value)
    function, operands = tree
    kinds, values = zip(*(emit_tree(site, operand, leaves) for operand in operands), strict=True)
    return site.apply(function, kinds, values)


def lower_expression(lowerer: Any, expression: Any) -> Any:
    """Emit an expression that Numba collected, with our loop where duals are in it."""
    names = sorted({var.name for var in expression.list_vars()})
    kinds = [lowerer.typeof(name) for name in names]
    if not any(map(dual_in, kinds)):
        return _lower_array_expr(lowerer, expression)
    context, builder = lowerer.context, lowerer.builder
    site, result = Site(context, builder), expression.ty

    def body(values: list[Any]) -> Any:
        leaves = dict(zip(names, zip(element_kinds(kinds), values, strict=True), strict=True))
        kind, y = emit_tree(site, expression.expr, leaves)
        return context.cast(builder, y, kind, result.dtype)

    args = [lowerer.loadvar(name) for name in names]
    out = _loop(context, builder, result, kinds, args, body)
    return impl_ret_new_ref(context, builder, result, out)
