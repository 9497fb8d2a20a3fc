"""How one parameter group is launched: its options as last seen, its loop, its tables by dtype."""

from __future__ import annotations

import weakref
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from nbopt.kernels import cuda, launcher
from nbopt.kernels.arrays import (
    as_complex,
    as_reals,
    check_parameter,
    empty_like,
    fingerprint,
    is_dense,
    same_layout,
)
from nbopt.kernels.device_table import DeviceTable
from nbopt.kernels.table import LAUNCHED, Table, offsets_for
from nbopt.optim.device_arrays import (
    current_stream,
    fingerprint_of_device_array,
    memory_of,
    memory_of_gradient,
    memory_of_parameter,
    new_state,
    on_device,
    placed,
    straight_interfaces,
    straightened,
    usable_state,
)
from nbopt.optim.gradients import (
    Blocks,
    checked_gradient,
    coalesced,
    gradient_of,
    is_sparse,
    rows_of,
    with_rows_of,
)
from nbopt.optim.param_groups import array_of, check_member
from nbopt.optim.parameter import Parameter
from nbopt.optim.ranges import as_number
from nbopt.optim.state_dict import into_array
from nbopt.optim.torch_tensors import fingerprint_of_tensor, is_tensor, mark_written, straight_pointers

if TYPE_CHECKING:
    from nbopt.optim.elementwise import ElementwiseOptimizer


