"""Data drawn anew for a bootstrap: residuals put elsewhere, points drawn, or noise from the fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.fitting.curve_data import Data
from nbopt.fitting.robust_errors import location
from nbopt.fitting.whitening import CHOLESKY, NONE, WEIGHTS
from nbopt.optim.near_miss import did_you_mean

KINDS = ("residuals", "pairs", "parametric")


class Resampler:
    """Draws data sets like those of a fit.

    Parameters
    ----------
    result : FitResult
    kind : str
        One of KINDS.
    seed : None, int or numpy.random.Generator

    Raises
    ------
    ValueError
        If the data cannot be drawn in this way.
    """

    def __init__(self, result: Any, kind: str, seed: Any) -> None:
        if kind not in KINDS:
            known = ", ".join(map(repr, KINDS))
            raise ValueError(f"bootstrap: kind={kind!r} must be one of {known}{did_you_mean(kind, KINDS)}")
        self.data, self.fit, self.poisson = result.problem.data, result.best_fit, result.problem.poisson
        self.rng, self.kind = np.random.default_rng(seed), kind
        m = self.data.y.size
        if self.data.kind == WEIGHTS:  # a point without weight stays where it is
            w = self.data.W[0]
            self.units = np.where(w > 0.0, 1.0 / np.where(w > 0.0, w, 1.0), 0.0)
        if kind == "residuals":
            if self.poisson:
                raise ValueError(
                    "bootstrap: residuals of counts are not alike; take kind='parametric' or 'pairs'"
                )
            self.counted = np.flatnonzero(self.data.W[0]) if self.data.kind == WEIGHTS else np.arange(m)
            r = result.residual[self.counted]
            spread = np.sqrt(result.ndata / result.nfree) if result.nfree > 0 else 1.0
            problem = result.problem
            centre = location(problem.loss, problem.f_scale, r) if result.robust else r.mean()
            self.residuals = (r - centre) * spread  # a fit leaves less than the noise
        elif kind == "pairs":
            x = self.data.x
            if not isinstance(x, np.ndarray) or x.shape[-1:] != (m,):
                raise ValueError(
                    "bootstrap: kind='pairs' needs x to be an array whose last axis counts the data"
                )
            if self.data.kind == CHOLESKY:
                raise ValueError("bootstrap: kind='pairs' takes the data as independent; sigma is a matrix")
        else:
            if result.robust and not result.absolute:
                raise ValueError(
                    "bootstrap: kind='parametric' draws normal errors; with a robust loss their size is only "
                    "known with absolute_sigma=True: take kind='residuals' or 'pairs'"
                )
            variance = 1.0 if result.absolute else result.variance
            if not variance >= 0.0:
                raise ValueError(
                    "bootstrap: kind='parametric' needs to know the noise: there are too few data"
                )
            self.spread = float(np.sqrt(variance))

    def draw(self) -> Data:
        """Return data of the same shapes."""
        data, m = self.data, self.data.y.size
        if self.kind == "pairs":
            chosen = self.rng.integers(0, m, m)
            x = np.ascontiguousarray(data.x[..., chosen])
            W = np.ascontiguousarray(data.W[:, chosen]) if data.kind == WEIGHTS else data.W
            return data._replace(x=x, y=data.y[chosen], W=W)
        if self.poisson:
            return data._replace(y=self.rng.poisson(np.maximum(self.fit, 0.0)).astype(np.float64))
        noise = np.zeros(m)
        if self.kind == "residuals":
            noise[self.counted] = self.residuals[self.rng.integers(0, self.counted.size, self.counted.size)]
        else:
            noise[:] = self.spread * self.rng.standard_normal(m)
        return data._replace(y=self.fit + self._with_units(noise))

    def _with_units(self, noise: np.ndarray) -> np.ndarray:
        """Return noise in the units of the data."""
        if self.data.kind == NONE:
            return noise
        return self.data.W @ noise if self.data.kind == CHOLESKY else noise * self.units
