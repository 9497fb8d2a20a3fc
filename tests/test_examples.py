"""The examples run as they stand, on their data, and draw their pictures; the six short ones are short."""

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"
if not FOLDER.is_dir():
    pytest.skip("examples/ is part of the source tree, not of the package", allow_module_level=True)
SHORT = {
    "peak_fit": "refnx",
    "carbon_dioxide": "statsmodels",
    "robust_fit": None,
    "digits": "sklearn",
    "torch_loop": "statsmodels",
    "scipy_script": "refnx",
}
# What each prints that only a right answer can say.
SAYS = {
    "peak_fit": "c1    = 67.48 ± 0.10",
    "carbon_dioxide": "rising by 1.336 ± 0.001 ppm a year",
    "robust_fit": "cauchy  : in_1960 = 1.349 ± 0.025, rise = 0.1127 ± 0.0036 a year",
    "digits": "it reads 92.2% rightly",
    "torch_loop": "",
    "scipy_script": "digits of every parameter",
    "thurber": "1288.139680",
}


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_and_draws(name, tmp_path, monkeypatch, capsys):
    plt = pytest.importorskip("matplotlib.pyplot", reason="the examples draw with matplotlib")
    if package := SHORT.get(name):
        pytest.importorskip(package, reason=f"{name}.py takes its data from {package}, which is missing")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", str(tmp_path)])
    torch = pytest.importorskip("torch") if name == "torch_loop" and find_spec("torch") else None
    threads = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)  # its pool would wait for cores that others use
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    plt.close("all")
    if torch:
        torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert SAYS[name] in said
    if torch:
        assert float(said.split()[-1]) < 1e-12  # how far the port's weights lie from torch's
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", SHORT)
def test_a_short_example_is_short_and_shown(name):
    assert (FOLDER / f"{name}.py").read_text(encoding="utf-8").count("\n") < 60
    assert f"(plots/{name}.png)" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert (FOLDER / "plots" / f"{name}.png").is_file()


def test_every_example_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SAYS)