class GroupPlan:
    """The tables of one group, ready to launch; made anew when the group or its state changes."""

    def __init__(self, optimizer: ElementwiseOptimizer, group: dict[str, Any]) -> None:
        # Weakly: an optimizer that is dropped frees its arrays at once, without the garbage collector.
        self.optimizer: Any = weakref.proxy(optimizer)
        self.group, self.params = group, group["params"]
        self.owner = type(optimizer).__name__
        self.algorithm = optimizer.algorithm(group)
        self.loop, self.names = self.algorithm
        self.ceiling = (1 << 62) if optimizer.counted else 1
        self.read = itemgetter(*optimizer.defaults) if optimizer.defaults else tuple
        self.remember_options()
        self.length = len(self.params)
        self.tables = self._make_tables()
        self.tensors = [p for p in self.params if is_tensor(p)]
        self.touched: dict[int, np.ndarray] = {}
        self.sparse: list[tuple[Table, int, Blocks]] = []
        only = self.tables[0] if len(self.tables) == 1 else None
        self.small = only if only and only.offsets is not None and only.strided is None else None
        self.loop_at = 0

    def remember_options(self) -> None:
        """Note the options; arrays and tensors, which change in place, are read anew each step."""
        self.options = self.read(self.group)
        self.frozen = not _can_change_in_place(self.options)

    def options_unchanged(self) -> bool:
        """Tell whether the group's options are those that were last validated."""
        return self.frozen and _equal(self.read(self.group), self.options)

    def plain_group(self) -> dict[str, Any]:
        """Return the group with 1-element arrays and tensors among its options as numbers."""
        return self.group if self.frozen else {k: _plain_option(v) for k, v in self.group.items()}

    def fits(self, group: dict[str, Any]) -> bool:
        """Tell whether this plan was made for this group with this list of parameters."""
        same = self.group is group and group["params"] is self.params
        return same and len(self.params) == self.length

    def _make_tables(self) -> list[Table]:
        """Sort the parameters by device and dtype, arrays apart from tensors, into one table each."""
        kinds: dict[Any, list[int]] = {}
        arrays: list[Any] = []
        for place, p in enumerate(self.params):
            check_member(self.owner, p, place)
            torch, where = is_tensor(p), f"{self.owner}: parameter {place}"
            if on_device(p):
                arrays.append(memory_of_parameter(p, where))
                kind = (arrays[-1].dtype, torch, False, True, arrays[-1].device)
            else:
                if not torch:
                    check_parameter(p.data, where)
                arrays.append(array_of(p))
                plain = type(p) is Parameter and arrays[-1] is p.data  # headers read as they stand
                kind = (arrays[-1].dtype, torch, plain, is_dense(arrays[-1]), None)
            kinds.setdefault(kind, []).append(place)
        tables = []
        for (_, torch, plain, _, device), places in kinds.items():
            offsets = offsets_for(Parameter) if plain and type(self.params) is list else None
            seen = fingerprint_of_tensor if torch else _fingerprint
            chosen = [self.params[k] for k in places], [arrays[k] for k in places], places
            kept = len(self.optimizer.scalars)
            if device is None:
                tables.append(Table(*chosen, offsets, seen, kept))
            else:
                found = cuda.device(f"{self.owner}: parameter {places[0]}")
                tables.append(DeviceTable(found, *chosen, seen, kept, current_stream, memory_of))
        return tables

    def bind_states(self) -> None:
        """Give every active row its state: what the optimizer has, or new arrays."""
        state = self.optimizer.state
        for table in self.tables:
            table.activate([p.grad is not None for p in table.params])
            for row, p in enumerate(table.params):
                known = state.get(p)
                if known or table.active[row]:
                    self._bind_row(table, row, p, dict(known or {}))
            table.measure()
            table.settle()

    def _bind_row(self, table: Table, row: int, p: Any, known: dict[str, Any]) -> None:
        """Put a parameter's state into the table and the table's memory into the state."""
        where = f"{self.owner}: parameter {table.places[row]}"
        arrays = [self._state_array(table, row, known, name, where) for name in self.names]
        new: dict[str, Any] = {}
        if self.optimizer.counted:
            table.counts[row] = _steps_made(known.get("step", 0), where)
            new["step"] = table.counts[row : row + 1].reshape(())
        else:
            table.counts[row] = int(bool(self.names) and all(name in known for name in self.names))
        first = self.optimizer.first_scalars(self.group)
        for k, name in enumerate(self.optimizer.scalars):
            table.scalars[row, k] = known.get(name, first[k])
            new[name] = table.scalars[row, k : k + 1].reshape(())
        paired = not is_tensor(p) and p.data.dtype.kind == "c"
        paired = paired or (is_tensor(p) and p.is_complex())
        for name, a in zip(self.names, arrays, strict=True):
            new[name] = as_complex(a) if paired and not isinstance(table, DeviceTable) else a
        table.set_states(row, tuple(arrays))
        if p in self.optimizer.state:
            self.optimizer.state[p].update(new)  # the same dict: somebody may hold it
        elif new:
            self.optimizer.state[p] = new

    def _state_array(self, table: Table, row: int, known: dict, name: str, where: str) -> Any:
        """Return the array of state ``name`` in the parameter's layout, new if there was none."""
        like = table.arrays[row]
        have = known.get(name)
        if isinstance(table, DeviceTable):
            return self._device_state(table.params[row], like, have, name, where)
        if have is None:
            fresh = empty_like(like)
            fresh[...] = self.optimizer.initial(self.group, name)
            return fresh
        have = into_array(have) if on_device(have) else have
        try:
            array = isinstance(have, np.ndarray)
            have = as_reals(np.asarray(have)) if array else np.asarray(have, like.dtype)
        except (TypeError, ValueError):
            raise TypeError(f"{where}: its {name} is {type(have).__name__}, not an array") from None
        if have.shape != like.shape:
            raise ValueError(f"{where} has shape {like.shape}, but its {name} has {have.shape}")
        straight = have.flags.c_contiguous if table.strided else same_layout(have, like)
        straight = straight and have.flags.aligned and not np.may_share_memory(have, like)
        if have.dtype == like.dtype and straight and have.flags.writeable:
            return have
        fresh = empty_like(like)
        fresh[...] = have
        return fresh

    def _device_state(self, p: Any, like: Any, have: Any, name: str, where: str) -> Any:
        """Return the array of state ``name`` beside its parameter on a device."""
        if have is None:
            return new_state(p, self.optimizer.initial(self.group, name))
        if np.shape(have) != like.shape:
            raise ValueError(f"{where} has shape {like.shape}, but its {name} has {np.shape(have)}")
        if usable_state(have, like, f"{where}: its {name}"):
            return have
        return placed(p, np.asarray(into_array(have)))

    def quick(self) -> bool:
        """Step a group that is one plain table; False, with nothing changed, if that cannot be."""
        table, group = self.small, self.group
        if table is None or table.count is None or table.count < 0:
            return False
        if group["params"] is not self.params or len(self.params) != self.length:
            return False
        if not (self.frozen and _equal(self.read(group), self.options)):
            return False
        scalars = table.shared
        if scalars and not (all(table.active) and (table.scalars == scalars).all()):
            return False
        count = table.count
        if not self.loop_at:
            self.loop_at = launcher.loop_address(self.loop, table.dtype)
        table.set_numbers(self.optimizer.numbers(group, count + 1, *scalars))
        if table.nbytes > launcher.QUICK_BYTES:
            answer = table.step(self.loop, self.params, count, self.ceiling)
        else:
            answer = launcher.quick(
                self.loop_at, id(self.params), table.offsets, table.rows, table.counts, count,
                self.ceiling, table.like, table.h,
            )  # fmt: skip
        if answer != LAUNCHED:
            return False
        if scalars:
            table.shared = self.optimizer.next_scalars(group, count + 1, *scalars)
            table.scalars[:] = table.shared
        if count < self.ceiling:
            table.count = count + 1
        return True

    def gather(self) -> None:
        """Hold every active gradient until the launch is over, and note where it lies."""
        self.sparse = []
        for table in self.tables:
            rows = table.active_rows()
            if (table.counts[rows] < 0).any():
                raise ValueError(f"{self.owner}: a step count in the state is negative")
            if isinstance(table, DeviceTable):
                self._gather_on_device(table, rows)
            elif table.offsets is not None and table.strided is None:
                table.held = [p.grad for p in table.params]
                if table.check(self.params, table.held) != LAUNCHED:
                    self._take(table, rows)
            elif table.strided is not None or not straight_pointers(table, rows):
                table.held = [None] * len(table.params)
                for row in rows:
                    table.held[row] = gradient_of(table.params[row], self._where(table, row))
                self._take(table, rows)

    def _gather_on_device(self, table: DeviceTable, rows: list[int]) -> None:
        """Note where gradients on a device lie; copy those that do not lie as their parameters do."""
        table.begin()
        if not straight_pointers(table, rows) and not straight_interfaces(table, rows):
            for row in rows:
                p, where = table.params[row], self._where(table, row)
                if is_sparse(p.grad):
                    raise RuntimeError(f"{where} is sparse; on a device gradients must be dense")
                found = memory_of_gradient(p, p.grad, where)
                table.take(row, found if table.fits(row, found) else straightened(p, found, where))
        if table.crossed():
            raise ValueError(f"{self.owner}: a gradient lies in the memory of another parameter; pass a copy")

    def _where(self, table: Table, row: int) -> str:
        return f"{self.owner}: the gradient of parameter {table.places[row]}"

    def _take(self, table: Table, rows: list[int]) -> None:
        """Check gradients one by one; copy those that do not lie as their parameters do."""
        for row in rows:
            p, g, where = table.params[row], table.held[row], self._where(table, row)
            if self.optimizer.sparse and is_sparse(g):
                self._take_sparse(table, row, where)
            else:
                if self.optimizer.sparse == "only":
                    raise RuntimeError(
                        f"{where} is dense; {self.owner} takes sparse gradients, Adam dense ones"
                    )
                table.take(row, checked_gradient(p, g, where))

    def _take_sparse(self, table: Table, row: int, where: str) -> None:
        """Set a sparse gradient apart: its blocks are launched on their own."""
        if self.group.get("weight_decay", 0) != 0:
            raise RuntimeError(
                f"{where} is sparse; that excludes weight_decay={self.group['weight_decay']!r}"
            )
        p, like = table.params[row], table.arrays[row]
        if (p.is_complex() if is_tensor(p) else p.data.dtype.kind == "c") or table.strided is not None:
            raise RuntimeError(f"{where} is sparse; then its parameter must be real and contiguous")
        blocks = coalesced(p, table.held[row], like, where)
        if self.optimizer.sparse_keeps_moving(self.group):
            blocks = self._with_touched(table, row, blocks)
        self.sparse.append((table, row, blocks))

    def _with_touched(self, table: Table, row: int, blocks: Blocks) -> Blocks:
        """Add the rows that momentum still moves: all that were ever touched."""
        place, like, states = table.places[row], table.arrays[row], table.states[row] or ()
        length = like.size // max(1, like.shape[0])
        if place not in self.touched:
            moving = states[0].reshape(-1, length).any(axis=1) if states and length else np.empty(0, bool)
            self.touched[place] = np.flatnonzero(moving)
        starts, counts = blocks.blocks[:, 0], blocks.blocks[:, 1]
        if (starts % max(1, length)).any() or (counts % max(1, length)).any():  # entries, not whole rows
            blocks = _filled(blocks, length)
        self.touched[place] = np.union1d(self.touched[place], rows_of(blocks, length))
        return with_rows_of(blocks, self.touched[place], length)

    def launch(self) -> None:
        """Run the loop, once per step count that occurs, and count."""
        group = self.plain_group()
        apart = {(id(table), row) for table, row, _ in self.sparse}
        for table in self.tables:
            moments = table.moments()
            for count, scalars, rows in moments:
                table.set_numbers(self.optimizer.numbers(group, count + 1, *scalars))
                chosen = np.array(table.active_rows()) if rows is None else rows
                dense = [row for row in chosen.tolist() if (id(table), row) not in apart] if apart else None
                table.launch(self.loop, rows if dense is None else np.array(dense, np.int64))
                for row in chosen.tolist() if apart else ():
                    for other, k, blocks in self.sparse:
                        if other is table and k == row:
                            table.launch_blocks(self.loop, row, *blocks)
                if scalars:
                    after = self.optimizer.next_scalars(group, count + 1, *scalars)
                    table.scalars[chosen] = after
            table.advance(self.ceiling)
        self.sparse = []
        mark_written([t for t in self.tensors if t.grad is not None])


