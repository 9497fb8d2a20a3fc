"""Functions for other compiled code: LLVM code that callers take in, without machine code of its own.

Numba optimizes a function and makes machine code of it, and an entry for Python, before it copies what came
out into each caller, to be optimized again. A chain of functions is so compiled as often as it is long, and
loops that were unrolled too early do not come out as well as they could. A fragment is left as it was written
until it stands in a caller that needs machine code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding
from numba.core import caching, compiler, types
from numba.core.codegen import JITCodeLibrary
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]  # Numba's stubs lack it
from numba.core.registry import CPUDispatcher
from numba.core.types.misc import unliteral

_LITERAL = types.IntegerLiteral, types.BooleanLiteral


class _Code(JITCodeLibrary):
    """A function's LLVM code, and that of what it calls, not optimized."""

    def finalize(self) -> None:
        """Take in what the function calls."""
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True


class _Compiler(_FunctionCompiler):
    """Numba's compiler up to LLVM code."""

    def _fragment(self, args: tuple[Any, ...], return_type: Any) -> Any:
        """Return what Numba keeps of a compilation, without anything to call."""
        flags, target = compiler.Flags(), self.targetdescr.target_context
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        library = _Code(target.codegen(), self.py_func.__qualname__)
        kinds = {"args": args, "return_type": return_type, "flags": flags, "locals": self.locals}
        typing, passes = self.targetdescr.typing_context, self.pipeline_class
        made = compiler.compile_extra(
            typing, target, self.py_func, library=library, pipeline_class=passes, **kinds
        )
        # Numba finds the code by the entry for Python: any object will do.
        made = made._replace(entry_point=object())
        target.insert_user_function(made.entry_point, made.fndesc, [library])
        return made

    _compile_core = _fragment  # as Numba calls it


class FragmentFiles(caching.CompileResultCacheImpl):
    """How fragments are kept on disk."""

    def reduce(self, made: Any) -> tuple[Any, ...]:
        """Return what is written."""
        library, described = made.library, made.fndesc
        library._ensure_finalized()
        described.typemap = described.calltypes = None  # cannot be pickled
        code = library._final_module.as_bitcode()
        return library.name, code, library._reload_init, described, made.signature

    def rebuild(self, target: Any, written: tuple[Any, ...]) -> Any:
        """Return the fragment."""
        name, code, begin, described, signature = written
        for function in begin:
            function()
        library = _Code(target.codegen(), name)
        library._final_module, library._finalized = binding.parse_bitcode(code), True
        library._reload_init.update(begin)
        parts = {"library": library, "fndesc": described, "signature": signature, "entry_point": object()}
        return compiler.compile_result(target_context=target, objectmode=False, **parts)


class Fragments(CPUDispatcher):
    """A function's fragments, one for each signature; ``passes`` is what compiles them."""

    def __init__(self, function: Callable, options: dict[str, Any], passes: type = compiler.Compiler) -> None:
        super().__init__(function, {}, options)
        self._compiler = _Compiler(function, self.targetdescr, options, {}, passes)

    def add_overload(self, made: Any) -> None:
        """Keep a fragment; nothing is there for Python to call."""
        self.overloads[tuple(made.signature.args)] = made


class UserFragments(Fragments):
    """Those of a user's function: it may call into Python, to print or to raise an error made as it runs."""

    def add_overload(self, made: Any) -> None:
        """Keep a fragment, and put what calls into Python need where its code looks for it."""
        super().add_overload(made)
        name, codegen = made.fndesc.env_name, self.targetctx.codegen()
        library = codegen.create_library(name)
        module = library.create_ir_module(name)
        self.targetctx.declare_env_global(module, name)  # all code that is loaded later shares this one
        library.add_ir_module(module)
        library.finalize()
        codegen.set_env(name, made.environment)


class Dispatcher(CPUDispatcher):
    """A function that is compiled whole for Python and for its address, as a fragment for compiled code."""

    fragment_cache: Callable | None = None
    _fragments: Any = None  # made when needed: a dispatcher takes 30 us

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile a fragment for a call; not one for each constant, since LLVM sees those anyway."""
        if self._fragments is None:
            fragments = Fragments(self.py_func, self.targetoptions)
            if self.fragment_cache is not None:
                fragments._cache = self.fragment_cache(fragments)
            self._fragments = fragments
        _, args = self.fold_argument_types(args, kws)
        args = [unliteral(a) if isinstance(a, _LITERAL) else a for a in args]
        return self._fragments.get_call_template(args, {})

    def get_overload(self, signature: Any) -> Any:
        """Return what Numba finds a call's code by."""
        made = self if self._fragments is None else self._fragments
        return super().get_overload(signature) if made is self else made.get_overload(signature)
