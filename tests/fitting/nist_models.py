"""NIST's 27 sets for nonlinear regression (StRD): the models, and a reader of data and certified values."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy import arctan, cos, exp, pi, sin


def bennett5(x, b1, b2, b3):
    return b1 * (b2 + x) ** (-1 / b3)


def boxbod(x, b1, b2):
    return b1 * (1 - exp(-b2 * x))


def chwirut(x, b1, b2, b3):
    return exp(-b1 * x) / (b2 + b3 * x)


def danwood(x, b1, b2):
    return b1 * x**b2


def enso(x, b1, b2, b3, b4, b5, b6, b7, b8, b9):
    year = b1 + b2 * cos(2 * pi * x / 12) + b3 * sin(2 * pi * x / 12)
    nino = b5 * cos(2 * pi * x / b4) + b6 * sin(2 * pi * x / b4)
    return year + nino + b8 * cos(2 * pi * x / b7) + b9 * sin(2 * pi * x / b7)


def eckerle4(x, b1, b2, b3):
    return (b1 / b2) * exp(-0.5 * ((x - b3) / b2) ** 2)


def gauss(x, b1, b2, b3, b4, b5, b6, b7, b8):
    return b1 * exp(-b2 * x) + b3 * exp(-((x - b4) ** 2) / b5**2) + b6 * exp(-((x - b7) ** 2) / b8**2)


def hahn1(x, b1, b2, b3, b4, b5, b6, b7):
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def kirby2(x, b1, b2, b3, b4, b5):
    return (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2)


def lanczos(x, b1, b2, b3, b4, b5, b6):
    return b1 * exp(-b2 * x) + b3 * exp(-b4 * x) + b5 * exp(-b6 * x)


def mgh09(x, b1, b2, b3, b4):
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def mgh10(x, b1, b2, b3):
    return b1 * exp(b2 / (x + b3))


def mgh17(x, b1, b2, b3, b4, b5):
    return b1 + b2 * exp(-x * b4) + b3 * exp(-x * b5)


def misra1b(x, b1, b2):
    return b1 * (1 - (1 + b2 * x / 2) ** (-2))


def misra1c(x, b1, b2):
    return b1 * (1 - (1 + 2 * b2 * x) ** (-0.5))


def misra1d(x, b1, b2):
    return b1 * b2 * x * ((1 + b2 * x) ** (-1))


def nelson(x, b1, b2, b3):
    return b1 - b2 * x[0] * exp(-b3 * x[1])


def rat42(x, b1, b2, b3):
    return b1 / (1 + exp(b2 - b3 * x))


def rat43(x, b1, b2, b3, b4):
    return b1 / ((1 + exp(b2 - b3 * x)) ** (1 / b4))


def roszman1(x, b1, b2, b3, b4):
    return b1 - b2 * x - arctan(b3 / (x - b4)) / pi


MODELS = {
    "Bennett5": bennett5,
    "BoxBOD": boxbod,
    "Chwirut1": chwirut,
    "Chwirut2": chwirut,
    "DanWood": danwood,
    "ENSO": enso,
    "Eckerle4": eckerle4,
    "Gauss1": gauss,
    "Gauss2": gauss,
    "Gauss3": gauss,
    "Hahn1": hahn1,
    "Kirby2": kirby2,
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Lanczos3": lanczos,
    "MGH09": mgh09,
    "MGH10": mgh10,
    "MGH17": mgh17,
    "Misra1a": boxbod,
    "Misra1b": misra1b,
    "Misra1c": misra1c,
    "Misra1d": misra1d,
    "Nelson": nelson,
    "Rat42": rat42,
    "Rat43": rat43,
    "Roszman1": roszman1,
    "Thurber": hahn1,
}


def path(name):
    """Return where the file of a set is."""
    found = importlib.util.find_spec("refnx")
    if found is None:
        import pytest  # here, for validation/ reads this file too

        pytest.skip("NIST's files come with refnx")
    return Path(found.origin).parent / "analysis" / "tests" / "NIST_STRD" / f"{name}.dat"


def read(name):
    """Return start1, start2, certified values, their standard errors, y and x of a set."""
    lines = path(name).read_text(errors="replace").splitlines()
    head = "\n".join(lines[:12])

    def part(title):
        first, last = map(int, re.search(title + r".*lines\s+(\d+)\s+to\s+(\d+)", head).groups())
        return lines[first - 1 : last]

    values = [line.split("=")[1].split() for line in part("Starting Values") if "=" in line]
    start1, start2, certified, errors = np.array(values, float).T
    data = np.array([line.split() for line in part("Data ") if line.strip()], float)
    y, x = data[:, 0], data[:, 1:].squeeze()
    if name == "Nelson":
        y, x = np.log(y), np.ascontiguousarray(x.T)
    return SimpleNamespace(starts=(start1, start2), certified=certified, errors=errors, y=y, x=x)


def digits(found, right):
    """Return how many digits of the worst number are right."""
    return -np.log10(np.max(np.abs(found - right) / np.abs(right)).clip(1e-16))
