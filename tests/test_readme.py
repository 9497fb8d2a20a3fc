"""The README's code runs as it stands there, and the tables of differences name tests that exist."""

import ast
import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
SCIPY = (README.parent / ".github" / "DIFFERENCES_FROM_SCIPY.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def rows(title, text=TEXT):
    """Return the cells of the table whose first heading is ``title``, row by row."""
    table = re.search(rf"^\| {re.escape(title)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]


def names_in(path):
    """Return the names of all tests in a file, those in classes as Class::test."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        head = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {head + n.name for n in inside if isinstance(n, ast.FunctionDef) and n.name[:5] == "test_"}
    return found


def named_in_table():
    """Return the tests that the table of differences names, row by row."""
    return {row[0]: re.findall(r"`([^`]+)`", row[2]) for row in rows("here")}


def differences_from_scipy():
    """Return the tests that the tables of differences from scipy name, row by row."""
    functions = ("minimize", "least_squares", "curve_fit")
    table = [row for function in functions for row in rows(f"`{function}` here", SCIPY)]
    return {row[0]: re.findall(r"`([^`]+)`", row[3]) for row in table}


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{k}" for k in range(len(BLOCKS))])
def test_a_code_block_runs(block, tmp_path, monkeypatch):
    if "import torch" in block:
        pytest.importorskip("torch", reason="torch is not installed: this block of the README was not run")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "block.py"  # a file, so that Numba can cache what the block compiles
    file.write_text(block)
    exec(compile(block, str(file), "exec"), {"__name__": "__main__"})


def test_there_are_blocks_and_two_commands():
    assert len(BLOCKS) >= 3
    assert len(re.findall(r"^python3 -m venv .*$", TEXT, re.M)) == 2


def test_every_difference_from_torch_names_tests_that_exist():
    named = named_in_table()
    assert len(named) > 15
    for difference, tests in named.items():
        assert tests, difference
        for test in tests:
            file, _, name = test.partition("::")
            assert name in names_in(README.parent / file), test


def test_every_test_of_a_difference_stands_in_the_table():
    named = {test for tests in named_in_table().values() for test in tests}
    for path in (README.parent / "tests").rglob("test_*.py"):
        here = path.relative_to(README.parent).as_posix()
        unlike = {f"{here}::{name}" for name in names_in(path) if name.endswith("_unlike_torch")}
        assert unlike <= named, unlike - named


def test_every_difference_from_scipy_names_tests_that_exist():
    named = differences_from_scipy()
    assert len(named) > 30
    for difference, tests in named.items():
        assert tests, difference
        for test in tests:
            file, _, name = test.partition("::")
            path = README.parent / file
            assert path.exists() and (not name or name in names_in(path)), test


def test_every_test_of_a_difference_from_scipy_stands_in_a_table():
    named = {test for tests in differences_from_scipy().values() for test in tests}
    for path in (README.parent / "tests").rglob("test_scipy_differences_*.py"):
        here = path.relative_to(README.parent).as_posix()
        unlike = {f"{here}::{name}" for name in names_in(path)}
        assert unlike and unlike <= named, unlike - named


def test_everything_of_torch_optim_has_its_place():
    torch = pytest.importorskip("torch", reason="torch is not installed: its names were not looked up")
    import nbopt

    places = rows("in torch.optim")
    known = {word for row in places for word in re.findall(r"\w+", row[0])}
    missing = {
        word for what, here in places if here.startswith("not here") for word in re.findall(r"\w+", what)
    }
    homes = {
        torch.optim: nbopt,
        torch.optim.lr_scheduler: nbopt.lr_scheduler,
        torch.optim.swa_utils: nbopt.swa_utils,
    }
    for theirs, ours in homes.items():
        for name in theirs.__all__:
            assert name in known, name
            assert hasattr(ours, name) != (name in missing), name
    for name in ("clip_grad_norm_", "clip_grad_value_", "get_total_norm", "clip_grads_with_norm_"):
        assert name in known and hasattr(nbopt, name) != (name in missing), name
