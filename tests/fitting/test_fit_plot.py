"""The picture of a fit: what is drawn, on axes of ours and of the caller."""

import numpy as np
import pytest
from fit_models import COUNTS, ERRORS, START, X, Y, peak

from nbopt.fitting.fit import fit

plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed: nothing can be drawn")
MODEL = peak.py_func


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("given", [{}, {"sigma": ERRORS}, {"sigma": np.diag(ERRORS**2)}, {"weights": ERRORS}])
def test_data_fit_band_and_residuals(given):
    result = fit(MODEL, X, Y, START, **given)
    figure = result.plot()
    above, below = figure.axes
    names = [text.get_text() for text in above.get_legend().get_texts()]
    assert {"data", "95% confidence"} <= set(names) and any(name.startswith("fit, ") for name in names)
    curve = next(line for line in above.lines if line.get_label().startswith("fit"))
    np.testing.assert_allclose(curve.get_ydata(), MODEL(curve.get_xdata(), *result.x))
    np.testing.assert_array_equal(below.lines[-1].get_ydata(), result.residual)
    band = above.collections[-1].get_paths()[0].get_extents()
    assert band.ymax >= result.predict().upper.max() - 0.05
    figure.canvas.draw()


def test_a_fit_that_failed_is_not_labelled_as_one_that_converged():
    above, _ = fit(MODEL, X, Y, START, max_nfev=2).plot().axes
    assert any(name.startswith("fit (NOT CONVERGED), ") for name in above.get_legend_handles_labels()[1])


def test_on_axes_of_the_caller_and_at_another_level():
    _, axes = plt.subplots(1, 2)
    figure = fit(MODEL, X, COUNTS, (4.0, 0.0, 1.0, 1.0), cost="poisson").plot(0.5, axes)
    assert figure is axes[0].figure and "50% confidence" in axes[0].get_legend_handles_labels()[1]
    with pytest.raises(ValueError, match=r"FitResult\.plot: axes=3 must be two"):
        fit(MODEL, X, Y, START).plot(axes=3)


def test_x_of_more_rows_and_models_of_just_these_points():
    rows = np.random.default_rng(2).normal(size=(2, 20))
    y = 2 * rows[0] - rows[1] + 0.1 * np.sin(np.arange(20.0))
    above, below = fit(lambda x, a, b: a * x[0] + b * x[1], rows, y).plot().axes
    assert below.get_xlabel() == "point" and len(above.lines) >= 2
    table = np.sin(np.arange(6.0))
    above, below = fit(lambda x, a: a * table, np.arange(6.0)[::-1], table + 0.1).plot().axes
    assert below.get_xlabel() == "x" and (np.diff(above.lines[-1].get_xdata()) > 0).all()


def test_no_band_without_finite_errors():
    above, _ = fit(lambda x, a, b: a + b * x, X[:2], Y[:2]).plot().axes
    assert not any("confidence" in name for name in above.get_legend_handles_labels()[1])
