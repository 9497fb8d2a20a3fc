"""The search of Moré and Thuente: its published cases, and its word on 10 000 random functions."""

import math

import numpy as np
import pytest
from more_thuente_cases import PUBLISHED

from nbopt.kernels.compile import compiled
from nbopt.linesearch import more_thuente, strong_wolfe
from nbopt.linesearch import search_state as state

SEARCHES = {"more_thuente": more_thuente, "strong_wolfe": strong_wolfe}


CASES = [
    pytest.param(phi, c1, c2, first, n, step, id=f"function{k + 1}-{first:g}")
    for k, (phi, c1, c2, counts, steps) in enumerate(PUBLISHED)
    for first, n, step in zip((1e-3, 1e-1, 1e1, 1e3), counts, steps, strict=True)
]


def drive(
    search, phi, step, c1=1e-4, c2=0.9, *, most=math.inf, least=0.0, limit=100, width=0.0, resolution=0.0
):
    """Run a search on a Python function; return the task, the state and the points asked for."""
    s = np.empty(state.SIZE)
    points = []
    value, slope = phi(0.0)
    task = search.start(s, value, slope, step, c1, c2, least, most, limit, width, resolution)
    while task == state.EVALUATE:
        points.append(float(s[state.STEP]))
        value, slope = phi(points[-1])
        task = search.advance(s, value, slope)
        if s[state.IMPROVED] == 1.0:
            assert (s[state.BEST], s[state.BEST_PHI], s[state.BEST_DPHI]) == (points[-1], value, slope)
    assert s[state.NFEV] == len(points)
    return task, s, points


def is_strong_wolfe(phi, t, c1, c2):
    value0, slope0 = phi(0.0)
    value, slope = phi(t)
    return value <= value0 + c1 * t * slope0 and abs(slope) <= c2 * abs(slope0)


@pytest.mark.parametrize(("phi", "c1", "c2", "first", "count", "step"), CASES)
def test_published_case(phi, c1, c2, first, count, step):
    task, s, points = drive(more_thuente, phi, first, c1, c2, most=4.0 * max(1.0, first))
    assert task == state.CONVERGED
    assert is_strong_wolfe(phi, s[state.STEP], c1, c2)
    assert len(points) == count
    assert s[state.STEP] == pytest.approx(step, rel=1e-9)


def test_published_total():
    counts = [count for *_, counts, _ in PUBLISHED for count in counts]
    assert len(counts) == 24
    assert sum(counts) == 179


@compiled
def wavy(w, t):
    """Return the value and slope of a sum of five waves and a parabola, whose coefficients are in w."""
    value, slope = w[15] * (t - w[16]) ** 2, 2.0 * w[15] * (t - w[16])
    for k in range(5):
        value += w[k] * math.sin(w[5 + k] * t + w[10 + k])
        slope += w[k] * w[5 + k] * math.cos(w[5 + k] * t + w[10 + k])
    return value, slope


def random_waves(n, seed):
    """Return rows of coefficients for `wavy`, each downhill at 0, with random first steps and c2."""
    rng = np.random.default_rng(seed)
    w = np.empty((n, 19))
    w[:, :5] = rng.standard_normal((n, 5))
    w[:, 5:10] = rng.uniform(0.3, 4.0, (n, 5))
    w[:, 10:15] = rng.uniform(0.0, 6.0, (n, 5))
    w[:, 15] = rng.uniform(0.01, 1.0, n)
    w[:, 16] = rng.uniform(-2.0, 2.0, n)
    slope = 2.0 * w[:, 15] * -w[:, 16] + (w[:, :5] * w[:, 5:10] * np.cos(w[:, 10:15])).sum(axis=1)
    uphill = slope > 0.0  # mirror it: t becomes -t
    w[uphill, 5:10] *= -1.0
    w[uphill, 16] *= -1.0
    w[:, 17] = 10.0 ** rng.uniform(-4.0, 3.0, n)
    w[:, 18] = rng.choice([0.9, 0.5, 0.1, 0.01], n)
    return w


def batch_driver(search):
    start, advance = search.start, search.advance

    @compiled(cache=False)
    def run(rows, walls, most, limit, s, out):
        for k in range(rows.shape[0]):
            w = rows[k]
            value, slope = wavy(w, 0.0)
            task = start(s, value, slope, w[17], 1e-4, w[18], 0.0, most, limit, 0.0, 0.0)
            while task == 0:
                t = s[0]
                value, slope = wavy(w, t)
                if t >= walls[k]:
                    value = math.nan
                task = advance(s, value, slope)
            out[k, 0], out[k, 1], out[k, 2] = task, s[0], s[5]

    return run


