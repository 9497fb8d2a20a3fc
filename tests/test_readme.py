"""The README's code runs as it stands there."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


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
    text = README.read_text(encoding="utf-8")
    assert len(re.findall(r"^python3 -m venv .*$", text, re.M)) == 2
