"""The harness of validation/: its pure pieces, on tiny cases; nothing here is timed against a limit."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "validation").is_dir():
    pytest.skip("validation/ is part of the source tree, not of the package", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from validation import (  # noqa: E402
    budgets,
    cases_derivatives,
    choosing_problems,
    choosing_runs,
    peers,
    problems,
    quiet,
    rosenbrock,
    serve,
    timing,
)


def test_time_block_counts_calls_and_prepares_before_each():
    log = []
    case = timing.Case(lambda: log.append("call"), lambda: log.append("prepare"))
    assert timing.time_block(case, 0.0) > 0
    assert log[::2] == ["prepare"] * (len(log) // 2) and log[1::2] == ["call"] * (len(log) // 2)
    assert len(log) >= 2 * 3


def test_take_turns_runs_one_block_of_each_per_round_and_alternates_the_order():
    order = []

    def block(name, seconds):
        return lambda: order.append(name) or seconds

    timings = timing.take_turns({"a": block("a", 1.0), "b": block("b", 3.0)}, 2)
    assert order == ["a", "b", "b", "a"]
    assert timings["a"].rounds == [1.0, 1.0] and timings["b"].seconds == 3.0
    assert timing.ratio(timings["b"], timings["a"]) == 3.0


def test_ratio_is_taken_round_by_round():
    drifting = timing.Timing([2.0, 20.0, 200.0]), timing.Timing([1.0, 10.0, 100.0])
    assert timing.ratio(*drifting) == 2.0
    assert drifting[1].spread == 100.0


def test_budgets_are_distinct_and_judge_both_ways():
    keys = [b.key for b in budgets.BUDGETS]
    assert len(set(keys)) == len(keys)
    by_key = {b.key: b for b in budgets.BUDGETS}
    assert by_key["import"].met(0.1) and not by_key["import"].met(0.11)
    assert by_key["roofline"].met(0.95) and not by_key["roofline"].met(0.94)


@pytest.mark.parametrize("name", problems.PROBLEMS)
def test_problem_gradient_agrees_with_central_differences(name):
    problem = problems.PROBLEMS[name]
    x = np.array(problem.start) + 0.01
    f, g = problem.fun_and_grad(x)
    assert f == problem.fun(x)
    step = 1e-6 * np.maximum(1, np.abs(x))
    moves = np.diag(step)
    changes = np.array([problem.fun(x + move) - problem.fun(x - move) for move in moves])
    differences = changes / (2 * step)
    np.testing.assert_allclose(g, differences, rtol=1e-4, atol=1e-7 * max(abs(f), np.abs(g).max()))


def test_problem_knows_when_it_is_solved():
    rosen = problems.PROBLEMS["Rosenbrock"]
    assert rosen.fun(np.ones(2)) == 0 and rosen.solved(0.0) and not rosen.solved(1.0)
    assert problems.PROBLEMS["Freudenstein and Roth"].solved(48.98425368)


@pytest.mark.parametrize("kind", rosenbrock.FUNCTIONS)
def test_the_forms_of_rosenbrock_agree(kind):
    x = np.linspace(-1, 2, 7)
    f, g = rosenbrock.FUNCTIONS[kind](x)
    expected = rosenbrock.numpy(x)
    np.testing.assert_allclose(f, expected[0], rtol=1e-12)
    np.testing.assert_allclose(g, expected[1], rtol=1e-12)


def test_serve_answers_requests_and_reports_errors():
    cases = {}
    step = {
        "optimizer": "SGD",
        "options": {"lr": 0.1},
        "arrays": 2,
        "size": 3,
        "dtype": "float64",
        "fresh": True,
    }
    assert serve.answer(
        {"do": "build", "key": "k", "function": "validation.cases_nbopt:step", "given": step}, cases
    )
    assert serve.answer({"do": "time", "key": "k", "seconds": 0.0}, cases) > 0
    serve.answer({"do": "drop"}, cases)
    assert not cases
    line = json.dumps({"do": "nothing"}) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "validation.serve"],
        input=line,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "unknown request" in json.loads(done.stdout)["error"]


def test_contest_in_a_process_of_its_own(monkeypatch):
    monkeypatch.chdir(ROOT)
    group = peers.Peers()
    entry = peers.Entry.of("validation.cases_nbopt:move", written=1, size=4, dtype="float32")
    try:
        timings = group.contest({"move": entry}, 2, 0.0)
    finally:
        group.close()
    assert len(timings["move"].rounds) == 2 and timings["move"].seconds > 0


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_the_cases_of_the_zoo_run(shape):
    from validation import cases_nbopt

    rows, columns = shape
    assert timing.time_block(cases_nbopt.muon_products(rows, columns, "float32"), 0.0) > 0
    assert timing.time_block(cases_nbopt.sparse_step(10, 2, 4), 0.0) > 0


def choosing_problem(name, **more):
    if name in choosing_problems.NEEDS_SKLEARN:
        pytest.importorskip("sklearn", reason="scikit-learn has the data of this problem")
    return choosing_problems.PROBLEMS[name](0, **more)


@pytest.mark.parametrize("name", choosing_problems.PROBLEMS)
def test_the_gradients_of_the_problems_for_choosing(name):
    problem, rng = choosing_problem(name), np.random.default_rng(0)
    params = [a + 0.1 * rng.standard_normal(a.shape).astype(a.dtype) for a in problem.start]
    ways = [rng.standard_normal(a.shape).astype(a.dtype) for a in params]
    h = 1e-5 if params[0].dtype == np.float64 else 3e-3
    up, down = ([p + s * h * w for p, w in zip(params, ways, strict=True)] for s in (1, -1))
    slope = sum((g * w).sum() for g, w in zip(problem.evaluate(params, 3)[1], ways, strict=True))
    rise = (problem.evaluate(up, 3)[0] - problem.evaluate(down, 3)[0]) / (2 * h)
    assert slope == pytest.approx(rise, rel=1e-6 if h < 1e-4 else 1e-2)
    assert problem.gap(problem.start) > 2 * problem.target


def test_an_embeddings_sparse_gradient_is_its_dense_one():
    dense, sparse = (choosing_problem("sparse embedding", sparse=s) for s in (False, True))
    (expected,), ((index, values),) = (p.evaluate(p.start, 5)[1] for p in (dense, sparse))
    found = np.zeros_like(expected)
    np.add.at(found, index, values)
    assert np.array_equal(found, expected) and found.any()


def test_the_rate_that_arrives_first_is_chosen():
    given = {"problem": "Rosenbrock", "optimizer": "SGD", "options": {"momentum": 0.9}, "quick": True}
    seen = choosing_runs.solve(**given, rates=[1e-3, 3e-3, 1e3])
    alone = choosing_runs.solve(**given, rates=[1e-3])
    assert seen["lr"] == 3e-3 and seen["steps"] == seen["evaluations"] < alone["steps"]
    assert choosing_runs.solve(**given, rates=[1e3]) is None


def test_waiting_for_a_quiet_machine_ends():
    assert 0.0 <= quiet.busy(0.01) <= 1.0
    quiet.wait_until_quiet(0.0)


def test_unsteady_tries_are_repeated_and_the_steadiest_counts():
    group = peers.Peers(patience=1e-9)
    seconds = iter([1.0, 9.0, 1.0, 1.2])
    timings = group._quiet_turns({"a": lambda: next(seconds)}, 2)
    assert timings["a"].rounds == [1.0, 1.2]


def test_report_shows_budgets_losses_and_what_is_missing(tmp_path):
    pytest.importorskip("matplotlib", reason="the report's figures need matplotlib")
    from validation import report, step_cost

    section = report.Section("One", ["text"], losses=["we lose here"], missing=["torch"])
    section.worst("adam_10_kept", {"float32": 3.0, "float64": 5.0}, largest=True, why={"float64": "because"})
    page = report.write(tmp_path, ["# head"], [section]).read_text()
    assert "5 µs (float64) | **missed by 25%** | because |" in page
    assert "- we lose here" in page and "- torch" in page and "## One" in page
    better = report.Section("Two")
    better.worst("adam_10_kept", {"elsewhere": 4.5})
    assert "5 µs (float64)" in report.budget_table([section, better])
    assert "5 µs (float64)" in report.budget_table([better, section])
    assert report.span(2.5e-5) == "25 µs" and report.count(20_000_000) == "2e7"
    quick = list(step_cost.situations(quick=True))
    assert len(set(quick)) == len(quick) < len(list(step_cost.situations(quick=False)))


class EveryCallArrives:
    """Stands for the measuring processes; Rprop never arrives."""

    def call(self, entry):
        steps = None if dict(entry.given)["optimizer"] == "Rprop" else 120
        return steps and {"lr": 0.1, "steps": steps, "evaluations": 2 * steps, "seconds": 0.0015}


def test_the_section_on_choosing(tmp_path):
    pytest.importorskip("matplotlib", reason="the report's figures need matplotlib")
    from validation import choosing

    section = choosing.run(EveryCallArrives(), True, tmp_path)
    text = "\n".join(section.blocks)
    assert "| Adam | 120, 1.5 ms, 0.1 |" in text and "| Rprop | - |" in text and "| Muon |  |" in text
    assert (tmp_path / "choosing.png").stat().st_size > 10_000
    assert choosing.rates("Rprop", quick=False) == [0.3, 0.1, 0.03, 0.01, 0.003, 0.001]


def test_coverage_counts_the_intervals_that_hold_the_truth(tmp_path):
    pytest.importorskip("matplotlib", reason="the report's figures need matplotlib")
    from validation import coverage, report

    case = coverage.EXPERIMENTS["a saturation"].plain()
    found = coverage.simulate(case, 8, 1, seed=0)
    assert found.fits == 8 and found.failed == 0 and found.held.max() <= 8
    assert (found.shares()[:, 1] >= found.shares()[:, 0]).all() and found.shares()[:, 1].min() > 0.5
    assert all(difference < 1e-3 for difference in found.differences)
    header, rows = coverage._coverage_table({"a saturation": found})
    assert len(rows) == 2 and all(len(row) == len(header) for row in rows)
    assert "coverage.png" in report.table(header, rows) + coverage.save(
        coverage._figure({"a saturation": found}, 8), tmp_path, "coverage", "shares"
    )


@pytest.mark.parametrize("name", cases_derivatives.PAIRS)
def test_the_derivatives_by_hand_agree_with_central_differences(name):
    pair = cases_derivatives.PAIRS[name]
    x, rows, fun = np.array(pair.x), pair.rows(4), pair.fun.py_func
    found = pair.derivative.py_func(x, *rows)
    moves = 1e-5 * np.eye(x.size)
    differences = np.array([np.subtract(fun(x + h, *rows), fun(x - h, *rows)) / 2e-5 for h in moves])
    value, derivative = found if pair.gradient else (None, found.T)
    np.testing.assert_allclose(derivative, differences, rtol=1e-6, atol=1e-8)
    assert value is None or value == pytest.approx(fun(x, *rows), rel=1e-12)


@pytest.mark.parametrize("way", ["function", "hand", "dual"])
def test_a_case_of_the_derivatives_runs(way):
    assert timing.time_block(cases_derivatives.derivatives("saturation", 3, way), 0.0) > 0


class DualsTakeTwice:
    """Stands for the measuring processes: duals take twice as long with 250 rows, as long with fewer."""

    def contest(self, entries, rounds, seconds):
        slow = 2.0 if dict(entries["dual"].given)["m"] == 250 else 1.0
        return {way: timing.Timing([1e-6 * (slow if way == "dual" else 1.0)] * rounds) for way in entries}


def test_the_section_on_derivatives(tmp_path):
    from validation import derivatives

    section = derivatives.run(DualsTakeTwice(), True, tmp_path)
    assert section.measured["derivative"].value == 2.0 and "250 rows" in section.measured["derivative"].where
    assert len(section.losses) == sum(250 in pair.sizes for pair in cases_derivatives.PAIRS.values())
    assert "| Rosenbrock, n = 8 | loops | gradient | 8 |  |" in section.blocks[1]


def test_every_section_is_run_in_the_same_way():
    pytest.importorskip("matplotlib", reason="the report's figures need matplotlib")
    from validation.__main__ import SECTIONS

    for name in SECTIONS:
        module = importlib.import_module(f"validation.{name}")
        assert list(inspect.signature(module.run).parameters) == ["peers", "quick", "folder"], name


# Where validation/garbow.py and validation/problems.py call a problem by different names.
RENAMED = {"Box 3-dimensional": "Box three-dimensional", "Brown almost linear": "Brown almost-linear"}
TWICE = [(RENAMED.get(name, name), name) for name in problems.PROBLEMS]


@pytest.mark.parametrize(("name", "witness"), TWICE)
def test_compiled_problem_agrees_with_its_numpy_form(name, witness):
    from validation import garbow

    problem, twin = garbow.PROBLEMS[name], problems.PROBLEMS[witness]
    assert problem.start == twin.start
    for x in (np.array(problem.start), np.array(problem.start) + 0.01):
        assert (problem.residuals.py_func(x) ** 2).sum() == pytest.approx(twin.fun(x), rel=1e-12)


def test_the_other_problems_reach_their_published_minima_from_residuals():
    from scipy.optimize import least_squares

    from validation import garbow

    assert len(garbow.PROBLEMS) == 35
    for name in sorted(set(garbow.PROBLEMS) - {name for name, _ in TWICE}):
        problem = garbow.PROBLEMS[name]
        found = least_squares(problem.residuals.py_func, problem.start, x_scale="jac", xtol=1e-14, ftol=1e-14)
        assert problem.reached(2.0 * found.cost) == problem.minima[0], name
    assert problem.reached(1e3) is None


def test_the_published_minima_are_reached_with_few_evaluations():
    pytest.importorskip("matplotlib", reason="the report's figures need matplotlib")
    from validation import more_garbow_hillstrom as section

    found = section.solve("Wood")
    assert found[section.OURS]["minimum"] == 0.0
    assert found[section.RIVAL]["minimum"] is None  # its ftol stops it on a slow stretch
    assert section._cell(found[section.RIVAL]).startswith("7.87")


def test_the_page_holds_its_plots_and_colours_its_verdicts(tmp_path):
    pytest.importorskip("markdown", reason="the page for a browser is rendered by markdown")
    from validation import html_page

    (tmp_path / "one.png").write_bytes(b"picture")
    text = "# nbopt, measured\n\n## A part\n\n| a | b |\n|---|---:|\n| 1 | met |\n\n"
    text += "**missed by 5%** ![x](one.png)\n"
    (tmp_path / "report.md").write_text(text)
    page = html_page.write(tmp_path / "report.md").read_text()
    assert "data:image/png;base64,cGljdHVyZQ==" in page and "one.png" not in page
    assert '<span class="met">met</span>' in page and '<strong class="missed">' in page
    assert '<a href="#a-part">A part</a>' in page and "<title>nbopt, measured</title>" in page


@pytest.mark.parametrize(
    "fitter",
    [
        "nbopt, @njit",
        "nbopt, Python",
        "nbopt.fit, @njit",
        "nbopt.fit, Python",
        "scipy lm",
        "scipy trf, 1e-14",
    ],
)
def test_a_certified_set_is_fitted_and_its_evaluations_are_counted(fitter):
    pytest.importorskip("refnx", reason="NIST's files come with refnx")
    from validation import cases_fitting

    found = cases_fitting.nist_run("Misra1a", 1, fitter)
    assert 6 <= found["parameters"] <= 11 and 4 <= found["errors"] <= 11
    assert found["nfev"] >= 4 and found["seconds"] > 0 and found["message"] == ""
    assert cases_fitting.difficulty("Misra1a") == "lower"


def test_robust_fits_end_where_scipys_end():
    from validation.cases_fitting import robust_run

    ours, theirs = (robust_run("decay", "cauchy", f) for f in ("nbopt, @njit", "scipy trf"))
    assert abs(ours["cost"] / theirs["cost"] - 1.0) < 1e-6
    assert ours["distance"] < 0.2


def test_pulls_of_robust_fits(tmp_path):
    pytest.importorskip("matplotlib", reason="the report's figures need matplotlib")
    from validation import pulls
    from validation.coverage import EXPERIMENTS

    case = EXPERIMENTS["a saturation"].plain()
    found = {(kind, 30, "huber"): [pulls.simulate(case, kind, 30, "huber", 20, 1)] for kind in pulls.NOISES}
    for each in (f[0] for f in found.values()):
        assert each.pulls.shape == (3, 20 - each.failed, 2) and 0.5 < each.spread()[0] < 1.5
        assert 0.8 < each.by_errors <= 1.0 and 0.0 <= each.by_profile <= 1.0
    outliers = found["10 % outliers", 30, "huber"][0].spread()
    assert outliers[1] < outliers[0]  # scipy's scaled errors are wider than the truth
    header, rows = pulls.rows_of(found)
    assert len(rows) == 3 and all(len(row) == len(header) for row in rows)
    pulls.save(pulls._figure(found), tmp_path, "pulls", "spreads")
    assert (tmp_path / "pulls.png").stat().st_size > 5_000
