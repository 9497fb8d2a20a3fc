"""Write a file whole or not at all: a temporary file beside it, flushed to disk, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows: no locks to tell a dead writer by, so leftovers stay
    fcntl = None  # type: ignore[assignment]

_SUFFIX = "nbopt-tmp"


@contextlib.contextmanager
def replacing(path: str) -> Iterator[int]:
    """Yield the descriptor of a new file that takes the place of ``path`` when the block ends.

    If the block or anything after it fails the old file is as it was and the new one is gone. The
    content is on disk before the name points to it, so a crash at any moment leaves one of the two
    files, whole. A link stays a link; the mode of the old file is kept. What writers that were killed
    left behind is removed on the way: they no longer hold the lock on it.

    Parameters
    ----------
    path : str
        The file to write; its folder must exist.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist", folder)
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "this is a folder", target)
    _sweep(folder, name)
    fd, temporary = _create(folder, name)
    try:
        _keep_mode(fd, target)
        yield fd
        os.fsync(fd)
        if fcntl is None:  # Windows renames closed files only
            os.close(fd)
            fd = -1
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        if fd >= 0:
            os.close(fd)
    _sync_folder(folder)


def write_all(fd: int, data: memoryview) -> None:
    """Write all bytes, however few the system takes at a time."""
    while len(data):
        data = data[os.write(fd, data) :]


def _prefix(name: str) -> str:
    """Return how the names of temporary files for ``name`` start; short, as names have a limit."""
    return f".{name[:40]}."


def _create(folder: str, name: str) -> tuple[int, str]:
    """Create a temporary file and lock it, for as long as it is being written."""
    while True:
        temporary = os.path.join(folder, f"{_prefix(name)}{secrets.token_hex(8)}.{_SUFFIX}")
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
        fd = os.open(temporary, flags, 0o666)
        if fcntl is None:
            return fd, temporary
        with contextlib.suppress(OSError):  # a file system without locks: nobody will sweep there
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd, temporary
        os.close(fd)  # another writer swept it away before it was locked


def _keep_mode(fd: int, target: str) -> None:
    """Give the new file the mode of the old one, if there is one and the file system can."""
    if hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):
            os.fchmod(fd, stat.S_IMODE(os.stat(target).st_mode))


def _sweep(folder: str, name: str) -> None:
    """Remove temporary files for ``name`` that no living writer holds."""
    if fcntl is None:
        return
    pattern = re.compile(re.escape(_prefix(name)) + r"[0-9a-f]{16}\." + _SUFFIX)
    for entry in os.listdir(folder):
        if not pattern.fullmatch(entry):
            continue
        with contextlib.suppress(OSError):  # another's, or swept by another: not our business
            fd = os.open(os.path.join(folder, entry), os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(os.path.join(folder, entry))
            finally:
                os.close(fd)


def _sync_folder(folder: str) -> None:
    """Flush a folder's list of names to disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)
