"""The rules of the house, read from the sources: floors, names, sizes, docstrings, and examples that run."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from fresh_process import ROOT

import nbopt

PACKAGE = Path(nbopt.__file__).resolve().parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = [ROOT / name for name in ("nbopt", "tests", "validation", "examples")]
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))

# What each part may import besides its own files: only what lies below it.
KERNELS, AUTODIFF = {"kernels"}, {"kernels", "autodiff"}
SEARCHES = AUTODIFF | {"linesearch"}
OBJECTS = SEARCHES | {"optim"}
BELOW = {
    "kernels": set(),
    "autodiff": KERNELS,
    "linesearch": AUTODIFF,
    "optim": SEARCHES,
    "cuda": KERNELS,
    "lr_scheduler": OBJECTS,
    "swa_utils": OBJECTS | {"lr_scheduler"},  # SWALR is a scheduler
    "solvers": OBJECTS,
    "fitting": OBJECTS | {"solvers"},
}
COMPILERS = {"numba", "llvmlite"}
FORBIDDEN = {"util", "utils", "helper", "helpers", "core", "manager", "managers"}
ALLOWED_STEMS = {"swa_utils"}  # torch's name

of_source = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
of_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))


def part_of(path):
    """Return the folder or top-level file that a source belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path):
    """Return the full names of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@of_source
def test_a_file_imports_only_from_its_own_folder_and_from_below(path):
    part = part_of(path)
    if part == "__init__":
        return  # the front door
    used = {name.split(".")[1] for name in imports(path) if name.split(".")[0] == "nbopt"}
    assert used <= BELOW[part] | {part}


@of_source
def test_only_the_two_lowest_folders_name_the_compiler(path):
    used = COMPILERS & {name.split(".")[0] for name in imports(path)}
    assert not used or part_of(path) in {"kernels", "autodiff"}


def test_only_one_file_imports_cuda_and_no_algorithm_names_it():
    importing = {p.name for p in SOURCES if "numba.cuda" in p.read_text() or "cudadrv" in p.read_text()}
    assert importing == {"cuda.py"}
    doors = {"device_arrays.py", "torch_tensors.py", "param_groups.py", "plan.py", "gradients.py"}
    for path in (PACKAGE / "optim").glob("*.py"):
        assert path.name in doors or "cuda" not in path.read_text().lower(), path.name


@of_source
def test_nothing_optional_is_imported_at_the_top(path):
    top = {n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)}
    names = {a.name.split(".")[0] for n in top if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module.split(".")[0] for n in top if isinstance(n, ast.ImportFrom)}
    assert not names & {"torch", "matplotlib", "tqdm", "pandas", "IPython", "cupy", "numba_cuda"}


def test_the_front_door_holds_names_and_nothing_else():
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert isinstance(body[0], ast.Expr)
    for node in body[1:]:
        named = isinstance(node, ast.Assign) and node.targets[0].id in {"__version__", "__all__"}
        assert named or isinstance(node, ast.Import | ast.ImportFrom)
    assert len(set(nbopt.__all__)) == len(nbopt.__all__)
    assert all(hasattr(nbopt, name) for name in nbopt.__all__)


@of_file
def test_a_file_is_short_and_says_first_what_it_is_for(path):
    text = path.read_text()
    assert text.count("\n") <= 500
    assert text.startswith(('"""', "#!", 'r"""')) and ast.get_docstring(ast.parse(text))


def words(name):
    return {w.lower() for w in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


@of_file
def test_names_say_what_things_are(path):
    if path.stem.removeprefix("test_") not in ALLOWED_STEMS:
        assert not words(path.stem) & FORBIDDEN
    assert not any(words(part) & FORBIDDEN for part in path.parent.relative_to(ROOT).parts)
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, definitions) and path.is_relative_to(PACKAGE):
            assert not words(node.name) & FORBIDDEN, node.name


def test_test_files_have_names_of_their_own():
    stems = [p.stem for p in (ROOT / "tests").rglob("test_*.py")]
    assert len(stems) == len(set(stems))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def modules():
    return ["nbopt", *(m.name for m in pkgutil.walk_packages(nbopt.__path__, "nbopt."))]


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings_run(name):
    if name == "nbopt.solvers.plot_convergence":
        pytest.importorskip("matplotlib", reason="its example draws")
    threads = nbopt.get_num_threads()
    try:
        result = doctest.testmod(importlib.import_module(name), report=True)
    finally:
        nbopt.set_num_threads(threads)
    assert result.failed == 0


def sections(text):
    """Return the sections of a numpydoc docstring by their titles."""
    found, title = {"": []}, ""
    lines = text.splitlines()
    for line, rule in zip(lines, [*lines[1:], ""], strict=True):
        if rule and set(rule) == {"-"} and len(rule) == len(line):
            title = line
            found[title] = []
        elif set(line) != {"-"}:
            found[title].append(line)
    return {k: "\n".join(v) for k, v in found.items()}


@pytest.mark.parametrize("name", nbopt.__all__)
def test_every_public_name_is_documented_with_its_parameters_and_an_example(name):
    public = getattr(nbopt, name)
    doc = inspect.getdoc(public)
    assert doc and doc.split("\n")[0].strip()
    if inspect.ismodule(public):
        return
    found = sections(doc)
    assert ">>> " in found["Examples"]
    described = re.findall(r"^(\S.*?)(?: :.*)?$", found.get("Parameters", ""), re.MULTILINE)
    described = {n.strip().lstrip("*") for line in described for n in line.split(",")}
    kinds = (inspect.Parameter.VAR_KEYWORD,)
    wanted = [p.name for p in inspect.signature(public).parameters.values() if p.kind not in kinds]
    missing = [n for n in wanted if n not in described]
    assert not missing
