"""plot_convergence(): what is drawn, labels, axes of one's own, bad input."""

import sys

import numpy as np
import pytest
from classic_problems import rosenbrock

from nbopt.solvers.minimize import minimize
from nbopt.solvers.plot_convergence import plot_convergence

pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing was drawn")
START = np.array([-1.2, 1.0])


@pytest.fixture(scope="module")
def runs():
    kept = {"history": True, "maxiter": 50}
    return {m: minimize(rosenbrock, START, jac=True, method=m, options=kept) for m in ("lbfgs", "rprop")}


@pytest.fixture(autouse=True)
def close():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_one_result(runs):
    kept = runs["lbfgs"].history
    left, right = plot_convergence(runs["lbfgs"])
    (values,), (slopes,) = left.lines, right.lines
    np.testing.assert_array_equal(values.get_xdata(), np.arange(kept.fun.size))
    shown = values.get_ydata()
    np.testing.assert_array_equal(shown[:-1], kept.fun[:-1] - kept.fun.min())
    assert np.isnan(shown[-1])
    np.testing.assert_array_equal(slopes.get_ydata(), kept.gradient)
    assert left.get_legend() is None and left.get_yscale() == right.get_yscale() == "log"


@pytest.mark.parametrize("against", ["iterations", "nfev", "seconds"])
def test_several(runs, against):
    for results, labels in ((runs, None), (list(runs.values()), ("lbfgs", "rprop"))):
        left, right = plot_convergence(results, labels, against=against)
        assert [text.get_text() for text in left.get_legend().get_texts()] == ["lbfgs", "rprop"]
        if against != "iterations":
            for line, run in zip(right.lines, runs.values(), strict=True):
                np.testing.assert_array_equal(line.get_xdata(), getattr(run.history, against))
        lowest = min(run.fun for run in runs.values())
        np.testing.assert_array_equal(left.lines[1].get_ydata(), runs["rprop"].history.fun - lowest)


def test_axes_of_ones_own(runs):
    from matplotlib import pyplot

    axes = pyplot.subplots(2, 1)[1]
    left, right = plot_convergence(runs["lbfgs"], "mine", axes=axes)
    assert left is axes[0] and right is axes[1]
    assert len(pyplot.get_fignums()) == 1


def test_values_that_are_not_finite_are_left_out():
    res = minimize(lambda x: (np.nan, x), START, jac=True, options={"history": True})
    plot_convergence(res)[0].figure.canvas.draw()


def test_bad_input(runs, monkeypatch):
    plain = minimize(rosenbrock, START, jac=True)
    with pytest.raises(ValueError, match=r'result 1 has no history; .*options=\{"history": True\}'):
        plot_convergence([runs["lbfgs"], plain])
    with pytest.raises(ValueError, match="there are 3 labels and 2 results"):
        plot_convergence(runs, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="against='time' must be one of 'iterations'"):
        plot_convergence(runs, against="time")
    with pytest.raises(ValueError, match="must be two matplotlib axes"):
        plot_convergence(runs, axes=[1])
    for odd in (3, [], [3], np.ones(3)):
        with pytest.raises(TypeError, match="must be a result of minimize"):
            plot_convergence(odd)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plot_convergence(runs)
