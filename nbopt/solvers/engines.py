"""The engines of minimize(): what each needs to run, compiled (or loaded from disk) at its first use."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from nbopt.kernels.native import advance_address
from nbopt.solvers import first_order, lbfgs, lbfgsb


class Engine(NamedTuple):
    """What runs a method: the class of its arrays, the function that advances them, its address."""

    workspace: Any
    advance: Any
    address: int


@functools.cache
def lbfgs_engine() -> Engine:
    """Return the engine of method "lbfgs"."""
    return Engine(lbfgs.Workspace, lbfgs.advance, advance_address(lbfgs.advance))


@functools.cache
def lbfgsb_engine() -> Engine:
    """Return the engine of method "lbfgs" for bounds; its workspace lacks them still."""
    return Engine(lbfgsb.Workspace, lbfgsb.advance, advance_address(lbfgsb.advance))


@functools.cache
def first_order_engine() -> Engine:
    """Return the engine of the methods that are torch's optimizers."""
    return Engine(first_order.Workspace, first_order.advance, advance_address(first_order.advance))
