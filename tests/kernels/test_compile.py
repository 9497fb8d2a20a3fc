"""Compilation: lazy, with the house's flags, from a disk cache that never serves something stale."""

import os
import shutil

import numba
import numpy as np
import pytest
from fresh_process import ROOT, run_python
from numba import types
from numba.core import config as numba_config

from nbopt.kernels import compile as kernels_compile
from nbopt.kernels.compile import address_of, compiled, is_compiled

F8_TO_F8 = types.float64(types.float64)


def inverse(x):
    return 1.0 / x


def row_sums(a, out):
    for k in numba.prange(a.shape[0]):
        out[k] = a[k].sum()


def test_nothing_is_compiled_before_the_first_call():
    f = compiled(inverse)
    assert is_compiled(f) and not f.overloads and f.py_func is inverse
    assert f(4.0) == 0.25
    assert len(f.overloads) == 1


def test_it_decorates_with_and_without_options():
    @compiled
    def bare(x):
        return x + 1

    @compiled(parallel=True, nogil=False)
    def with_options(x):
        return x + 1

    assert is_compiled(bare) and is_compiled(with_options)
    assert with_options.targetoptions["parallel"] is True and with_options.targetoptions["nogil"] is False
    assert bare.targetoptions["nogil"] is True


def test_division_by_zero_is_infinite_as_in_numpy():
    assert compiled(inverse)(0.0) == np.inf


def test_a_function_compiled_by_the_user_gets_our_flags():
    theirs = numba.njit(inverse)
    with pytest.raises(ZeroDivisionError):
        theirs(0.0)
    assert compiled(theirs)(0.0) == np.inf


def test_python_functions_are_not_compiled_ones():
    assert not is_compiled(inverse) and not is_compiled(None) and not is_compiled(compiled)


def test_without_the_compiler_a_function_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(numba_config, "DISABLE_JIT", 1)
    assert compiled(inverse) is inverse
    assert compiled(parallel=True)(inverse) is inverse


def test_the_address_is_that_of_one_compilation_per_signature():
    f = compiled(inverse, cache=False)
    first = address_of(f, F8_TO_F8)
    assert first == address_of(f, F8_TO_F8) != 0
    assert len(f.overloads) == 1
    assert address_of(f, types.float64(types.float32)) != first


def test_a_function_without_a_source_file_is_compiled_without_the_disk():
    space = {}
    exec("def twice(x):\n    return 2 * x", space)
    f = compiled(space["twice"])
    assert f(3) == 6 and sum(f.stats.cache_hits.values()) == 0


def test_the_disk_cache_can_be_left_out(monkeypatch):
    def cache_of(**options):
        f = compiled(inverse, **options)
        f(2.0)  # the cache is set up at the first compilation
        return type(f._cache).__name__

    monkeypatch.setenv("NBOPT_CACHE", "0")
    assert cache_of() == "NullCache"
    monkeypatch.setenv("NBOPT_CACHE", "1")
    assert cache_of() == "_SerialCache"
    assert cache_of(cache=False) == "NullCache"


def test_a_serial_and_a_parallel_build_of_one_function_do_not_share_a_file():
    serial, parallel = compiled(row_sums), compiled(row_sums, parallel=True)
    assert serial._cache._impl.filename_base != parallel._cache._impl.filename_base
    a = np.arange(12.0).reshape(3, 4)
    for f in (serial, parallel):
        out = np.zeros(3)
        f(a, out)
        assert out.tolist() == [6, 22, 38]


