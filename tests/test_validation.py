"""The harness of validation/: its pure pieces, on tiny cases; nothing here is timed against a limit."""

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

from validation import budgets, peers, problems, quiet, rosenbrock, serve, timing  # noqa: E402


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
