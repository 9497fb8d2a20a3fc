"""A fit as text and as HTML."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from fit_models import ERRORS, START, X, Y, peak

from nbopt.fitting.fit import fit

RESULT = fit(peak.py_func, X, Y, START, sigma=ERRORS, absolute_sigma=True, bounds={"height": (0, 2.8)},
             fixed={"base": 0.5})  # fmt: skip


def test_the_text_has_every_parameter_and_every_warning():
    text = str(RESULT)
    assert text == RESULT.summary() and text.startswith("Fit of peak to 40 data: converged\n")
    parameters = ("height = 2.8 ± ?", "at its upper bound  [0, 2.8]", "base   = 0.5", "fixed")
    whole = (
        "errors = from those of the data",
        "chi square = ",
        "(37 degrees of freedom)",
        "2-point differences",
    )
    for words in (*parameters, *whole, "warning: height is at"):
        assert words in text
    assert "width  = " + f"{RESULT.params.width.value:.3f}" in text
    assert max(map(len, text.splitlines()[:12])) < 100


def test_strong_correlations_are_shown_strongest_first():
    text = fit(lambda x, a, b: a + b * x, np.arange(3.0) + 10.0, [1.0, 2.1, 2.9]).summary()
    assert "correlations: a, b: -0.99" in text
    values = [
        abs(float(v)) for v in re.findall(r": ([+-]0\.\d{3})", fit(peak.py_func, X, Y, START).summary())
    ]
    assert values == sorted(values, reverse=True) and min(values) >= 0.1


class Balanced(HTMLParser):
    """Notes the tags that are open."""

    def __init__(self):
        super().__init__()
        self.open, self.words = [], []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_html_is_balanced_and_escaped():
    odd = fit(lambda x, *p: p[0] + p[1] * x, np.arange(4.0), [0.0, 1.1, 1.9, 3.2], {"<b>": 0.0, "a&b": 1.0})
    for result in (RESULT, odd):
        parser = Balanced()
        parser.feed(result._repr_html_())
        assert parser.open == []
        words = " ".join(parser.words)
        assert all(name in words for name in result.params)
        assert all(warning in words for warning in result.warnings)


@pytest.mark.parametrize(
    "absolute, words", [(True, "from those of the data"), (False, "scaled to a reduced chi square of 1")]
)
def test_where_the_errors_come_from_is_said(absolute, words):
    assert words in fit(lambda x, a: a * x, X, Y, absolute_sigma=absolute).summary()


def test_a_robust_loss_is_named_and_its_cost_is_no_chi_square():
    result = fit(lambda x, a: a * x, X, Y, sigma=0.1, absolute_sigma=True, loss="soft_l1", f_scale=2.0)
    words = result.summary()
    assert "loss = soft_l1, f_scale = 2 (" in words and "residuals are larger)" in words
    assert "robust cost = " in words and "chi square" not in words and "aic" not in words
    assert "errors = from the residuals (Huber's sandwich), not from sigma" in words
    assert "not from sigma" not in fit(lambda x, a: a * x, X, Y, loss="huber").summary()
    assert "no sigma" in fit(lambda x, a: a * x, X, Y, absolute_sigma=True).summary()
