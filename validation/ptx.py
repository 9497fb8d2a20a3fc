"""The CUDA kernels compiled to PTX, and assembled where ptxas is: no device is needed.

``python -m validation.ptx FOLDER`` writes the PTX there and prints what was found, as JSON.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import nbopt
from nbopt.kernels import cuda, device_norms
from nbopt.kernels.cuda_launcher import ptx_of

TARGETS = ((9, 0), (8, 0))
# What brings up each loop: a class and the options that choose the loop.
CHOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {}), ("SGD", {"momentum": 0.9}), ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {}), ("Adam", {"amsgrad": True}), ("Adamax", {}), ("NAdam", {}), ("RAdam", {}),
    ("RMSprop", {}), ("RMSprop", {"momentum": 0.9}), ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9}), ("Adagrad", {}), ("Adadelta", {}), ("ASGD", {}),
    ("Rprop", {}),
)  # fmt: skip


def loops() -> dict[str, tuple[Any, int]]:
    """Return every element-wise loop by name, with the number of arrays that it keeps."""
    found = {}
    for name, options in CHOICES:
        opt = getattr(nbopt, name)([np.zeros(1)], **options)
        loop, names = opt.algorithm(opt.param_groups[0])
        found[f"{name} ({loop.__name__})"] = loop, len(names)
    return found


def toolkit(folder: Path) -> str | None:
    """Return a CUDA_HOME as Numba's own target expects it; made in ``folder`` if libNVVM lies elsewhere."""
    wheels = [str(home) for p in sys.path for home in (Path(p) / "nvidia").glob("cu1*")]
    system = ["/usr/local/cuda", *map(str, Path("/usr/local").glob("cuda-*"))]
    for home in filter(None, [os.environ.get("CUDA_HOME", ""), *wheels, *system]):
        for lib in ("nvvm/lib64", "lib64", "lib"):
            libraries = sorted((Path(home) / lib).glob("libnvvm.so*"))
            device = Path(home) / "nvvm" / "libdevice"
            if libraries and device.is_dir():
                (folder / "nvvm" / "lib64").mkdir(parents=True)
                (folder / "lib64").mkdir()
                (folder / "nvvm" / "lib64" / "libnvvm.so").symlink_to(libraries[0])
                (folder / "nvvm" / "libdevice").symlink_to(device)
                if (Path(home) / "bin").is_dir():
                    (folder / "bin").symlink_to(Path(home) / "bin")
                return str(folder)
    return None


def assembler() -> str | None:
    """Return ptxas, if there is one: the compiler's own before others, which may be older."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("ptxas", path=f"{home}/bin") or shutil.which("ptxas")


def compile_all(folder: Path, few: int | None = None) -> list[dict[str, Any]]:
    """Compile the loops for sm_90 in both dtypes, and the first ``few`` (None: all) for sm_80 too.

    The passes of norms, which sum in float64, come last, for sm_90 only.
    """
    found = []
    for target in TARGETS:
        chosen = list(loops().items())[: few if target != TARGETS[0] else None]
        for name, (loop, kept) in chosen:
            for dtype in ("float32", "float64"):
                text = ptx_of(loop, dtype, kept, target)
                found.append({"kept": kept, **_kernel(folder, name, dtype, target, text)})
    for name, op in (("norm: squares", device_norms.SQUARES), ("norm: largest", device_norms.COMPONENT)):
        for dtype in ("float32", "float64"):
            text = device_norms.ptx_of(op, dtype, TARGETS[0])
            found.append({"kept": None, **_kernel(folder, name, dtype, TARGETS[0], text)})
    return found


def _kernel(folder: Path, name: str, dtype: str, target: tuple[int, int], text: str) -> dict[str, Any]:
    """Write a kernel's PTX down and return what is known of it."""
    kind = f"sm_{target[0]}{target[1]}"
    path = folder / f"{re.sub('[^A-Za-z0-9_]', '', name)}_{dtype}_{kind}.ptx"
    path.write_text(text)
    facts = {"name": name, "dtype": dtype, "target": kind, "path": str(path), "package": cuda.package()}
    return {**facts, **assembled(path, kind)}


def assembled(path: Path, target: str) -> dict[str, Any]:
    """Return registers, stack and spills as ptxas reports them, or why there are none."""
    tool = assembler()
    if tool is None:
        return {"unassembled": "ptxas was not found"}
    command = [tool, f"-arch={target}", "-v", str(path), "-o", str(path.with_suffix(".cubin"))]
    done = subprocess.run(command, capture_output=True, text=True)
    report = done.stderr
    if done.returncode:
        return {"unassembled": (report.strip().splitlines() or ["ptxas failed"])[0]}
    words = {
        "registers": r"Used (\d+) registers", "stack": r"(\d+) bytes stack frame",
        "spill_stores": r"(\d+) bytes spill stores", "spill_loads": r"(\d+) bytes spill loads",
    }  # fmt: skip
    return {key: max(map(int, re.findall(word, report))) for key, word in words.items()}


def instructions(path: str) -> list[str]:
    """Return the instructions of a PTX file, without their operands."""
    lines = [line.strip() for line in Path(path).read_text().splitlines()]
    lines = [line.split(None, 1)[1] if line.startswith("@") and " " in line else line for line in lines]
    return [line.split()[0] for line in lines if line.endswith(";") and not line.startswith((".", "//"))]


def in_process_of_its_own(folder: Path, few: int | None = None) -> tuple[list[dict[str, Any]], str]:
    """Compile all in another process; return what was found, or nothing and why."""
    home = toolkit(Path(tempfile.mkdtemp(dir=folder)))
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0", **({"CUDA_HOME": home} if home else {})}
    command = [sys.executable, "-m", "validation.ptx", str(folder), *([str(few)] if few is not None else [])]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return [], last if home else f"libNVVM was not found ({last})"
    return json.loads(done.stdout.splitlines()[-1]), ""


if __name__ == "__main__":
    few = int(sys.argv[2]) if len(sys.argv) > 2 else None
    print(json.dumps(compile_all(Path(sys.argv[1]), few)))
