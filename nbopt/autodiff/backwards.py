"""Derivatives of an expression of numbers backwards: by all its variables at once, as by hand.

Partials carried along take a vector of numbers at each step. Backwards a step takes one number, the slope
of the expression in that step. The steps themselves are the rules of duals, each for a dual of one partial.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir as llvm
from numba import types
from numba.core import ir

from nbopt.autodiff.dual import DOUBLE, DualType, pack, unpack, vector
from nbopt.autodiff.emit import FUSED, Site
from nbopt.autodiff.map_elements import constant

# Operations without a pole.
_RING: frozenset[Any] = frozenset(
    {operator.add, operator.sub, operator.mul, operator.neg, operator.pos}
    | {np.add, np.subtract, np.multiply, np.negative, np.positive}
)
# Those of two duals that may be emitted twice, once for either: LLVM computes the value once.
_OF_TWO = _RING | {operator.truediv, np.true_divide}


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
    """An expression that Numba collected.

    Parameters
    ----------
    tree : tuple, numba ir.Var or ir.Const
        A function with its operands, a variable or a constant.
    varying : set of str
        Names of what varies; other numbers are constants.
    """

    def __init__(self, tree: Any, varying: set[str]) -> None:
        self.tree, self.varying = tree, varying
        steps = list(self._steps(tree))
        self.is_separable = all(duals < 2 or function in _OF_TWO for function, duals in steps)
        self.is_polynomial = all(duals == 0 or function in _RING for function, duals in steps)

    def _varies(self, tree: Any) -> bool:
        """Tell whether a part depends on a variable."""
        if isinstance(tree, tuple):
            return any(map(self._varies, tree[1]))
        return isinstance(tree, ir.Var) and tree.name in self.varying

    def _steps(self, tree: Any) -> Iterator[tuple[Any, int]]:
        """Yield the functions in a part, with how many of their operands vary."""
        if isinstance(tree, tuple):
            function, operands = tree
            yield function, sum(map(self._varies, operands))
            for operand in operands:
                yield from self._steps(operand)

    def record(self, site: Site, leaves: dict[str, Node]) -> Node:
        """Emit the value, and the slopes of each step, for the numbers that names stand for."""
        return self._record(site, self.tree, leaves)

    def _record(self, site: Site, tree: Any, leaves: dict[str, Node]) -> Node:
        """Emit a part."""
        if isinstance(tree, ir.Var):
            return leaves[tree.name]
        if isinstance(tree, ir.Const):
            return Node(*constant(site.context, site.builder, tree.value))
        function, operands = tree
        nodes = [self._record(site, operand, leaves) for operand in operands]
        if not any(node.varies for node in nodes):
            return Node(*site.apply(function, tuple(a.kind for a in nodes), [a.value for a in nodes]))
        return _step(site, function, nodes)


def _step(site: Site, function: Any, nodes: list[Node]) -> Node:
    """Emit a function of numbers, and its slopes in those that vary."""
    builder, slopes = site.builder, []
    one, first = llvm.Constant(vector(1), [1.0]), llvm.IntType(32)(0)
    for chosen in (node for node in nodes if node.varies):
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

    def go_back(node: Node, slope: Any) -> None:
        """Add what the expression changes by through a node."""
        if node.place is not None:
            before = found.get(node.place)
            found[node.place] = slope if before is None else site.builder.fadd(before, slope, flags=FUSED)
        for operand, own in node.slopes:
            go_back(operand, site.builder.fmul(slope, own, flags=FUSED))

    go_back(node, llvm.Constant(DOUBLE, 1.0))
    return found
