"""Derivatives of an expression of numbers backwards: by all its variables at once, as by hand.

Partials carried along take a vector of numbers at each step. Backwards a step takes one number, the slope
of the expression in that step. The steps themselves are the rules of duals, each for a dual of one partial.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir as llvm
from numba import types
from numba.core import ir

from nbopt.autodiff.dual import DOUBLE, DualType, pack, unpack, vector
from nbopt.autodiff.emit import FUSED, Site
from nbopt.autodiff.map_elements import constant

# Operations without a pole.
RING: frozenset[Any] = frozenset(
    {operator.add, operator.sub, operator.mul, operator.neg, operator.pos}
    | {np.add, np.subtract, np.multiply, np.negative, np.positive}
)
# Those of two duals that may be emitted twice, once for either: LLVM computes the value once.
_OF_TWO = RING | {operator.truediv, np.true_divide}


class Node(NamedTuple):
    """A number in an expression: its numba type, its LLVM value, and its slopes in what it is made of.

    A variable has its place among all derivatives, and needs no value.
    """

    kind: Any = types.float64
    value: Any = None
    slopes: tuple[tuple[Node, Any], ...] = ()
    place: int | None = None

    @property
    def varies(self) -> bool:
        """Whether it depends on a variable."""
        return self.place is not None or bool(self.slopes)


class Expression:
    """An expression that Numba collected, or that was collected from a loop.

    Parameters
    ----------
    tree : tuple, numba ir.Var or ir.Const
        A function with its operands, a variable or a constant. A part that stands in several places, the same
        object there, is computed once.
    varying : set of str
        Names of what varies; other numbers are constants.
    """

    def __init__(self, tree: Any, varying: set[str]) -> None:
        self.tree, self.varying = tree, varying
        self._known: dict[int, bool] = {}
        self._varies(tree)
        steps = [(part[0], sum(map(self._varies, part[1]))) for part in parts(tree) if type(part) is tuple]
        self.is_separable = all(duals < 2 or function in _OF_TWO for function, duals in steps)
        self.is_polynomial = all(duals == 0 or function in RING for function, duals in steps)

    def _varies(self, tree: Any) -> bool:
        """Tell whether a part depends on a variable."""
        if not isinstance(tree, tuple):
            return isinstance(tree, ir.Var) and tree.name in self.varying
        if id(tree) not in self._known:
            self._known[id(tree)] = any(map(self._varies, tree[1]))
        return self._known[id(tree)]

    def record(self, site: Site, leaves: dict[str, Node]) -> Node:
        """Emit the value, and the slopes of each step, for the numbers that names stand for."""
        found: dict[int, Node] = {}
        for part in parts(self.tree):
            if isinstance(part, ir.Var):
                found[id(part)] = leaves[part.name]
            elif isinstance(part, ir.Const):
                found[id(part)] = Node(*constant(site.context, site.builder, part.value))
            else:
                function, operands = part
                found[id(part)] = _step(site, function, [found[id(operand)] for operand in operands])
        return found[id(self.tree)]


def parts(tree: Any) -> list[Any]:
    """Return all parts of an expression, each of them once, after those that it is made of."""
    return _in_order(tree, lambda part: part[1] if isinstance(part, tuple) else ())


def _in_order(last: Any, made_of: Callable[[Any], Iterable[Any]]) -> list[Any]:
    """Return an object and all that it is made of, each once, after those that it is made of itself."""
    found: dict[int, Any] = {}

    def visit(part: Any) -> None:
        if id(part) not in found:
            for other in made_of(part):
                visit(other)
            found[id(part)] = part

    visit(last)
    return list(found.values())


def _step(site: Site, function: Any, nodes: list[Node]) -> Node:
    """Emit a function of numbers, and its slopes in those that vary."""
    if not any(node.varies for node in nodes):
        return Node(*site.apply(function, tuple(a.kind for a in nodes), [a.value for a in nodes]))
    builder, slopes = site.builder, []
    one, first = llvm.Constant(vector(1), [1.0]), llvm.IntType(32)(0)
    for chosen in {id(node): node for node in nodes if node.varies}.values():  # once if it is all operands
        kinds = tuple(DualType(1) if a is chosen else a.kind for a in nodes)
        args = [pack(builder, a.value, one) if a is chosen else a.value for a in nodes]
        kind, y = site.apply(function, kinds, args)
        if not isinstance(kind, DualType):  # a comparison
            return Node(kind, y)
        value, slope = unpack(builder, y)
        slopes.append((chosen, builder.extract_element(slope, first)))
    return Node(types.float64, value, tuple(slopes))


def derivatives(site: Site, node: Node) -> dict[int, Any]:
    """Emit the derivatives of a recorded expression by its variables, and return them by their places."""
    found: dict[int, Any] = {}
    slopes = {id(node): llvm.Constant(DOUBLE, 1.0)}

    def add(to: dict[int, Any], key: int, slope: Any) -> None:
        to[key] = site.builder.fadd(to[key], slope, flags=FUSED) if key in to else slope

    # A node comes before what it is made of: then all its slope is there, by whatever ways.
    for here in reversed(_in_order(node, lambda node: [operand for operand, _ in reversed(node.slopes)])):
        slope = slopes[id(here)]
        if here.place is not None:
            add(found, here.place, slope)
        for operand, own in here.slopes:
            add(slopes, id(operand), site.builder.fmul(slope, own, flags=FUSED))
    return found
