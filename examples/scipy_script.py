"""A scipy script that changes its import: the winds of the Pacific as three waves (NIST's ENSO).

168 monthly differences of air pressure between Easter Island and Darwin; certified parameters (StRD, in the
public domain), which refnx brings. https://www.itl.nist.gov/div898/strd/nls/data/enso.shtml
"""

import sys
from pathlib import Path
from timeit import repeat

import numba
import numpy as np
import refnx
import scipy
from matplotlib import pyplot as plt

import nbopt

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "plots"
LINES = (Path(refnx.__file__).parent / "analysis/tests/NIST_STRD/ENSO.dat").read_text().splitlines()
y, month = np.array([line.split() for line in LINES[60:228]], float).T
START, CERTIFIED = np.array([line.split("=")[1].split() for line in LINES[40:49]], float).T[[0, 2]]


def waves(x, mean, c1, s1, nino, c2, s2, southern, c3, s3):
    u, v, w = 2 * np.pi * x / 12, 2 * np.pi * x / nino, 2 * np.pi * x / southern
    year = c1 * np.cos(u) + s1 * np.sin(u)
    return mean + year + c2 * np.cos(v) + s2 * np.sin(v) + c3 * np.cos(w) + s3 * np.sin(w)


def script(optimize, waves):  # as it was, for scipy.optimize
    popt, pcov = optimize.curve_fit(waves, month, y, p0=START)
    return popt, np.sqrt(np.diag(pcov))


ways = {
    "scipy.optimize": (scipy.optimize, waves),
    "nbopt": (nbopt, waves),
    "nbopt, @njit model": (nbopt, numba.njit(waves)),
}
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=(3, 2))
for k, (name, given) in enumerate(ways.items()):
    popt, errors = script(*given)
    took = min(repeat(lambda given=given: script(*given), number=1, repeat=20))
    digits = -np.log10(np.max(np.abs(popt / CERTIFIED - 1)))
    print(f"{name:18}: {1e3 * took:6.2f} ms, {digits:.1f} digits of every parameter")
    right.plot(1e3 * took, digits, "o", ms=12, color=("0.6", "#fb923c", "#c2410c")[k], label=name)
left.plot(month, y, "o", ms=4, mfc="white", color="#1f2937", label="measured")
left.plot(line := np.linspace(1, 168, 1000), waves(line, *popt), color="#c2410c", lw=2, label="fit")
left.set(title="ENSO: a year, El Niño and the Southern Oscillation", xlabel="month", ylim=(0, 22))
right.set(title="The same script, three engines", xlabel="milliseconds", ylabel="right digits")
left.legend(ncols=2, loc="upper right")
right.set(xlim=(0, None), ylim=(0, 11))
right.legend(loc="lower right")
FOLDER.mkdir(exist_ok=True)
fig.savefig(FOLDER / "scipy_script.png", dpi=110)
