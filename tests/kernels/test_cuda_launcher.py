"""Launches on a device, without one: kernels as PTX, their source on the CPU, and tables that are sent."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cuda_stand_in import StandIn, on_host, plain
from numba.core import config as numba_config

import nbopt
from nbopt.kernels import cuda_launcher as cl
from nbopt.kernels import launcher as at
from nbopt.kernels.launcher import loop_address, run_loop
from nbopt.optim.adam import amsgrad
from nbopt.optim.rprop import rprop
from nbopt.optim.sgd import descent

ROOT = Path(__file__).parents[2]
no_jit = pytest.mark.skipif(bool(numba_config.DISABLE_JIT), reason="NUMBA_DISABLE_JIT is set")


def found_kernels():
    """Compile all kernels once, in a process of their own; skip by name what cannot be done here."""
    if not _kernels:
        if not (ROOT / "validation").is_dir():
            pytest.skip("validation/ is part of the source tree, not of the package")
        import sys

        sys.path.insert(0, str(ROOT))
        from validation import ptx

        _folder.append(tempfile.TemporaryDirectory())
        _kernels.append((ptx, *ptx.in_process_of_its_own(Path(_folder[0].name))))
    module, kernels, why = _kernels[0]
    if not kernels:
        pytest.skip(f"the kernels cannot be compiled to PTX here: {why}")
    return module, kernels


_kernels: list = []
_folder: list = []


@no_jit
def test_every_loop_becomes_a_kernel_that_stays_in_registers_and_in_its_dtype():
    ptx, kernels = found_kernels()
    assert len([k for k in kernels if k["kept"] is not None]) == 4 * len(ptx.loops())
    for kernel in kernels:
        counts = Counter(ptx.instructions(kernel["path"]))
        label = kernel["name"], kernel["dtype"], kernel["target"]
        assert not [name for name in counts if ".local" in name or name.startswith("call")], label
        if kernel["dtype"] == "float32" and kernel["kept"] is not None:  # norms sum in float64
            assert {name for name in counts if ".f64" in name} <= {"ld.param.f64", "cvt.rn.f32.f64"}, label


@no_jit
def test_each_input_is_loaded_once_and_all_loads_stand_before_the_first_store():
    ptx, kernels = found_kernels()
    for kernel in (k for k in kernels if k["kept"] is not None):
        names, kind = ptx.instructions(kernel["path"]), "f" + kernel["dtype"].removeprefix("float")
        order = [name for name in names if name in (f"ld.global.{kind}", f"st.global.{kind}")]
        loads, stores = order.count(f"ld.global.{kind}"), order.count(f"st.global.{kind}")
        label = kernel["name"], kernel["dtype"], kernel["target"]
        assert loads * (1 + kernel["kept"]) <= stores * (2 + kernel["kept"]), label
        assert order[: cl.EACH * 2] == [f"ld.global.{kind}"] * (cl.EACH * 2), label
        assert not [n for n in names if n.startswith(("ld.f", "st.f"))], label  # none that is not global


@no_jit
def test_the_assembler_finds_no_stack_and_no_spills():
    _, kernels = found_kernels()
    for kernel in kernels:
        why = kernel.get("unassembled", "")
        if "not found" in why or "newer" in why or "Unsupported" in why:  # no ptxas, or one too old
            pytest.skip(f"the kernels cannot be assembled here: {why}")
        assert not why, kernel
        assert kernel["stack"] == kernel["spill_stores"] == kernel["spill_loads"] == 0, kernel
        # 65536 registers on a multiprocessor: with at most 72 each, 7 blocks of 128 threads.
        assert kernel["registers"] <= 72, kernel


def rows_for(arrays, states):
    """Return a launcher's table over arrays of the stand-in."""
    rows = np.zeros((len(arrays), at.COLUMNS), np.int64)
    for k, (p, g, *kept) in enumerate(arrays):
        assert len(kept) == states
        rows[k, at.SIZE], rows[k, at.ACTIVE] = p.size, 1
        for column, a in zip((at.P, at.G, at.STATE, at.STATE + 1, at.STATE + 2), (p, g, *kept), strict=False):
            rows[k, column] = address(a)
    return rows


def address(a):
    from nbopt.kernels import cuda

    return cuda.memory_of(a, "it").pointer


def make(size, states, dtype, seed):
    from cuda_stand_in import DeviceArray

    rng = np.random.default_rng(seed)
    return [DeviceArray(rng.standard_normal(size).astype(dtype) ** 2) for _ in range(2 + states)]


