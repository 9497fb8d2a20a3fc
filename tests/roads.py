"""The ways that lead a step to the same numbers, and what tests of all of them share."""

import numpy as np
from numba.core import config as numba_config

import nbopt
from nbopt.kernels import launcher, table

ROADS = ["quick", "careful", "parallel", "no headers", "python"]


def take(road, monkeypatch):
    if road in {"careful", "parallel"}:
        monkeypatch.setattr(launcher, "QUICK_BYTES", -1)
    if road == "parallel":
        monkeypatch.setattr(launcher, "PARALLEL_BYTES", 0)
    if road == "no headers":
        monkeypatch.setattr(table, "HEADER", None)
    if road == "python":
        monkeypatch.setattr(numba_config, "DISABLE_JIT", 1)
    return road


def params_of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def numbers(opt):
    """Return copies, in C order, of all that an optimizer holds."""
    found = []
    for p in params_of(opt):
        found += [p.data.copy(), *(np.array(v) for v in opt.state.get(p, {}).values())]
    return found


def assert_equal(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


KINDS = {
    "SGD": lambda p: nbopt.SGD(p, lr=0.5),
    "momentum": lambda p: nbopt.SGD(p, lr=0.5, momentum=0.75, nesterov=True),
    "Adam": lambda p: nbopt.Adam(p, lr=0.5, amsgrad=True),
}

G = np.arange(1.0, 13).reshape(3, 4)
LAYOUTS = {
    "C": lambda a: a.copy(),
    "F": lambda a: a.copy(order="F"),
    "gaps": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "rows apart": lambda a: np.repeat(a, 3, axis=0)[::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": lambda a: unaligned(a),
    "foreign": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: read_only(a.copy()),
    "subclass": lambda a: a.copy().view(np.matrix),
}
FOR_PARAMETERS = ["C", "F", "gaps", "rows apart", "reversed", "subclass"]


def unaligned(a):
    b = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b


def read_only(a):
    a.flags.writeable = False
    return a