@pytest.fixture(scope="module", params=["more_thuente", "strong_wolfe"])
def batch(request):
    return batch_driver(SEARCHES[request.param])


def wolfe_rows(rows, steps):
    at_zero = np.array([wavy(w, 0.0) for w in rows])
    there = np.array([wavy(w, float(t)) for w, t in zip(rows, steps, strict=True)])
    enough = there[:, 0] <= at_zero[:, 0] + 1e-4 * steps * at_zero[:, 1] + 1e-12 * np.abs(at_zero[:, 0])
    flat = np.abs(there[:, 1]) <= rows[:, 18] * np.abs(at_zero[:, 1]) * (1 + 1e-9)
    return enough, flat, at_zero, there


def test_random_functions_meet_the_conditions(batch):
    rows = random_waves(10_000, 20260711)
    out = np.empty((len(rows), 3))
    batch(rows, np.full(len(rows), math.inf), math.inf, 60, np.empty(state.SIZE), out)
    enough, flat, _, _ = wolfe_rows(rows, out[:, 1])
    assert np.all(out[:, 0] == state.CONVERGED)  # all these functions rise at infinity
    assert np.all(enough & flat)
    assert out[:, 2].mean() < 8


def test_random_functions_with_few_evaluations_and_a_limited_step(batch):
    rows = random_waves(10_000, 7)
    out = np.empty((len(rows), 3))
    batch(rows, np.full(len(rows), math.inf), 0.5, 4, np.empty(state.SIZE), out)
    enough, flat, at_zero, there = wolfe_rows(rows, out[:, 1])
    task = out[:, 0]
    assert set(task) == {state.CONVERGED, state.MAX_EVALUATIONS, state.AT_MAX_STEP}
    assert np.all((enough & flat)[task == state.CONVERGED])
    assert np.all(out[task == state.MAX_EVALUATIONS, 2] == 4)
    at_most = task == state.AT_MAX_STEP
    assert np.all(out[at_most, 1] == 0.5)
    assert np.all(enough[at_most] & (there[at_most, 1] < 0))
    assert np.all(there[:, 0] <= at_zero[:, 0])  # whatever the end, never uphill
    assert np.all(out[:, 1] <= 0.5)


def test_random_functions_with_a_wall_of_nan(batch):
    rows = random_waves(10_000, 3)
    walls = np.random.default_rng(4).uniform(1e-3, 3.0, len(rows))
    out = np.empty((len(rows), 3))
    batch(rows, walls, math.inf, 60, np.empty(state.SIZE), out)
    enough, flat, at_zero, there = wolfe_rows(rows, out[:, 1])
    met = out[:, 0] == state.CONVERGED
    assert np.all((enough & flat)[met])
    assert np.all(out[:, 1] < walls)
    assert np.all(there[:, 0] <= at_zero[:, 0])
    # Without a Wolfe point before the wall the search ends close to it, and says so.
    assert np.all(np.isin(out[~met, 0], [state.TOO_NARROW, state.MAX_EVALUATIONS]))
    assert np.all(there[~met, 1] < 0)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["value", "slope"])
def test_a_non_finite_point_is_too_far(name, bad, which):
    def phi(t):
        value, slope = (t - 1.0) ** 2, 2.0 * (t - 1.0)
        if t > 1.5:
            return (bad, slope) if which == "value" else (value, bad)
        return value, slope

    task, s, points = drive(SEARCHES[name], phi, 40.0, c2=0.1)
    assert task == state.CONVERGED
    assert is_strong_wolfe(phi, s[state.STEP], 1e-4, 0.1)
    assert len(points) < 15
    assert max(points[1:]) < 40.0


def test_steps_back_from_a_far_overflow_in_few_evaluations():
    def phi(t):
        return (t - 1.0) ** 2 if t < 1e150 else math.inf, 2.0 * (t - 1.0)

    task, s, points = drive(more_thuente, phi, 1e290, c2=0.1)
    assert task == state.CONVERGED
    assert len(points) < 40
    assert is_strong_wolfe(phi, s[state.STEP], 1e-4, 0.1)


