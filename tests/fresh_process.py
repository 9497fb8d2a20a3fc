"""Runs a script in a Python process of its own, for what only a fresh interpreter can show."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbopt

ROOT = Path(nbopt.__file__).resolve().parent.parent


def run_python(script, *arguments, root=ROOT, **environment):
    """Return what ``script`` prints; a value None takes a variable out of the environment."""
    variables = {**os.environ, "PYTHONPATH": str(root), **environment}
    done = subprocess.run(
        [sys.executable, "-P", "-X", "faulthandler", "-c", textwrap.dedent(script), *map(str, arguments)],
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
