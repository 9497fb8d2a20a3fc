"""The CUDA section of validation/: its pieces on a stand-in; what it times there is nobody's measurement."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import nbopt

ROOT = Path(__file__).parents[1]
if not (ROOT / "validation").is_dir():
    pytest.skip("validation/ is part of the source tree, not of the package", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from validation import cuda, cuda_cases, cuda_machine, report  # noqa: E402


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(nbopt.cuda, "is_available", lambda: False)
    with cuda_machine.Machine() as found:
        found.calls.own_code = False
        yield found


def test_a_step_that_differs_from_the_cpus_is_found(machine, monkeypatch):
    monkeypatch.setattr(cuda_cases, "SIZES", (3, 5))
    assert cuda_cases.worst_step(machine, "Adam", {"lr": 0.1}, "float64", 3) == 0
    launch = machine.calls.launch

    def wrong(kernel, blocks, threads, stream, args):
        table, arrays, numbers = args
        launch(kernel, blocks, threads, stream, (table, arrays, (numbers[0], numbers[1] * 0.9, *numbers[2:])))

    machine.calls.launch = wrong
    assert cuda_cases.worst_step(machine, "Adam", {"lr": 0.1}, "float64", 3) > 1e6


def test_ulps_are_counted_at_the_larger_of_the_parameters_and_nan_is_no_agreement():
    one = np.array([1.0, 2.0])
    assert cuda_cases.ulps(one, one, one) == 0
    assert cuda_cases.ulps(one, one, one + np.spacing(one)) == 1
    assert cuda_cases.ulps(np.array([8.0]), np.array([1.0]), np.array([1.0 + 2**-49])) == 1
    assert cuda_cases.ulps(one, one, one * np.nan) == np.inf
    assert cuda_cases.ulps(one[:0], one[:0], one[:0]) == 0


def test_gaps_are_refused(machine):
    assert cuda_cases.refuses_gaps(machine)


def test_the_peers_own_adam_is_adam(machine):
    p = nbopt.Parameter(cuda_cases.draw(4, "float64", 0))
    p.grad = cuda_cases.draw(4, "float64", 1)
    kept = []
    machine.xp = SimpleNamespace(
        asarray=lambda a: kept.append(a) or a, zeros_like=np.zeros_like, sqrt=np.sqrt
    )
    step, opt = cuda_cases._adam_by_expressions(machine, 1, 4, "float64"), nbopt.Adam([p], lr=1e-3)
    for _ in range(3):
        step()
        opt.step()
    np.testing.assert_allclose(kept[0], p.data, rtol=1e-12)


def test_a_row_is_measured_and_held_against_the_budgets(machine, monkeypatch):
    section = report.Section("CUDA")
    monkeypatch.setattr(cuda, "ROUNDS", 2)
    machine.rotate = 1
    row = cuda._row(section, machine, "SGD", 1, 50, "float32")
    assert row[:2] == ["SGD, 50", cuda.NOT_MEASURED] and len(row) == 10 and not section.measured
    machine.real = True  # the branch of a device, with the CPU's peers
    row = cuda._row(section, machine, "Adam", 2, 50, "float32")
    assert row[0] == "Adam, 2 x 50" and len(row) == 10 and row[1].endswith("s") and row[3] == ""
    row = cuda._row(section, machine, "Adam", 1, 50, "float32")
    assert float(row[2]) >= 0 and float(row[3]) >= 0
    assert row[6].endswith("s") == (importlib.util.find_spec("torch") is not None)
    cuda._hold(section, 0.95, None)
    assert section.measured["gpu_copy"].value == 0.95 and "gpu_fused" not in section.measured


def test_inputs_rotate_past_the_cache(machine):
    assert cuda_cases.copies(machine, machine.rotate) == 1
    assert cuda_cases.copies(machine, machine.rotate // 3) == 4 and cuda_cases.copies(machine, 1) == 64


def test_the_section_says_what_was_not_measured(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(cuda_cases, "CHECKED", cuda_cases.CHECKED[:1])
    monkeypatch.setattr(cuda_cases, "TIMED", {"SGD": cuda_cases.TIMED["SGD"]})
    monkeypatch.setattr(cuda_machine.StandIn, "sizes", (10,))
    monkeypatch.setattr(cuda_machine.StandIn, "steps", 2)
    monkeypatch.setattr(cuda_machine.StandIn, "rotate", 1)
    monkeypatch.setattr(cuda, "_kernels", lambda quick: ["none here"])
    page = cuda.write(tmp_path, quick=False).read_text(encoding="utf-8")
    assert page.count(cuda.NOT_MEASURED) >= 5 and "| SGD | 0 | 0 | yes |" in page
    assert cuda._recorded(tmp_path) == ""
    (tmp_path / "cuda.md").write_text("all of it measured", encoding="utf-8")
    assert "cuda.md" in cuda._recorded(tmp_path)
