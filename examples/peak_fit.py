"""Two peaks on a decaying background, with errors that can be believed: NIST's Gauss1.

250 measurements with certified parameters and errors (StRD, in the public domain), which refnx brings.
https://www.itl.nist.gov/div898/strd/nls/data/gauss1.shtml
"""

import sys
from pathlib import Path

import numpy as np
import refnx
from matplotlib import pyplot as plt
from numba import njit

import nbopt

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "plots"
RED, BLUE, INK = "#c2410c", "#1d4ed8", "#1f2937"
LINES = (Path(refnx.__file__).parent / "analysis/tests/NIST_STRD/Gauss1.dat").read_text().splitlines()
y, x = np.array([line.split() for line in LINES[60:310]], float).T
start, certified, errors = np.array([line.split("=")[1].split() for line in LINES[40:48]], float).T[[0, 2, 3]]


@njit
def peak(x, height, centre, width):
    return height * np.exp(-(((x - centre) / width) ** 2))


@njit
def model(x, base, decay, h1, c1, w1, h2, c2, w2):
    return base * np.exp(-decay * x) + peak(x, h1, c1, w1) + peak(x, h2, c2, w2)


result = nbopt.fit(model, x, y, start)
print(result.summary())
wrong, wrong_errors = result.x / certified - 1, np.sqrt(np.diag(result.cov)) / errors - 1
print(f"Farthest from NIST: a parameter by {abs(wrong).max():.0e}, an error by {abs(wrong_errors).max():.0e}")

axes = plt.figure(figsize=(10, 4.6), layout="constrained").subplot_mosaic("dde;rre", height_ratios=(3, 1))
base, decay, *peaks = result.x
axes["d"].plot(x, y, ".", ms=4, color="0.55", label="measured")
for part in (base * np.exp(-decay * x), peak(x, *peaks[:3]), peak(x, *peaks[3:])):
    axes["d"].plot(x, part, "--", color=BLUE, lw=1, label="a part of the fit" if part[0] > 50 else None)
axes["d"].plot(x, result.best_fit, color=RED, lw=2, label="fit")
axes["d"].set(title="NIST's Gauss1: two peaks on a decay", ylim=(0, 170))
axes["d"].legend(ncols=3, loc="upper right")
axes["r"].axhspan(*np.array([-1, 1]) * np.sqrt(result.redchi), color="0.92")
axes["r"].plot(x, result.residual, ".", ms=4, color=INK)
axes["r"].set(ylabel="residual", ylim=(-8, 8), xlim=axes["d"].get_xlim())
axes["e"].axis("off")
report = "\n".join(map(str, result.params.values()))
axes["e"].text(0.05, 0.95, report, va="top", family="monospace", size=11, linespacing=1.8)
FOLDER.mkdir(exist_ok=True)
plt.savefig(FOLDER / "peak_fit.png", dpi=110)
