"""How a Python function becomes machine code: one decorator, one set of flags, one cache tag."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import caching
from numba.core import config as numba_config
from numba.core.registry import CPUDispatcher

try:
    from nbopt.kernels.fragment import Dispatcher, FragmentFiles, UserFragments
except (ImportError, AttributeError):  # a Numba with other insides: all is compiled for its own sake
    Dispatcher, FragmentFiles, UserFragments = None, object, None  # type: ignore[assignment,misc]  # not called

# x/0 is inf, as in NumPy: without this on every function down a call chain nothing vectorises.
FLAGS: dict[str, Any] = {"error_model": "numpy"}


# Compiled functions elsewhere call into these; Numba's cache watches only a function's own file.
_SHARED = ("kernels", "autodiff", "linesearch")
_PACKAGE = Path(__file__).resolve().parent.parent


@functools.cache
def _build_tag(folder: Path) -> str:
    """Return a digest of the flags, the shared folders and ``folder`` if it is one of the package's."""
    folders = {_PACKAGE / name for name in _SHARED}
    if folder.is_relative_to(_PACKAGE):
        folders.add(folder)
    digest = hashlib.blake2b(repr(sorted(FLAGS.items())).encode(), digest_size=6)
    for path in sorted(path for f in folders for path in f.glob("*.py")):
        stat = path.stat()
        digest.update(f"{path.relative_to(_PACKAGE)}:{stat.st_size}:{stat.st_mtime_ns};".encode())
    return digest.hexdigest()


class _TaggedFiles(caching.CompileResultCacheImpl):
    """Cache files whose names carry the build tag and the kind of build."""

    kind = ""

    def __init__(self, function: Callable) -> None:
        self.tag = _build_tag(Path(function.__code__.co_filename).resolve().parent)
        super().__init__(function)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return super().get_filename_base(f"{fullname}-{self.tag}{self.kind}", abiflags)


class _ParallelFiles(_TaggedFiles):
    kind = "p"


class _FragmentFiles(FragmentFiles, _TaggedFiles):
    kind = "f"


class _SerialCache(caching.FunctionCache):
    _impl_class = _TaggedFiles


class _ParallelCache(caching.FunctionCache):
    _impl_class = _ParallelFiles


class _FragmentCache(caching.FunctionCache):
    _impl_class = _FragmentFiles


class _LazyCache:
    """A cache that is set up at the first compilation: doing so for all functions costs 20 ms at import."""

    def __init__(self, dispatcher: Any, kind: type) -> None:
        self.dispatcher, self.kind = dispatcher, kind

    def __getattr__(self, name: str) -> Any:
        made: Any = caching.NullCache()
        # No file behind the function, or nowhere to write: compiled afresh in each process.
        with contextlib.suppress(RuntimeError, OSError, TypeError):
            made = self.kind(self.dispatcher.py_func)
        self.dispatcher._cache = made
        return getattr(made, name)


def compiled(
    function: Callable | None = None,
    *,
    parallel: bool = False,
    nogil: bool = True,
    cache: bool = True,
    inline: bool = False,
) -> Any:
    """Compile ``function`` lazily with the house's flags; under NUMBA_DISABLE_JIT return it as it is.

    Nothing is compiled before the first call (or before `address_of`), so a module may use it at
    import. The disk cache is keyed by the sources of what the function may call and by the kind of
    build, so that a serial and a parallel build of one function do not collide. A function without a
    source file (typed into an interpreter) is compiled without the disk cache.

    A function of the package is compiled as a fragment for other compiled code, see `fragment`. LLVM copies
    a small one into its callers, and with ``inline`` every one. That pays where there is one caller, and
    where a caller hands over views: there LLVM sees that nobody counts references to them.
    """
    if function is None:
        return lambda f: compiled(f, parallel=parallel, nogil=nogil, cache=cache, inline=inline)
    function = getattr(function, "py_func", function)  # the user's own @njit loop: our flags, our cache
    if numba_config.DISABLE_JIT:
        return function
    # Nobody calls our functions from C: leaving that wrapper out saves a tenth of the compile time.
    # What is not said is taken over from the function that is compiled around this one.
    flags = {**FLAGS, "nogil": nogil, "no_cfunc_wrapper": True, "forceinline": inline}
    on_disk = cache and os.environ.get("NBOPT_CACHE", "1") != "0"
    own = Path(function.__code__.co_filename).is_relative_to(_PACKAGE)
    if Dispatcher is None or parallel or not cache or not own:
        dispatcher = numba.njit(function, parallel=parallel, **flags)
    else:
        dispatcher = Dispatcher(function, {}, {"nopython": True, "boundscheck": None, **flags})
        dispatcher.fragment_cache = functools.partial(_LazyCache, kind=_FragmentCache) if on_disk else None
    if on_disk:
        dispatcher._cache = _LazyCache(dispatcher, _ParallelCache if parallel else _SerialCache)
    return dispatcher


def is_compiled(function: object) -> bool:
    """Tell whether ``function`` is a Numba dispatcher, the user's or ours."""
    return isinstance(function, CPUDispatcher)


def address_of(dispatcher: Any, signature: Any) -> int:
    """Compile ``dispatcher`` for ``signature`` (or load it from disk) and return its machine address.

    The address is that of the native function with Numba's own calling convention; it is valid as
    long as the dispatcher lives, so whoever keeps the address keeps the dispatcher too.
    """
    if signature.args not in dispatcher.overloads:
        dispatcher.compile(signature)
    result = dispatcher.overloads[signature.args]
    return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
