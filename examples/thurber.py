"""Fit a measured data set with a certified answer, twice: with minimize(), and with a training loop.

Mobility of electrons in a semiconductor against the logarithm of their density. Data, model, start and
certified values are NIST's (StRD, "Thurber", higher level of difficulty) and in the public domain:
https://www.itl.nist.gov/div898/strd/nls/data/thurber.shtml
"""

import sys
import time
from pathlib import Path

import numpy as np
from numba import njit

import nbopt

# fmt: off
X = np.array([
    -3.067, -2.981, -2.921, -2.912, -2.840, -2.797, -2.702, -2.699, -2.633, -2.481, -2.363, -2.322, -1.501,
    -1.460, -1.274, -1.212, -1.100, -1.046, -0.915, -0.714, -0.566, -0.545, -0.400, -0.309, -0.109, -0.103,
    0.010, 0.119, 0.377, 0.790, 0.963, 1.006, 1.115, 1.572, 1.841, 2.047, 2.200])
Y = np.array([
    80.574, 84.248, 87.264, 87.195, 89.076, 89.608, 89.868, 90.101, 92.405, 95.854, 100.696, 101.060,
    401.672, 390.724, 567.534, 635.316, 733.054, 759.087, 894.206, 990.785, 1090.109, 1080.914, 1122.643,
    1178.351, 1260.531, 1273.514, 1288.339, 1327.543, 1353.863, 1414.509, 1425.208, 1421.384, 1442.962,
    1464.350, 1468.705, 1447.894, 1457.628])
START = np.array([1000, 1000, 400, 40, 0.7, 0.3, 0.03])
CERTIFIED = np.array([
    1288.1396800, 1491.0792535, 583.23836877, 75.416644291, 0.96629502864, 0.39797285797, 0.049727297349])
MISFIT, DEVIATION = 5642.7082397, 13.714600784  # certified too: sum of squares, standard deviation
SMALL = 0.1  # about as small a gradient as rounding allows; at the start it is 5e7
# fmt: on


@njit
def cubics(b, x):
    """Return numerator and denominator of the model."""
    return b[0] + x * (b[1] + x * (b[2] + x * b[3])), 1 + x * (b[4] + x * (b[5] + x * b[6]))


@njit
def misfit(u, x, y, start):
    """Return the sum of squared residuals and its gradient; u is b in units of the start."""
    top, bottom = cubics(u * start, x)
    r = top / bottom - y
    gradient = np.empty(7)
    for k in range(4):
        gradient[k] = 2 * np.sum(r / bottom * x**k)
    for k in range(1, 4):
        gradient[3 + k] = -2 * np.sum(r * top / bottom**2 * x**k)
    return np.sum(r**2), gradient * start


def fit_with_minimize():
    """Return the parameters and the misfit after each iteration; the whole solve runs compiled."""
    given = {"args": (X, Y, START), "jac": True, "options": {"ftol": 0, "gtol": SMALL}}
    history = []
    nbopt.minimize(misfit, np.ones(7), **given, callback=lambda u: history.append(misfit(u, X, Y, START)[0]))
    begin = time.perf_counter()
    result = nbopt.minimize(misfit, np.ones(7), **given)
    took = time.perf_counter() - begin
    print(f"minimize: {result.nfev} evaluations in {1e6 * took:.0f} microseconds. {result.message}")
    return START * result.x, history


def fit_with_training_loop(adam_steps=300):
    """Return the parameters and the misfit at each evaluation: Adam comes near, LBFGS finishes."""
    u, history = nbopt.Parameter(np.ones(7)), []

    def closure():
        loss, u.grad = misfit(u.data, X, Y, START)
        history.append(loss)
        return loss

    adam = nbopt.Adam([u], lr=0.02)
    for _ in range(adam_steps):
        adam.step(closure)
    lbfgs = nbopt.LBFGS(
        [u], max_iter=500, tolerance_grad=SMALL, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    lbfgs.step(closure)
    print(
        f"loop: {adam_steps} steps of Adam, {len(history) - adam_steps} evaluations by LBFGS. {lbfgs.message}"
    )
    return START * u.data, history


def digits(b):
    """Return how many digits of each parameter agree with the certified ones, which have 11."""
    return np.minimum(11, -np.log10(np.abs(b / CERTIFIED - 1) + 1e-11))


def plot(b, histories, path):
    """Save data, fit, residuals and convergence."""
    from matplotlib import pyplot as plt

    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
    red, blue, line = "#c2410c", "#1d4ed8", np.linspace(-3.2, 2.3, 400)
    figure = plt.figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplot_mosaic("fc;rc", height_ratios=(3, 1), width_ratios=(3, 2))
    for name, values, colour in (("start", START, "0.7"), ("fit", b, red)):
        top, bottom = cubics(values, line)
        axes["f"].plot(line, top / bottom, color=colour, lw=2, label=name)
    axes["f"].plot(X, Y, "o", ms=5, mfc="white", color="#1f2937", label="measured")
    axes["f"].set(ylabel="electron mobility", title="Thurber: a cubic over a cubic, seven parameters")
    axes["f"].tick_params(labelbottom=False)
    top, bottom = cubics(b, X)
    axes["r"].axhspan(-DEVIATION, DEVIATION, color="0.92")
    axes["r"].text(2.25, DEVIATION, "one standard deviation", ha="right", va="bottom", color="0.5", size=8)
    axes["r"].vlines(X, 0, Y - top / bottom, color=red)
    axes["r"].plot(X, Y - top / bottom, "o", ms=4, color=red)
    axes["r"].set(xlabel="logarithm of density", ylabel="residual", xlim=axes["f"].get_xlim(), ylim=(-42, 42))
    for (name, history), colour in zip(histories.items(), (red, blue), strict=True):
        lowest = np.minimum.accumulate(history) / MISFIT - 1
        axes["c"].semilogy(np.maximum(lowest, 1e-11), color=colour, lw=2, label=name)
    axes["c"].axhspan(1e-12, 1e-11, color="0.92", label="beyond NIST's 11 digits")
    axes["c"].set(
        xlabel="iterations of minimize, evaluations of the loop",
        ylim=(1e-12, 1e4),
        title="Lowest misfit, above the certified one",
    )
    for key in "fc":
        axes[key].legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main():
    """Fit both ways, compare with the certified parameters, draw."""
    fits = {"minimize": fit_with_minimize(), "Adam, then LBFGS": fit_with_training_loop()}
    (b, _), (c, _) = fits.values()
    print("\n          certified        minimize  digits   Adam, LBFGS  digits")
    for k in range(7):
        print(f"b{k + 1} {CERTIFIED[k]:16.9f}{b[k]:16.9f}{digits(b)[k]:8.1f}{c[k]:16.9f}{digits(c)[k]:8.1f}")
    path = (Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "plots") / "thurber.png"
    try:
        plot(b, {name: history for name, (_, history) in fits.items()}, path)
        print(f"\nThe plot is {path}")
    except ImportError:
        print("\nNo plot: matplotlib is not installed (pip install matplotlib).")


if __name__ == "__main__":
    main()