class TestBuildTag:
    """The digest in the names of cache files."""

    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        for name in ("kernels", "autodiff", "linesearch", "optim", "solvers"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.py").write_text("x = 1\n")
        monkeypatch.setattr(kernels_compile, "_PACKAGE", tmp_path)
        return tmp_path

    def tag(self, folder):
        return kernels_compile._build_tag.__wrapped__(folder)

    @pytest.mark.parametrize("shared", ["kernels", "autodiff", "linesearch"])
    def test_an_edit_of_what_all_call_changes_every_tag(self, package, shared, tmp_path):
        folders = [package / "optim", package / "kernels", tmp_path.parent]
        before = [self.tag(f) for f in folders]
        (package / shared / "a.py").write_text("x = 22\n")
        assert all(self.tag(f) != old for f, old in zip(folders, before, strict=True))

    def test_an_edit_of_the_folder_itself_changes_its_tag_only(self, package):
        before = self.tag(package / "optim"), self.tag(package / "solvers")
        (package / "optim" / "new.py").write_text("")
        assert self.tag(package / "optim") != before[0]
        assert self.tag(package / "solvers") == before[1]

    def test_an_edit_that_keeps_the_size_is_seen_by_its_time(self, package):
        before = self.tag(package / "optim")
        path = package / "optim" / "a.py"
        path.write_text("x = 2\n")
        os.utime(path, ns=(1, 1))
        assert self.tag(package / "optim") != before

    def test_other_flags_have_another_tag(self, package, monkeypatch):
        before = self.tag(package / "optim")
        monkeypatch.setitem(kernels_compile.FLAGS, "boundscheck", True)
        assert self.tag(package / "optim") != before


STEP = """
    import sys
    import numpy as np
    import nbopt
    from nbopt.kernels import launcher

    sys.path.insert(0, sys.argv[1])
    from users_own import Crawl

    launcher.PARALLEL_BYTES, launcher.QUICK_BYTES = int(sys.argv[2]), 1 << 18
    launcher._busy.note = lambda seconds, nbytes: None  # a busy core would have `serial` compiled, too
    w, u = np.linspace(0, 1, 9), np.ones(70_000)
    for opt in (nbopt.SGD([w]), nbopt.SGD([u]), Crawl([w])):
        for k in range(3):
            grads = [p.data + k for p in opt.param_groups[0]["params"]]
            opt.step(grads=grads)
    built = [d for d, _ in launcher._loops.values()]
    built += [getattr(launcher, name) for name in ("quick", "serial", "parallel", "refresh")]
    hits = sum(sum(d.stats.cache_hits.values()) for d in built)
    misses = sum(sum(d.stats.cache_misses.values()) for d in built)
    print(hits, misses, (w.sum() + u.sum()).hex())
"""

USERS_OWN = """
import numpy as np
import nbopt


def crawl(p, g, state, h):
    lr = p.dtype.type(h[0])
    for i in range(p.size):
        p[i] -= lr * np.sign(g[i])


class Crawl(nbopt.ElementwiseOptimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def algorithm(self, group):
        return crawl, ()

    def numbers(self, group, t):
        return (group["lr"] / t,)
"""


def test_a_second_process_compiles_nothing_until_a_source_is_edited(tmp_path):
    """The package is copied, so that its sources can be edited; the user's loop stands elsewhere."""
    shutil.copytree(ROOT / "nbopt", tmp_path / "nbopt", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "users_own.py").write_text(USERS_OWN)
    cache = tmp_path / "cache"

    def step(parallel_bytes=0):
        out = run_python(STEP, tmp_path / "users", parallel_bytes, root=tmp_path, NUMBA_CACHE_DIR=str(cache))
        hits, misses, total = out.split()
        return int(hits), int(misses), total

    hits, compiled_at_first, total = step()
    assert hits == 0 and compiled_at_first > 0
    hits, misses, again = step()
    assert hits > 0 and misses == 0 and again == total
    with (tmp_path / "nbopt" / "kernels" / "address.py").open("a") as source:
        source.write("# a callee has changed\n")
    assert step() == (0, compiled_at_first, total)
    with (tmp_path / "users" / "users_own.py").open("a") as source:
        source.write("# the user's loop has changed\n")
    hits, misses, again = step()
    assert hits > 0 and misses == 1 and again == total


def test_without_a_place_for_the_cache_it_still_runs(tmp_path):
    shutil.copytree(ROOT / "nbopt", tmp_path / "nbopt", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("kernels", "optim"):
        (tmp_path / "nbopt" / folder / "__pycache__").write_text("a file where a folder should be")
    blocked = tmp_path / "blocked"
    blocked.write_text("another one")
    script = """
        import numpy as np, nbopt
        from nbopt.kernels import launcher
        w = np.ones(3)
        nbopt.SGD([w], lr=0.5).step(grads=[w.copy()])
        print(type(launcher.refresh._cache).__name__, *w)
    """
    nowhere = dict.fromkeys(
        ("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(blocked / "inside")
    )
    out = run_python(script, root=tmp_path, **nowhere, PYTHONDONTWRITEBYTECODE="1")
    assert out.split() == ["NullCache", "0.5", "0.5", "0.5"]
