"""A cache of their own for every run of the tests: a stale one hides what a fresh user meets."""

import os
import tempfile

# Numba reads the variable at import, so this stands before anything that imports it.
if "NUMBA_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="nbopt-tests-")
    os.environ["NUMBA_CACHE_DIR"] = _cache.name
os.environ.setdefault("MPLBACKEND", "Agg")
