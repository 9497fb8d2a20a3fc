"""Importing nbopt: nothing is compiled, nothing optional is loaded, nothing is written."""

import tomllib

from fresh_process import ROOT, run_python

import nbopt

SCRIPT = """
    import gc, json, os, sys, warnings
    warnings.simplefilter("error")
    import numpy, scipy.optimize
    from numba.core import event
    from numba.core.registry import CPUDispatcher

    with event.install_recorder("numba:compile") as recorder:
        import nbopt
        from nbopt import *

    ours = [d for d in gc.get_objects() if isinstance(d, CPUDispatcher)]
    ours = [d for d in ours if d.py_func.__module__.startswith("nbopt")]
    print(json.dumps({
        "compiled": len(recorder.buffer) + sum(len(d.overloads) for d in ours),
        "dispatchers": len(ours),
        "loaded": sorted({m.split(".")[0] for m in sys.modules}),
        "written": sum(len(files) for _, _, files in os.walk(os.environ["NUMBA_CACHE_DIR"])),
        "missing": [name for name in nbopt.__all__ if name not in globals()],
    }))
"""


def test_importing_compiles_loads_and_writes_nothing_more_than_it_must(tmp_path):
    import json

    seen = json.loads(run_python(SCRIPT, NUMBA_CACHE_DIR=str(tmp_path)))
    assert seen["compiled"] == 0 and seen["dispatchers"] > 5
    assert seen["written"] == 0 and seen["missing"] == []
    optional = {
        "torch",
        "matplotlib",
        "tqdm",
        "pandas",
        "IPython",
        "pytest",
        "hypothesis",
        "numba_cuda",
        "cupy",
    }
    assert not optional & set(seen["loaded"])


def test_it_can_be_imported_without_the_compiler():
    out = run_python("import nbopt; print(nbopt.get_num_threads() >= 1)", NUMBA_DISABLE_JIT="1")
    assert out.strip() == "True"


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert nbopt.__version__ == project["version"]
