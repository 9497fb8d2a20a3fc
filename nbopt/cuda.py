"""CUDA devices: whether one can be used here, and if not, why."""

from __future__ import annotations

from nbopt.kernels import cuda as _found

__all__ = ["is_available", "why"]


def is_available() -> bool:
    """Tell whether optimizers can step arrays on a CUDA device here.

    Nothing of CUDA is imported before this, or before a device array arrives.

    Returns
    -------
    available : bool
        True if a driver, a device and a compiler for it were found.

    Examples
    --------
    >>> import nbopt
    >>> nbopt.cuda.is_available() in (True, False)
    True
    """
    return _found.found() is not None


def why() -> str:
    """Say which device was found and through which package, or what is missing.

    Returns
    -------
    sentence : str

    Examples
    --------
    >>> import nbopt
    >>> len(nbopt.cuda.why()) > 0
    True
    """
    return _found.found().describe() if is_available() else _found.missing()