def _filled(blocks: Blocks, length: int) -> Blocks:
    """Return blocks of single entries as whole rows, zeros where nothing was stored."""
    starts, counts = blocks.blocks[:, 0], blocks.blocks[:, 1]
    flat = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    rows, where = np.unique(flat // length, return_inverse=True)
    values = np.zeros((rows.size, length), blocks.values.dtype)
    values[where, flat % length] = blocks.values
    starts = rows * length
    return Blocks(np.column_stack([starts, np.full(rows.size, length)]), values.reshape(-1))


def _can_change_in_place(option: Any) -> bool:
    """Tell whether an option is, or holds, an object whose value may change in place."""
    if isinstance(option, tuple):
        return any(_can_change_in_place(v) for v in option)
    return isinstance(option, list | dict | set) or (
        hasattr(option, "shape") and not isinstance(option, np.generic)
    )


def _equal(now: Any, seen: Any) -> bool:
    """Compare options; an array of several elements equals nothing."""
    try:
        return bool(now == seen)
    except ValueError:
        return False


def _plain_option(option: Any) -> Any:
    """Return a 1-element array or tensor as a number, also inside a pair."""
    if isinstance(option, tuple):
        return tuple(_plain_option(v) for v in option)
    number = as_number(option) if hasattr(option, "shape") else None
    return option if number is None else number


def _steps_made(value: Any, where: str) -> int:
    """Return a step count from the state as an integer, or refuse it."""
    count = as_number(value)
    if count is None or not 0 <= count < 2**62:
        raise ValueError(f"{where}: step={value!r} must be a count of steps")
    return int(count)


def _fingerprint(p: Parameter) -> tuple:
    """Return what changes when a parameter's memory is moved or laid out anew."""
    data = p.data
    if isinstance(data, np.ndarray):
        return type(data), *fingerprint(data)
    return fingerprint_of_device_array(data)