@pytest.mark.parametrize("name", SEARCHES)
def test_everything_beyond_zero_is_nan(name):
    task, s, _ = drive(SEARCHES[name], lambda t: (1.0, -1.0) if t == 0.0 else (math.nan, math.nan), 1.0)
    assert task in (state.TOO_NARROW, state.MAX_EVALUATIONS)
    assert s[state.STEP] == 0.0
    assert s[state.BEST_PHI] == 1.0


def test_a_hole_inside_the_bracket():
    def phi(t):  # the quadratic through the ends leads to 1, into the hole
        return math.nan if 0.8 < t < 1.2 else (t - 1.0) ** 2 + 0.1 * (t > 1.0), 2.0 * (t - 1.0)

    task, s, points = drive(more_thuente, phi, 2.0, c2=0.5)
    assert any(0.8 < t < 1.2 for t in points)
    assert task == state.CONVERGED
    assert is_strong_wolfe(phi, s[state.STEP], 1e-4, 0.5)


@pytest.mark.parametrize("name", SEARCHES)
def test_still_falling_at_the_largest_step(name):
    task, s, points = drive(SEARCHES[name], lambda t: (-t, -1.0), 0.3, most=2.0)
    assert task == state.AT_MAX_STEP
    assert s[state.STEP] == 2.0 == points[-1]


@pytest.mark.parametrize("name", SEARCHES)
def test_no_decrease_at_the_smallest_step(name):
    task, s, _ = drive(SEARCHES[name], lambda t: (50.0 * t * t - t, 100.0 * t - 1.0), 1.0, least=0.1)
    assert task == state.AT_MIN_STEP
    assert s[state.STEP] == 0.0


@pytest.mark.parametrize("name", SEARCHES)
def test_no_search_without_a_descent(name):
    for value, slope, task in [
        (1.0, 0.0, state.NOT_DESCENT),
        (1.0, 2.0, state.NOT_DESCENT),
        (math.nan, -1.0, state.BAD_START),
        (1.0, -math.inf, state.BAD_START),
        (1.0, math.nan, state.BAD_START),
    ]:
        got, _, points = drive(SEARCHES[name], lambda t, v=value, d=slope: (v, d), 1.0)
        assert got == task
        assert points == []


def test_width_ends_the_search():
    def phi(t):  # a kink: no point is flat enough
        return abs(t - 0.3), -1.0 if t < 0.3 else 1.0

    task, s, points = drive(more_thuente, phi, 1.0, width=1e-3)
    assert task == state.TOO_NARROW
    assert s[state.STEP] == pytest.approx(0.3, abs=1e-3)
    _, _, more = drive(more_thuente, phi, 1.0, limit=200)
    assert len(more) > len(points)


@pytest.mark.parametrize("name", SEARCHES)
def test_resolution_lets_slopes_decide_where_values_cannot(name):
    # The decrease of 1e-8 drowns in the noise of 6e-5 that float32 values of 1000 have.
    def noisy(phase):
        return lambda t: (1e3 + 1e-8 * (t - 1.0) ** 2 + 6e-5 * math.sin(1e6 * t + phase), 2e-8 * (t - 1.0))

    blind, seeing = [], []
    for phase in range(20):
        blind.append(drive(SEARCHES[name], noisy(phase), 2.4, c2=0.1)[0])
        task, s, points = drive(SEARCHES[name], noisy(phase), 2.4, c2=0.1, resolution=1e-6)
        seeing.append(task)
        assert s[state.STEP] == pytest.approx(1.0, abs=0.1)
        assert len(points) <= 3
    assert set(seeing) == {state.CONVERGED}
    assert blind.count(state.CONVERGED) < 15


@pytest.mark.parametrize("name", SEARCHES)
def test_a_copy_of_the_state_resumes(name):
    search, (w,) = SEARCHES[name], random_waves(1, 11)
    s = np.empty(state.SIZE)
    task = search.start(s, *wavy(w, 0.0), 1e-3, 1e-4, 0.01, 0.0, math.inf, 60, 0.0, 0.0)
    twin, ends = None, []
    for k in range(60):
        if k == 3:
            twin = s.copy()
        if task != state.EVALUATE:
            break
        task = search.advance(s, *wavy(w, float(s[state.STEP])))
    ends.append((task, s.copy()))
    task = state.EVALUATE
    while task == state.EVALUATE:
        task = search.advance(twin, *wavy(w, float(twin[state.STEP])))
    ends.append((task, twin))
    assert ends[0][0] == ends[1][0] == state.CONVERGED
    assert np.array_equal(ends[0][1], ends[1][1])
