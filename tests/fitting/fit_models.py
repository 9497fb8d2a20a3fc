"""Models and data for the tests of fit(): compiled once for all of them."""

import numba
import numpy as np


@numba.njit
def peak(x, height, centre, width, base):
    return height * np.exp(-0.5 * ((x - centre) / width) ** 2) + base


@numba.njit
def decay(x, a, rate, base):
    return a * np.exp(-rate * x) + base


@numba.njit
def saturation(x, top, half):
    return top * x / (half + x)


@numba.njit
def growth(x, top, middle, rate):
    return top / (1.0 + np.exp(-rate * (x - middle)))


@numba.njit
def wave(x, amplitude, frequency, phase):
    return amplitude * np.sin(frequency * x + phase)


class Counted:
    """A model that counts its calls."""

    def __init__(self, model):
        self.model, self.calls = model, 0

    def __call__(self, x, *p):
        self.calls += 1
        return self.model(x, *p)


# Model, x, true parameters, standard error of the data.
MODELS = {
    "peak": (peak, np.linspace(-4.0, 4.0, 40), (3.0, 0.4, 1.1, 0.5), 0.3),
    "decay": (decay, np.linspace(0.0, 5.0, 25), (2.5, 1.3, 0.4), 0.15),
    "saturation": (saturation, np.linspace(0.2, 6.0, 15), (4.0, 1.5), 0.25),
    "growth": (growth, np.linspace(-4.0, 6.0, 30), (5.0, 1.0, 1.2), 0.4),
    "wave": (wave, np.linspace(0.0, 7.0, 30), (2.0, 1.7, 0.3), 0.5),
}


def data(name, seed=0):
    """Return model, x, y, the standard errors of y, and the true parameters."""
    model, x, true, sigma = MODELS[name]
    rng = np.random.default_rng(seed)
    errors = sigma * rng.uniform(0.7, 1.3, x.size)
    return model, x, model(x, *true) + errors * rng.normal(size=x.size), errors, true


X = MODELS["peak"][1]
_, _, Y, ERRORS, _ = data("peak", 11)
START = (2.0, 0.0, 1.0, 0.0)
COUNTS = np.random.default_rng(5).poisson(peak(X, 6.0, 0.4, 1.1, 0.7)).astype(float)
