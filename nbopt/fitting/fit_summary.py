"""A fit as a table: of text for print(), of HTML for notebooks."""

from __future__ import annotations

import html as markup
import math
from typing import Any

import numpy as np

from nbopt.fitting.fit_parameters import FitParameter, with_error
from nbopt.fitting.whitening import NONE

_STRONG = 0.1  # weaker correlations are left out


def text(result: Any) -> str:
    """Return a fit as lines of text.

    Parameters
    ----------
    result : FitResult

    Returns
    -------
    str
    """
    rows = [[p.name, with_error(p.value, p.stderr), _share(p), _limits(p)] for p in result.params.values()]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [_title(result), f"  {_reason(result)}", ""]
    lines += [
        f"  {name:<{widths[0]}} = {value:<{widths[1]}}  {share:>{widths[2]}}  {limits}".rstrip()
        for name, value, share, limits in rows
    ]
    lines += ["", *(f"  {name} = {value}" for name, value in _numbers(result))]
    strong = _correlations(result)
    if strong:
        lines += ["", "  correlations: " + ", ".join(f"{a}, {b}: {value:+.3f}" for a, b, value in strong)]
    lines += [f"  warning: {words}" for words in result.warnings]
    return "\n".join(lines)


def html(result: Any) -> str:
    """Return a fit as HTML.

    Parameters
    ----------
    result : FitResult

    Returns
    -------
    str
        All names are escaped.
    """
    quote = markup.escape
    head = "".join(
        f"<th>{title}</th>" for title in ("parameter", "value ± error", "relative", "start", "bounds")
    )
    rows = "".join(
        f"<tr><td><b>{quote(p.name)}</b></td><td>{quote(with_error(p.value, p.stderr))}</td>"
        f"<td>{quote(_share(p))}</td><td>{p.start:.6g}</td><td>{quote(_limits(p))}</td></tr>"
        for p in result.params.values()
    )
    numbers = "".join(f"<tr><td>{quote(n)}</td><td>{quote(v)}</td></tr>" for n, v in _numbers(result))
    strong = "".join(
        f"<li>{quote(a)}, {quote(b)}: {value:+.3f}</li>" for a, b, value in _correlations(result)
    )
    words = "".join(f"<li>{quote(line)}</li>" for line in result.warnings)
    return (
        f"<div><p><b>{quote(_title(result))}</b><br>{quote(_reason(result))}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<table><tbody>{numbers}</tbody></table>"
        + (f"<p>Correlations</p><ul>{strong}</ul>" if strong else "")
        + (f'<p style="color:#b91c1c">Warnings</p><ul style="color:#b91c1c">{words}</ul>' if words else "")
        + "</div>"
    )


def _title(result: Any) -> str:
    """Return what was fitted to what, and whether it worked."""
    name = getattr(result.problem.model, "__name__", type(result.problem.model).__name__)
    state = "converged" if result.success else "NOT CONVERGED"
    return f"Fit of {name} to {result.ndata} data: {state}"


def _reason(result: Any) -> str:
    """Return why the fit stopped, and what it took."""
    jac = {"dual": "exact", "user": "the user's"}.get(result.jac_method, f"{result.jac_method} differences")
    return f"{result.message} {result.nfev} evaluations, {result.njev} Jacobians ({jac})."


def _share(p: FitParameter) -> str:
    """Return the standard error relative to the value."""
    if p.fixed:
        return "fixed"
    if p.at_bound:
        return f"at its {p.at_bound} bound"
    if p.value == 0.0 or not math.isfinite(p.stderr):
        return ""
    return f"({100.0 * abs(p.stderr / p.value):.2g}%)"


def _limits(p: FitParameter) -> str:
    """Return the bounds, if there are any."""
    return "" if p.lower == -math.inf and p.upper == math.inf else f"[{p.lower:.6g}, {p.upper:.6g}]"


def _numbers(result: Any) -> list[tuple[str, str]]:
    """Return the names and values of the numbers on the fit as a whole."""
    what = name_of_cost(result)
    ours = [
        (what, f"{result.chisqr:.8g}"),
        (f"reduced {what}", f"{result.redchi:.6g} ({result.nfree} degrees of freedom)"),
        ("aic, bic", f"{result.aic:.6g}, {result.bic:.6g}"),
    ]
    known = "from those of the data" + (", taken as 1: no sigma" if result.problem.data.kind == NONE else "")
    errors = known if result.absolute else f"scaled to a reduced {what} of 1"
    if result.problem.poisson:
        return [*ours, ("errors", "from the likelihood of the counts")]
    if result.problem.loss == "linear":
        return [*ours, ("errors", errors)]
    loss = getattr(result.problem.loss, "__name__", result.problem.loss)
    loss = f"{loss}, f_scale = {result.problem.f_scale:.6g} ({result.sandwich.beyond} residuals are larger)"
    errors = "from the residuals (Huber's sandwich)" + (", not from sigma" if result.absolute else "")
    return [("loss", loss), *ours[:2], ("errors", errors)]


def name_of_cost(result: Any) -> str:
    """Return what the sum that was made least is called."""
    if result.problem.poisson:
        return "deviance"
    return "chi square" if result.problem.loss == "linear" else "robust cost"


def _correlations(result: Any) -> list[tuple[str, str, float]]:
    """Return the strongest correlations, at most five."""
    names, correl = list(result.params), result.correl
    pairs = [
        (names[i], names[j], float(correl[i, j]))
        for i, j in zip(*np.triu_indices(len(names), 1), strict=True)
    ]
    strong = [pair for pair in pairs if abs(pair[2]) >= _STRONG]
    return sorted(strong, key=lambda pair: -abs(pair[2]))[:5]
