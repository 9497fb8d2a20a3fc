"""Laws that every element-wise optimizer obeys; the rows stand in tests/cases.py."""

import copy
import pickle

import numpy as np
import pytest
from cases import CASES
from numba.core import config as numba_config
from numba.core import event

import nbopt
from nbopt.kernels import launcher

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
SIZES = [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000]


def start(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gradients(shape, steps, dtype=np.float64, seed=1, missing=False):
    rng = np.random.default_rng(seed)
    grads = [rng.standard_normal(shape).astype(dtype) for _ in range(steps)]
    return [None if missing and k % 5 == 3 else g for k, g in enumerate(grads)]


def run(case, p, grads):
    """Step through the gradients and return the optimizer."""
    opt = case.make([p])
    for g in grads:
        opt.step(grads=[g])
    return opt


def bits(opt):
    """Return every number that an optimizer holds, as bytes."""
    found = []
    for group in opt.param_groups:
        for p in group["params"]:
            found.append(p.data.tobytes())
            found += [np.asarray(v).tobytes() for v in opt.state.get(p, {}).values()]
    return found


@each_case
@each_dtype
def test_it_equals_the_numpy_witness_with_gradients_missing_in_between(case, dtype):
    p0, grads = start((13,), dtype), gradients((13,), 60, dtype, missing=True)
    p = p0.copy()
    run(case, p, grads)
    expected = case.witness(p0, grads, **case.options)
    assert p.dtype == expected.dtype == dtype
    np.testing.assert_allclose(p, expected, rtol=0, atol=(1e-12 if dtype == np.float64 else 2e-4))
    assert not np.allclose(p, p0)


@pytest.mark.parametrize("case", [c for c in CASES if c.golden], ids=str)
def test_it_gives_the_values_recorded_from_torch(case):
    p = np.array([1.0, -2.0, 0.5])
    run(case, p, [np.array([0.1 * t, -0.2, 0.3 * (-1) ** t]) for t in range(1, 9)])
    np.testing.assert_allclose(p, case.golden, rtol=2e-11)


@each_case
@each_dtype
def test_python_serial_and_parallel_builds_agree_bit_for_bit(case, dtype, monkeypatch):
    grads = gradients((1031,), 7, dtype)
    results = {}
    for road in ("quick", "serial", "parallel", "python"):
        with monkeypatch.context() as patch:
            if road != "quick":
                patch.setattr(launcher, "QUICK_BYTES", -1)
            patch.setattr(launcher, "PARALLEL_BYTES", 0 if road == "parallel" else 1 << 60)
            if road == "python":
                patch.setattr(numba_config, "DISABLE_JIT", 1)
            results[road] = bits(run(case, start((1031,), dtype), grads))
    assert results["quick"] == results["serial"] == results["parallel"] == results["python"]


@each_case
@each_dtype
def test_elements_do_not_depend_on_the_size_of_their_array(case, dtype):
    whole, grads = start((1000,), dtype), gradients((1000,), 5, dtype)
    first = whole.copy()
    run(case, whole, grads)
    for n in SIZES:
        part = first[:n].copy()
        run(case, part, [g[:n].copy() for g in grads])
        assert part.tobytes() == whole[:n].tobytes(), n


@each_case
def test_many_arrays_in_one_launch_equal_each_on_its_own(case):
    shapes = [(3,), (4, 5), (), (0,), (1,), (2, 3, 4), (65,)]
    together = [start(s, seed=k) for k, s in enumerate(shapes)]
    alone = copy.deepcopy(together)
    grads = [gradients(s, 6, seed=k, missing=k % 2 == 1) for k, s in enumerate(shapes)]
    opt = case.make(together)
    for step in zip(*grads, strict=True):
        opt.step(grads=list(step))
    for p, q, g in zip(together, alone, grads, strict=True):
        run(case, q, g)
        assert p.tobytes() == q.tobytes()


@each_case
@each_dtype
def test_everything_keeps_the_parameters_dtype_and_shape(case, dtype):
    p = start((4, 3), dtype)
    opt = run(case, p, gradients((4, 3), 2, dtype))
    for name, value in opt.state[opt.param_groups[0]["params"][0]].items():
        if name == "step":
            assert value.dtype == np.int64 and value == 2
        elif name in opt.scalars:
            assert value.dtype == np.float64 and value.shape == ()
        else:
            assert value.dtype == dtype and value.shape == p.shape


@each_case
def test_the_second_step_compiles_nothing(case):
    p = start((9,))
    opt = run(case, p, gradients((9,), 1))
    with event.install_recorder("numba:compile") as recorder:
        opt.step()
        opt.step(grads=[np.ones(9)])
        run(case, start((70, 3)), gradients((70, 3), 3))
    assert recorder.buffer == []


@each_case
@pytest.mark.parametrize("way", ["state_dict", "deepcopy", "pickle"])
def test_state_round_trips_and_the_run_goes_on_bit_for_bit(case, way):
    grads = gradients((11,), 12, missing=True)
    p = start((11,))
    opt = case.make([p])
    for g in grads[:6]:
        opt.step(grads=[g])
    if way == "state_dict":
        other = case.make([p.copy()])
        other.load_state_dict(opt.state_dict())
    else:
        other = copy.deepcopy(opt) if way == "deepcopy" else pickle.loads(pickle.dumps(opt))
    before = bits(other)
    for g in grads[6:]:
        opt.step(grads=[g])
    assert bits(other) == before, "stepping the original moved the copy"
    for g in grads[6:]:
        other.step(grads=[g])
    assert bits(other) == bits(opt)


@each_case
def test_groups_are_independent(case):
    p, q = start((5,)), start((6,), seed=3)
    alone = p.copy(), q.copy()
    opt = case.cls([{"params": [p]}, {"params": [q], "lr": 0.02}], **case.options)
    gp, gq = gradients((5,), 6), gradients((6,), 6, seed=4)
    for g in zip(gp, gq, strict=True):
        opt.step(grads=list(g))
    run(case, alone[0], gp)
    run(case._replace(options={**case.options, "lr": 0.02}), alone[1], gq)
    assert p.tobytes() == alone[0].tobytes() and q.tobytes() == alone[1].tobytes()


@each_case
def test_maximize_mirrors_the_gradients(case):
    p, q = start((8,)), start((8,))
    grads = gradients((8,), 6)
    run(case, p, grads)
    turned = not case.options.get("maximize", False)
    run(case._replace(options={**case.options, "maximize": turned}), q, [-g for g in grads])
    assert p.tobytes() == q.tobytes()


@each_case
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_a_complex_parameter_is_a_pair_of_reals(case, dtype):
    real = np.float64 if dtype == np.complex128 else np.float32
    pairs, grads = start((6, 2), real), gradients((6, 2), 5, real)
    z = pairs.copy().view(dtype)[:, 0].copy()
    run(case, pairs, grads)
    opt = run(case, z, [g.view(dtype)[:, 0] for g in grads])
    assert z.tobytes() == pairs.tobytes()
    for name, value in opt.state[opt.param_groups[0]["params"][0]].items():
        if name != "step" and name not in opt.scalars:
            assert value.dtype == dtype and value.shape == z.shape


@each_case
@each_dtype
def test_strided_parameters_and_gradients_equal_contiguous_ones(case, dtype):
    base, grads = start((12, 10), dtype), gradients((12, 10), 4, dtype)
    for cut in (np.s_[::2, 1:9:3], np.s_[::-1], np.s_[:, 4]):
        whole = base.copy()
        view = whole[cut]
        line = np.ascontiguousarray(view).copy()
        run(case, view, [g[cut] for g in grads])
        run(case, line, [np.ascontiguousarray(g[cut]) for g in grads])
        assert np.ascontiguousarray(view).tobytes() == line.tobytes()
        untouched = np.ones(base.shape, bool)
        untouched[cut] = False
        assert (whole[untouched] == base[untouched]).all()
    p = np.asfortranarray(base)
    run(case, p, grads)
    q = base.copy()
    run(case, q, [np.asfortranarray(g) for g in grads])
    assert (p == q).all()


@each_case
def test_options_out_of_range_are_refused_everywhere_and_nothing_changes(case):
    for name, allowed in case.cls.ranges.items():
        good = case.make([np.zeros(2)]).param_groups[0][name]
        for bad in (-1.0, float("nan"), "much"):
            bad = (bad, good[1]) if allowed.pair else bad
            if allowed.low == -np.inf and bad == -1.0:
                continue
            said = rf"{case.cls.__name__}: {name}="
            with pytest.raises((ValueError, TypeError), match=said):
                case.cls([np.zeros(2)], **{**case.options, name: bad})
            with pytest.raises((ValueError, TypeError), match=said):
                case.cls([{"params": [np.zeros(2)], name: bad}], **case.options)
            p = start((4,))
            opt = run(case, p, gradients((4,), 2))
            before = bits(opt)
            opt.param_groups[0][name] = bad
            with pytest.raises((ValueError, TypeError), match=said):
                opt.step(grads=[np.ones(4)])
            assert bits(opt) == before
            opt.param_groups[0][name] = good
            opt.step(grads=[np.ones(4)])
            assert bits(opt) != before


# Rprop's rate is only its first step size, ASGD's takes effect one step late, decay mixes with AdamW's.
STEPPED = [c for c in CASES if c.cls not in (nbopt.Rprop, nbopt.ASGD, nbopt.AdamW)]
STEPPED = [c for c in STEPPED if "decoupled_weight_decay" not in c.options]


@pytest.mark.parametrize("case", STEPPED, ids=str)
def test_an_edited_rate_counts_from_the_next_step(case):
    p, grads = start((5,)), gradients((5,), 3)
    opt = run(case, p, grads)
    twin = copy.deepcopy(opt)
    opt.param_groups[0]["lr"] *= 2
    was = p.copy()
    opt.step(grads=[grads[0]])
    twin.step(grads=[grads[0]])
    moved = twin.param_groups[0]["params"][0].data - was
    np.testing.assert_allclose(p - was, 2 * moved, rtol=1e-9)


def test_an_option_that_adds_state_can_be_switched_on_midway():
    p = start((5,))
    opt = run(CASES[4], p, gradients((5,), 3))
    opt.param_groups[0]["amsgrad"] = True
    opt.step(grads=[np.ones(5)])
    assert "max_exp_avg_sq" in opt.state[opt.param_groups[0]["params"][0]]
    q = start((5,))
    sgd = nbopt.SGD([q], lr=0.1)
    sgd.step(grads=[np.ones(5)])
    sgd.param_groups[0]["momentum"] = 0.9
    sgd.step(grads=[2 * np.ones(5)])
    np.testing.assert_array_equal(sgd.state[sgd.param_groups[0]["params"][0]]["momentum_buffer"], 2.0)
