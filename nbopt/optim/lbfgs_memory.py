"""What LBFGS remembers: work vectors and curvature pairs, and how the state shows them as torch does."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.linesearch import two_loop
from nbopt.linesearch.search_state import SIZE
from nbopt.optim.flat_vector import FlatVector

LEAST_CURVATURE = 1e-10  # y.s must be above it: torch's, absolute
FIRST_ROWS = 8  # pairs that room is made for at first; it doubles as they come

STATE_NAMES = (
    "func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss",
)  # fmt: skip


class Memory:
    """Work vectors, and the pairs in a ring that grows up to ``history_size``."""

    def __init__(self, state: dict[str, Any], flat: FlatVector, history_size: int) -> None:
        n, dtype = flat.size, flat.dtype
        self.history_size = history_size
        self.x, self.x0, self.g, self.g_best = (np.empty(n, dtype) for _ in range(4))
        self.d, self.g_old = np.zeros(n, dtype), np.zeros(n, dtype)
        self.s = np.empty(SIZE)
        self.ring = np.zeros(2, np.int64)
        pairs = [*zip(state.get("old_stps", ()), state.get("old_dirs", ()), state.get("ro", ()), strict=True)]
        self._allocate(min(max(FIRST_ROWS, len(pairs)), history_size), n, dtype)
        for s, y, rho in pairs[-history_size:]:
            k = int(self.ring[two_loop.COUNT])
            self.S[k], self.Y[k], self.rho[k] = s, y, rho
            self.ring[:] = k + 1
        if "d" in state:
            self.d[:], self.g_old[:] = state["d"], state["prev_flat_grad"]
        self.dirs: list[np.ndarray] | None = None  # the list in the state that shows Y's rows

    def _allocate(self, capacity: int, n: int, dtype: Any) -> None:
        """Make room for a number of pairs, and one row more."""
        self.S, self.Y = np.empty((capacity + 1, n), dtype), np.empty((capacity + 1, n), dtype)
        self.rho, self.alpha = np.empty(capacity + 1), np.empty(capacity + 1)

    def fits(self, state: dict[str, Any], flat: FlatVector, history_size: int) -> bool:
        """Tell whether this is still the memory that the state shows."""
        same = self.x.size == flat.size and self.x.dtype == flat.dtype and self.history_size == history_size
        return same and self.dirs is not None and state.get("old_dirs") is self.dirs and state["d"] is self.d

    def add(self, t: float) -> float:
        """Add the pair of the last step; return its scale, or 0 if it is refused."""
        rows = len(self.rho)
        if self.ring[two_loop.COUNT] == rows - 1 < self.history_size:
            order, (S, Y, rho) = self.order(), (self.S, self.Y, self.rho)
            self._allocate(min(2 * len(order), self.history_size), self.x.size, self.x.dtype)
            for row, k in enumerate(order):
                self.S[row], self.Y[row], self.rho[row] = S[k], Y[k], rho[k]
            self.ring[:] = len(order)
        arrays = self.S, self.Y, self.rho, self.ring
        return two_loop.update_step(*arrays, self.d, t, self.g, self.g_old, LEAST_CURVATURE)

    def order(self) -> list[int]:
        """Return the rows of the pairs, the oldest first."""
        count, after = (int(k) for k in self.ring)
        return [(after - count + k) % len(self.rho) for k in range(count)]

    def show(self, state: dict[str, Any]) -> None:
        """Put the vectors into the state, as torch does: lists of them, the oldest first."""
        order = self.order()
        self.dirs = [self.Y[k] for k in order]
        state["d"], state["old_dirs"] = self.d, self.dirs
        state["old_stps"] = [self.S[k] for k in order]
        state["ro"] = [float(self.rho[k]) for k in order]
        state["prev_flat_grad"] = self.g_old
        state["al"] = [None] * self.history_size


def check_layout(state: dict[str, Any], size: int, where: str) -> None:
    """Raise ValueError unless a loaded state is whole and its vectors have ``size`` elements."""
    if not {"func_evals", "n_iter"} <= set(state):
        raise ValueError(f"{where} has the state {sorted(state)}; expected {sorted(STATE_NAMES)}")
    if state.get("d") is None:  # it stopped before its first iteration
        return
    missing = {name for name in STATE_NAMES if state.get(name) is None}
    if missing:
        raise ValueError(f"{where}: the state has no {sorted(missing)}")
    lists = [state[name] for name in ("old_dirs", "old_stps", "ro")]
    if not all(isinstance(v, list) and len(v) == len(lists[0]) for v in lists):
        raise ValueError(f"{where}: old_dirs, old_stps and ro must be lists of one length")
    for v in [state["d"], state["prev_flat_grad"], *state["old_dirs"], *state["old_stps"]]:
        if np.shape(v) != (size,):
            raise ValueError(f"{where}: a vector has shape {np.shape(v)}; all parameters make {(size,)}")


def adopted_layout(state: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Return a checked state with vectors of ``dtype`` and numbers as Python's."""
    adopted = {**state, "func_evals": int(state["func_evals"]), "n_iter": int(state["n_iter"])}
    if state.get("d") is None:
        return {name: value for name, value in adopted.items() if name not in STATE_NAMES[2:]}
    for name in ("d", "prev_flat_grad"):
        adopted[name] = np.asarray(state[name], dtype)
    for name in ("old_dirs", "old_stps"):
        adopted[name] = [np.asarray(v, dtype) for v in state[name]]
    for name in ("t", "H_diag", "prev_loss"):
        adopted[name] = float(state[name])
    adopted["ro"] = [float(v) for v in state["ro"]]
    return adopted
