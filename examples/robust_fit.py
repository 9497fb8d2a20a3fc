"""A fit that outliers do not bend: telephone calls from Belgium, for some years counted in other units.

Tens of millions of calls a year; from 1964 to 1969 it was minutes, and partly so in the years beside. Belgian
Statistical Survey, after Rousseeuw and Leroy, Robust Regression and Outlier Detection (1987), table 2.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numba import njit

import nbopt

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "plots"
year = np.arange(1950.0, 1974.0)
calls = np.array([0.44, 0.47, 0.47, 0.59, 0.66, 0.73, 0.81, 0.88, 1.06, 1.20, 1.35, 1.49, 1.61, 2.12, 11.90,
                  12.40, 14.20, 15.90, 18.20, 21.20, 4.30, 2.40, 2.70, 2.90])  # fmt: skip


@njit
def line(year, in_1960, rise):
    return in_1960 + rise * (year - 1960)


fits = {
    loss: nbopt.fit(line, year, calls, loss=loss, f_scale=0.1) for loss in ("linear", "soft_l1", "cauchy")
}
for loss, fitted in fits.items():
    print(f"{loss:8}: {fitted.params.in_1960}, {fitted.params.rise} a year")

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax in (left, right):
    for (loss, fitted), colour, style in zip(
        fits.items(), ("0.6", "#60a5fa", "#c2410c"), ("--", "-", "-"), strict=True
    ):
        ax.plot(year, fitted.best_fit, style, color=colour, lw=2.5, label=loss)
    ax.plot(year, calls, "o", ms=6, mfc="white", color="#1f2937", label="reported")
left.annotate("minutes instead of calls", (1964, 15), ha="right")
left.set(title="Telephone calls from Belgium, a line by three losses", ylabel="tens of millions a year")
right.set(title="The same, magnified", ylim=(-0.2, 5))
left.legend(loc="upper left")
FOLDER.mkdir(exist_ok=True)
fig.savefig(FOLDER / "robust_fit.png", dpi=110)
