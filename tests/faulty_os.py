"""The os module with a fault at one chosen operation: a full disk, an interrupt, or a killed process."""

import errno
import os
import signal

OPERATIONS = ("open", "write", "lseek", "fsync", "replace", "close", "unlink", "fchmod")


class FaultyOS:
    """Passes everything on to os, notes what changes files, and fails at the ``at``-th such operation."""

    def __init__(self, at=None, fault=None, half=False):
        self.done, self.at, self.fault, self.half = [], at, fault, half

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in OPERATIONS:
            return real

        def operation(*args, **kwargs):
            self.done.append(name)
            if len(self.done) - 1 == self.at:
                if self.half and name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                if self.half and name in ("replace", "close"):
                    real(*args, **kwargs)
                self.fault()
            return real(*args, **kwargs)

        return operation


def full_disk():
    raise OSError(errno.ENOSPC, "no space left")


def interrupt():
    raise KeyboardInterrupt


def kill():
    os.kill(os.getpid(), signal.SIGKILL)