@no_jit
@pytest.mark.parametrize(
    ("loop", "states", "dtype"),
    [(descent, 0, "float64"), (rprop, 2, "float32"), (amsgrad, 3, "float32")],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_the_kernels_own_code_does_what_the_loop_does(loop, states, dtype):
    dtype, h = np.dtype(dtype), np.linspace(0.1, 0.9, at.NUMBERS)
    device = StandIn(own_code=True)
    sizes = [1, 3, cl.THREADS, cl.STRIDE - 1, cl.STRIDE, cl.STRIDE + 1, 0, cl.CHUNK - 1, cl.CHUNK,
             cl.CHUNK + 1, 3 * cl.CHUNK + 77]  # fmt: skip
    arrays = [make(n, states, dtype, k) for k, n in enumerate(sizes)]
    expected = [[a.host.copy() for a in group] for group in arrays]
    rows = rows_for(arrays, states)
    cl.DeviceLauncher(device).launch(loop, dtype, states, rows, h, 0)
    assert device.launches == 1
    for p, g, *kept in expected:
        unused = [np.empty(0, dtype)] * (at.STATES - states)
        run_loop(loop_address(loop, dtype), p, g, (*kept, *unused), h)
    for group, wanted in zip(arrays, expected, strict=True):
        assert all(a.host.tobytes() == b.tobytes() for a, b in zip(group, wanted, strict=True))


def test_a_block_finds_its_array():
    find, rng = plain(cl.column_of), np.random.default_rng(0)
    for arrays in (1, 2, 3, 7, 100):
        rows = np.zeros((arrays, at.COLUMNS), np.int64)
        rows[:, at.SIZE], rows[:, at.ACTIVE] = rng.integers(1, 5 * cl.CHUNK, arrays), 1
        table, blocks = cl.columns(rows)
        first = table[:arrays]
        owners = [find(block, table, arrays) for block in range(blocks)]
        expected = np.repeat(np.arange(arrays), -(-rows[:, at.SIZE] // cl.CHUNK))
        assert owners == expected.tolist() and first[0] == 0


def test_rows_without_elements_or_gradients_have_no_column():
    rows = np.zeros((3, at.COLUMNS), np.int64)
    rows[:, at.SIZE], rows[:, at.ACTIVE] = (5, 0, 7), (1, 1, 0)
    table, blocks = cl.columns(rows)
    assert blocks == 1 and table.size == cl.ROWS and table[cl.SIZE] == 5
    device = StandIn()
    cl.DeviceLauncher(device).launch(descent, np.dtype("float64"), 0, rows[1:], np.zeros(at.NUMBERS), 0)
    assert device.log == []


def sends(device):
    return [entry[0] for entry in device.log if entry[0] in ("send", "new table")]


@pytest.fixture
def launched():
    """Return a device, and a function that launches a descent over arrays in a stream."""
    device, held = StandIn(), []
    table = cl.DeviceLauncher(device)

    def launch(arrays, stream=0):
        held.append(arrays)  # or later ones might lie at the same place, and be no change
        device.log.clear()
        h = np.ones(at.NUMBERS)
        table.launch(descent, np.dtype("float64"), 0, rows_for(arrays, 0), h, stream)
        return sends(device)

    return device, table, launch


@no_jit
def test_a_table_is_sent_only_when_it_or_its_stream_changes(launched):
    _, _, launch = launched
    one, two = [make(5, 0, "float64", 0)], [make(5, 0, "float64", 1)]
    assert launch(one) == ["new table", "send"]
    assert launch(one) == launch(one) == []
    assert launch(two) == ["new table", "send"]
    assert launch(one) == launch(two) == []  # both are still there
    assert launch(one, stream=3) == ["new table", "send"]


@no_jit
def test_a_tables_memory_is_used_again_only_when_the_device_is_done_with_it(launched):
    device, table, launch = launched
    for seed in range(table.KEPT):
        assert launch([make(5, 0, "float64", seed)]) == ["new table", "send"]
    assert launch([make(5, 0, "float64", 10)]) == ["send"]
    device.busy = True
    assert launch([make(5, 0, "float64", 11)]) == ["new table", "send"]
    assert len(table.tables) == table.KEPT + 1
    device.busy = False
    assert launch([make(5, 0, "float64", 12)]) == ["send"]
    assert launch([make(5, 0, "float64", s) for s in (1, 2)]) == ["new table", "send"]
    assert len(table.tables) == 1  # of another size: the old ones were let go


@no_jit
def test_a_dropped_launchers_table_is_held_until_the_device_is_done(monkeypatch):
    monkeypatch.setattr(cl, "_in_flight", [])
    device = StandIn()
    device.busy = True
    held = [make(5, 0, "float64", seed) for seed in range(cl.MOST + 5)]
    for arrays in held:
        launcher = cl.DeviceLauncher(device)
        for _ in range(2):
            h = np.ones(at.NUMBERS)
            launcher.launch(descent, np.dtype("float64"), 0, rows_for([arrays], 0), h, 0)
    assert len(cl._in_flight) == cl.MOST + 5
    device.busy = False
    launcher.launch(descent, np.dtype("float64"), 0, rows_for([held[0]], 0), np.ones(at.NUMBERS), 0)
    assert len(cl._in_flight) == 1


def test_the_stand_in_reads_what_was_put_there():
    there = make(6, 0, "float32", 0)[0]
    assert np.array_equal(on_host(address(there), 6, "float32"), there.host)
    assert nbopt.Parameter(there).shape == (6,)


def test_every_loop_of_the_table_of_cases_is_among_those_that_are_compiled():
    if not (ROOT / "validation").is_dir():
        pytest.skip("validation/ is part of the source tree, not of the package")
    import sys

    sys.path.insert(0, str(ROOT))
    from cases import CASES

    from validation import cuda_cases, ptx

    def loop_of(cls, options):
        opt = cls([np.zeros(1)], **options)
        return opt.algorithm(opt.param_groups[0])[0]

    used = {loop_of(case.cls, case.options) for case in CASES}
    assert used == {loop for loop, _ in ptx.loops().values()}
    assert used == {loop_of(getattr(nbopt, name), options) for name, options in cuda_cases.CHECKED}
