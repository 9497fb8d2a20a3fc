"""Half a century of carbon dioxide over Mauna Loa: a rise that speeds up and a season that swells.

2225 weeks from 1958 to 2001 (Keeling and Whorf 2004, in the public domain), which statsmodels brings; twelve
parameters in bounds.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numba import njit
from statsmodels.datasets import co2

import nbopt

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "plots"
RED, BLUE, INK = "#c2410c", "#1d4ed8", "#1f2937"
weeks = co2.load_pandas().data["co2"].dropna()
t, y = (weeks.index.to_julian_date().to_numpy() - 2444239.5) / 365.25, weeks.to_numpy()  # years from 1980


@njit
def season(t, c1, s1, c2, s2, c3, s3, c4, s4):
    w = 2 * np.pi * t
    slow = c1 * np.cos(w) + s1 * np.sin(w) + c2 * np.cos(2 * w) + s2 * np.sin(2 * w)
    return slow + c3 * np.cos(3 * w) + s3 * np.sin(3 * w) + c4 * np.cos(4 * w) + s4 * np.sin(4 * w)


@njit
def model(t, level, rise, bend, swell, c1, s1, c2, s2, c3, s3, c4, s4):
    return level + t * (rise + t * bend) + (1 + swell * t) * season(t, c1, s1, c2, s2, c3, s3, c4, s4)


bounds = [250, 0, 0, 0] + [-10] * 8, [450, 5, 1, 0.1] + [10] * 8
p, covariance = nbopt.curve_fit(model, t, y, [340, 1, 0, 0] + [0.1] * 8, bounds=bounds)
e = np.sqrt(np.diag(covariance))
print(f"In 1980 {p[0]:.2f} ± {e[0]:.2f} ppm, rising by {p[1]:.3f} ± {e[1]:.3f} ppm a year,")
print(f"that by {2 * p[2]:.4f} ± {2 * e[2]:.4f} a year, the season by {100 * p[3]:.2f} ± {100 * e[3]:.2f} %.")

axes = plt.figure(figsize=(10, 4.6), layout="constrained").subplot_mosaic("dds;rrs", height_ratios=(3, 1))
axes["d"].plot(1980 + t, y, ".", ms=2, color="0.55", label="measured, weekly")
axes["d"].plot(1980 + t, p[0] + t * (p[1] + t * p[2]), color=RED, lw=2, label="trend of the fit")
axes["d"].set(ylabel="CO$_2$ in parts per million", title="Carbon dioxide over Mauna Loa")
axes["d"].tick_params(labelbottom=False)
axes["d"].legend(loc="upper left", markerscale=4)
rest = y - model(t, *p)
axes["r"].axhline(0, color="0.8", lw=1)
axes["r"].plot(1980 + t, rest, ".", ms=1.5, color=INK)
axes["r"].set(ylabel="residual", ylim=(-3.2, 3.2), xlim=axes["d"].get_xlim())
x = np.linspace(0, 1, 200)
for since, colour in ((-20, BLUE), (20, RED)):
    axes["s"].plot(
        12 * x, (1 + p[3] * since) * season(x, *p[4:]), color=colour, lw=2, label=f"{1980 + since}"
    )
axes["s"].set(title="The season", xlabel="month", xticks=range(0, 13, 3), ylabel="ppm", xlim=(0, 12))
axes["s"].legend()
FOLDER.mkdir(exist_ok=True)
plt.savefig(FOLDER / "carbon_dioxide.png", dpi=110)
