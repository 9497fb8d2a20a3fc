"""Laws of the optimizers that step one parameter as a whole: Adafactor and Muon."""

import copy
import inspect
import pickle
from typing import Any, NamedTuple

import naive_factored
import numpy as np
import pytest
from fresh_process import run_python
from numba.core import event
from roads import FOR_PARAMETERS, LAYOUTS, assert_equal, numbers, params_of

import nbopt
from nbopt import Parameter
from nbopt.kernels import launcher
from nbopt.optim.adafactor import Adafactor
from nbopt.optim.muon import Muon
from nbopt.optim.parameterwise import ParameterwiseOptimizer


class Case(NamedTuple):
    """An optimizer with options."""

    cls: type
    options: dict[str, Any]
    witness: Any

    def __str__(self):
        return "-".join([self.cls.__name__, *(f"{k}={v}" for k, v in self.options.items())])

    def make(self, params):
        return self.cls(params, **self.options)


CASES = [
    Case(Adafactor, {"lr": 0.1}, naive_factored.adafactor),
    Case(Adafactor, {"lr": 0.05, "weight_decay": 0.1, "d": 2.0, "maximize": True}, naive_factored.adafactor),
    Case(Adafactor, {"beta2_decay": -0.5, "eps": (1e-3, 0.1), "lr": 0.5}, naive_factored.adafactor),
    Case(Muon, {"lr": 0.02}, naive_factored.muon),
    Case(Muon, {"lr": 0.02, "nesterov": False, "momentum": 0.5, "adjust_lr_fn": "match_rms_adamw"},
         naive_factored.muon),
    Case(Muon, {"lr": 0.02, "weight_decay": 0.0, "ns_steps": 3, "ns_coefficients": [2.0, -1.5, 0.5]},
         naive_factored.muon),
]  # fmt: skip

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_class = pytest.mark.parametrize("case", [CASES[0], CASES[3]], ids=["Adafactor", "Muon"])
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def start(shape=(4, 3), dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gradients(shape=(4, 3), steps=6, dtype=np.float64, seed=1, missing=False):
    rng = np.random.default_rng(seed)
    grads = [rng.standard_normal(shape).astype(dtype) for _ in range(steps)]
    return [None if missing and k % 5 == 3 else g for k, g in enumerate(grads)]


def run(case, p, grads):
    opt = case.make([p])
    for g in grads:
        opt.step(grads=[g])
    return opt


@each_case
@each_dtype
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (1, 6), (6, 1), (1, 1), (20, 20)], ids=str)
def test_it_equals_the_numpy_witness_with_gradients_missing_in_between(case, dtype, shape):
    p0, grads = start(shape, dtype), gradients(shape, 40, dtype, missing=True)
    p = p0.copy()
    run(case, p, grads)
    expected = case.witness(p0, grads, **case.options)
    assert p.dtype == expected.dtype == dtype
    np.testing.assert_allclose(p, expected, rtol=0, atol=(1e-12 if dtype == np.float64 else 1e-4))
    assert not np.allclose(p, p0)


@each_case
def test_parameters_and_gradients_of_every_layout_count_element_by_element(case):
    p0, grads = start(), gradients()
    plain = numbers(run(case, p0.copy(), grads))
    for layout in FOR_PARAMETERS:
        for other in LAYOUTS:
            given = [LAYOUTS[other](g.copy()) for g in grads]
            opt = run(case, LAYOUTS[layout](p0.copy()), given)
            assert_equal(numbers(opt), plain)
            assert all(np.array_equal(a, g) for a, g in zip(given, grads, strict=True))


@each_case
def test_gaps_between_the_elements_of_a_parameter_stay_as_they_are(case):
    base = start((12, 10))
    whole = base.copy()
    cut = np.s_[::2, 1:9:3]
    run(case, whole[cut], gradients((6, 3)))
    touched = np.zeros(base.shape, bool)
    touched[cut] = True
    assert (whole[~touched] == base[~touched]).all() and (whole[touched] != base[touched]).all()


@each_class
def test_a_gradient_that_shares_the_parameters_memory_is_read_before_it_changes(case):
    p, q = start(), start()
    opt, twin = case.make([p]), case.make([q])
    for _ in range(3):
        opt.step(grads=[p])
        twin.step(grads=[q.copy()])
    assert np.array_equal(p, q)


@each_case
def test_many_parameters_in_groups_equal_each_on_its_own(case):
    shapes = [(3, 2), (4, 5), (1, 1), (2, 3), (0, 3)]
    together = [start(s, np.float32 if k == 1 else np.float64, k) for k, s in enumerate(shapes)]
    alone = copy.deepcopy(together)
    grads = [gradients(p.shape, 6, p.dtype, k, missing=k == 2) for k, p in enumerate(together)]
    opt = case.cls([{"params": together[:2]}, {"params": together[2:], "lr": 0.3}], **case.options)
    for step in zip(*grads, strict=True):
        opt.step(grads=list(step))
    for k, (p, q, g) in enumerate(zip(together, alone, grads, strict=True)):
        changed = {**case.options, "lr": 0.3} if k >= 2 else case.options
        run(case._replace(options=changed), q, g)
        assert p.tobytes() == q.tobytes()


@each_case
@each_dtype
@pytest.mark.parametrize("way", ["state_dict", "deepcopy", "pickle"])
def test_state_round_trips_and_the_run_goes_on_bit_for_bit(case, dtype, way):
    grads = gradients((5, 7), 12, dtype, missing=True)
    opt = run(case, start((5, 7), dtype), grads[:6])
    if way == "state_dict":
        other = case.cls([params_of(opt)[0].data.copy()])
        other.load_state_dict(opt.state_dict())
    else:
        other = copy.deepcopy(opt) if way == "deepcopy" else pickle.loads(pickle.dumps(opt))
    before = numbers(other)
    for g in grads[6:]:
        opt.step(grads=[g])
    assert_equal(numbers(other), before)  # stepping the original did not move the copy
    for g in grads[6:]:
        other.step(grads=[g])
    assert_equal(numbers(other), numbers(opt))


@each_case
def test_the_second_step_compiles_nothing(case):
    opt = run(case, start((9, 4)), gradients((9, 4), 1))
    with event.install_recorder("numba:compile") as recorder:
        opt.step()
        opt.step(grads=[np.ones((9, 4))])
        run(case, start((70, 3)), gradients((70, 3), 2))
    assert recorder.buffer == []


SCRIPT = """
    import sys, numpy as np
    from nbopt.optim.adafactor import Adafactor
    from nbopt.optim.muon import Muon
    rng = np.random.default_rng(0)
    for cls, shape in ((Adafactor, (2, 7, 18)), (Adafactor, (9, 3)), (Adafactor, (70,)), (Adafactor, (1, 70)),
                       (Adafactor, (70, 1)), (Muon, (5, 70))):
        for dtype in (np.float32, np.float64):
            p = rng.standard_normal(shape).astype(dtype)
            opt = cls([p], lr=0.1)
            for _ in range(2):
                opt.step(grads=[rng.standard_normal(shape).astype(dtype)])
            print(p.tobytes().hex())
"""


def test_python_and_machine_code_give_the_same_bits():
    assert run_python(SCRIPT, NUMBA_DISABLE_JIT="1") == run_python(SCRIPT, NUMBA_DISABLE_JIT="0")


def bad_gradients():
    sparse = (np.array([0]), np.ones((1, 3)))
    return {
        "sparse": (sparse, RuntimeError, "is sparse"),
        "shape": (np.ones((3, 4)), ValueError, r"has shape \(3, 4\), its parameter \(4, 3\)"),
        "dtype": (np.ones((4, 3), np.float32), TypeError, "has dtype float32, its parameter float64"),
        "complex": (np.ones((4, 3), complex), TypeError, "has dtype complex128"),
        "list": ([[1.0] * 3] * 4, TypeError, "is list"),
        "masked": (np.ma.ones((4, 3)), TypeError, "is MaskedArray"),
    }


@each_class
@pytest.mark.parametrize("kind", bad_gradients())
def test_a_bad_gradient_is_refused_before_any_parameter_of_any_group_moves(case, kind):
    g, error, said = bad_gradients()[kind]
    opt = case.cls([{"params": [start()]}, {"params": [start(), start()]}])
    for p in params_of(opt):
        p.grad = np.ones((4, 3))
    opt.step()
    before = numbers(opt)
    params_of(opt)[2].grad = g
    with pytest.raises(error, match=f"{case.cls.__name__}: the gradient of parameter 1 {said}"):
        opt.step()
    assert_equal(numbers(opt), before)
    params_of(opt)[2].grad = None
    opt.step()
    assert not np.array_equal(params_of(opt)[1].data, before[len(before) // 3])


@each_class
def test_a_bad_first_gradient_leaves_no_state(case):
    opt = case.make([start(), start()])
    params_of(opt)[0].grad, params_of(opt)[1].grad = np.ones((4, 3)), np.ones(3)
    with pytest.raises(ValueError, match="has shape"):
        opt.step()
    assert opt.state == {}


@each_class
def test_complex_parameters_are_refused(case):
    with pytest.raises(RuntimeError, match=f"{case.cls.__name__}: parameter 1 is complex"):
        case.make([start(), start().astype(complex)])
    opt = case.make([start()])
    opt.step(grads=[np.ones((4, 3))])
    params_of(opt)[0].data = np.ones((4, 3), complex)
    with pytest.raises(RuntimeError, match="is complex"):
        opt.step()


@each_class
def test_edited_lists_of_parameters_are_seen(case):
    opt = case.make([start()])
    opt.step(grads=[np.ones((4, 3))])
    extra = Parameter(start(seed=5), grad=np.ones((4, 3)))
    params = opt.param_groups[0]["params"]
    params.append(extra)
    before = extra.data.copy()
    opt.step()
    assert not np.array_equal(extra.data, before)
    params.append(params[0])
    with pytest.raises(ValueError, match="parameter 2 is parameter 0 again"):
        opt.step()
    params[2] = Parameter(extra.data[1:], grad=np.ones((3, 3)))
    with pytest.raises(ValueError, match="parameters 1 and 2 share memory"):
        opt.step()
    params[2] = start()
    with pytest.raises(TypeError, match="parameter 2 of a group is ndarray"):
        opt.step()


@each_class
def test_an_array_put_in_a_parameters_place_is_stepped_from_then_on(case):
    p, q = start(), start(seed=9)
    opt, twin = run(case, p, gradients()), run(case, start(), gradients())
    params_of(opt)[0].data = q
    params_of(twin)[0].data[...] = q
    for o in (opt, twin):
        o.step(grads=[np.ones((4, 3))])
    assert np.array_equal(q, params_of(twin)[0].data)
    params_of(opt)[0].data = start((3, 3))
    params_of(opt)[0].grad = np.ones((3, 3))
    with pytest.raises(ValueError, match=r"parameter 0 has shape \(3, 3\), but its .* has"):
        opt.step()
    params_of(opt)[0].data = q
    q.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        opt.step()


@each_class
def test_state_that_a_user_put_in_is_used_or_refused(case):
    grads = gradients()
    opt = run(case, start(), grads)
    p = params_of(opt)[0]
    twin = copy.deepcopy(opt)
    q = params_of(twin)[0]
    for name, value in list(opt.state[p].items()):
        opt.state[p][name] = int(value) if name == "step" else np.asfortranarray(value.astype(np.float32))
        twin.state[q][name][...] = opt.state[p][name]
    opt.state[p]["mine"] = "kept"
    for o in (opt, twin):
        o.step(grads=[grads[0]])
    assert opt.state[p].pop("mine") == "kept"
    assert_equal(numbers(opt), numbers(twin))
    name = list(opt.state[p])[-1]
    good = opt.state[p][name]
    for bad, error in ((np.ones(7), ValueError), (np.full(good.shape, object()), TypeError)):
        opt.state[p][name] = bad
        with pytest.raises(error, match=name):
            opt.step()
    opt.state[p][name] = good
    opt.step()
    opt.state = {}
    opt.step()
    assert list(opt.state[p]) == list(twin.state[q])


@each_class
def test_rates_may_be_arrays_of_one_element_that_change_in_place(case):
    lr = np.array([0.5])
    opt, twin = (case.cls([start()], lr=rate, weight_decay=0.1) for rate in (lr, 0.5))
    for rate in (0.5, 0.25):
        lr[0] = twin.param_groups[0]["lr"] = rate
        for o in (opt, twin):
            o.step(grads=[np.ones((4, 3))])
        assert np.array_equal(params_of(opt)[0].data, params_of(twin)[0].data)
    lr[0] = -1
    with pytest.raises(ValueError, match=r"lr=.* must lie in"):
        opt.step()


def refused(case, name, bad, error, said):
    """Check that a value is refused by constructor, group, edit and load, and that nothing changes."""
    said = rf"{case.cls.__name__}: {said}"
    with pytest.raises(error, match=said):
        case.cls([start()], **{**case.options, name: bad})
    with pytest.raises(error, match=said):
        case.cls([{"params": [start()], name: bad}], **case.options)
    opt = run(case, start(), gradients(steps=2))
    good, before = opt.param_groups[0][name], numbers(opt)
    saved = opt.state_dict()
    saved["param_groups"][0][name] = bad
    with pytest.raises(error, match=said):
        opt.load_state_dict(saved)
    for _ in range(2):
        opt.param_groups[0][name] = bad
        with pytest.raises(error, match=said):
            opt.step(grads=[np.ones((4, 3))])
    assert_equal(numbers(opt), before)
    opt.param_groups[0][name] = good
    opt.step(grads=[np.ones((4, 3))])
    assert not np.array_equal(numbers(opt)[0], before[0])


@each_class
@pytest.mark.parametrize("bad", [-1.0, float("nan"), "much", None])
def test_options_out_of_range_are_refused_everywhere_and_nothing_changes(case, bad):
    for name in case.cls.ranges:
        if name != "beta2_decay" or bad != -1.0:
            error = ValueError if isinstance(bad, float) else TypeError
            refused(case, name, bad, error, f"{name}=")


@each_class
def test_what_is_loaded_must_fit(case):
    opt = run(case, start(), gradients())
    before = numbers(opt)
    for name in opt.state_dict()["state"][0]:
        saved = opt.state_dict()
        saved["state"][0]["mine"] = saved["state"][0].pop(name)
        with pytest.raises(ValueError, match=f"parameter 0 has the state .*; expected .*{name}"):
            opt.load_state_dict(saved)
        saved = opt.state_dict()
        saved["state"][0][name] = -1 if name == "step" else np.ones((2, 2))
        with pytest.raises(ValueError, match=f"{case.cls.__name__}: parameter 0: {name}"):
            opt.load_state_dict(saved)
    assert_equal(numbers(opt), before)
    assert opt.state_names(opt.param_groups[0]) == set(opt.state[params_of(opt)[0]])


@each_case
def test_a_closure_may_return_loss_and_gradients(case):
    p, q = start(), start()
    opt, twin = case.make([p]), case.make([q])
    for g in gradients():
        assert opt.step(lambda g=g: (3.5, [g])) == 3.5
        twin.step(grads=[g])
    assert np.array_equal(p, q)


@each_case
def test_results_do_not_depend_on_what_else_uses_the_work_memory(case):
    p, q = start((5, 4)), start((5, 4))
    opt = case.make([p, start((30, 20), seed=2), start((2, 3), np.float32)])
    alone = case.make([q])
    for g in gradients((5, 4)):
        opt.step(grads=[g, np.ones((30, 20)), np.ones((2, 3), np.float32)])
        alone.step(grads=[g])
    assert np.array_equal(p, q)


class TestOfYourOwn:
    """A user's update in Python."""

    class Normalised(ParameterwiseOptimizer):
        def __init__(self, params, lr=0.5):
            super().__init__(params, {"lr": lr})

        def state_shapes(self, shape):
            return {"last": shape}

        def update(self, group, t, p, g, last):
            assert p.flags.c_contiguous and g.flags.c_contiguous
            last[...] = t * g
            p -= group["lr"] * g / np.linalg.norm(g)

    def test_it_steps_counts_and_keeps_state(self):
        w = np.zeros((2, 2), order="F")
        opt = self.Normalised([w])
        for _ in range(2):
            opt.step(grads=[np.array([[3.0, 0.0], [0.0, 4.0]])])
        np.testing.assert_allclose(w, [[-0.6, 0], [0, -0.8]])
        state = opt.state[params_of(opt)[0]]
        assert list(state) == ["step", "last"] and state["step"] == 2 and state["last"][1, 1] == 8

    def test_an_update_must_be_given(self):
        opt = ParameterwiseOptimizer([np.zeros(2)], {})
        with pytest.raises(NotImplementedError, match="state_shapes"):
            opt.step(grads=[np.ones(2)])

        class Half(ParameterwiseOptimizer):
            def state_shapes(self, shape):
                return {}

        with pytest.raises(NotImplementedError, match="Half does not define update"):
            Half([np.zeros(2)], {}).step(grads=[np.ones(2)])


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: tensors were not tested")


class TestTorch:
    """CPU tensors as parameters."""

    @each_class
    def test_they_are_stepped_in_their_own_memory(self, torch, case):
        a = start()
        for turned in (False, True):
            tensor = torch.tensor(a.T.copy() if turned else a)
            tensor = (tensor.T if turned else tensor).requires_grad_()
            memory, version = tensor.data_ptr(), tensor._version
            opt, twin = case.make([tensor]), case.make([a.copy()])
            for g in gradients():
                tensor.grad = torch.tensor(g)
                opt.step()
                twin.step(grads=[g])
            assert tensor.data_ptr() == memory and tensor._version > version
            assert np.array_equal(tensor.detach().numpy(), params_of(twin)[0].data)
            saved = opt.state_dict()["state"][0]
            assert all(torch.is_tensor(v) for k, v in saved.items() if k != "step")
            other = case.make([tensor.detach().clone().requires_grad_()])
            other.load_state_dict(opt.state_dict())
            params_of(other)[0].grad = tensor.grad
            for o in (opt, other):
                o.step()
            assert torch.equal(params_of(other)[0], tensor)

    @each_class
    def test_a_sparse_gradient_and_a_complex_tensor_are_refused(self, torch, case):
        tensor = torch.ones(4, 3, requires_grad=True)
        opt = case.make([tensor])
        tensor.grad = torch.ones(4, 3).to_sparse()
        with pytest.raises(RuntimeError, match="gradient of parameter 0 is sparse"):
            opt.step()
        assert torch.equal(tensor, torch.ones(4, 3))
        with pytest.raises(RuntimeError, match="is complex"):
            case.make([torch.ones(4, 3, dtype=torch.complex64, requires_grad=True)])

    @each_class
    def test_a_stale_backward_is_caught(self, torch, case):
        w = torch.ones(4, 3, requires_grad=True)
        opt = case.make([w])
        loss = (w**2).sum()
        w.grad = torch.ones(4, 3)
        opt.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    @pytest.mark.parametrize("cls", [Adafactor, Muon])
    def test_signature_defaults_group_keys_and_state_keys_are_torchs(self, torch, cls):
        peer_class = getattr(torch.optim, cls.__name__)
        mine, his = (inspect.signature(c).parameters for c in (cls, peer_class))
        assert [(k, p.default, p.kind) for k, p in mine.items()] == [
            (k, p.default, p.kind) for k, p in his.items()
        ]
        q = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
        q.grad = torch.ones(3, 2, dtype=torch.float64)
        opt, peer = cls([np.ones((3, 2))]), peer_class([q])
        opt.step(grads=[np.ones((3, 2))])
        peer.step()
        assert set(opt.param_groups[0]) == set(peer.param_groups[0])
        own, torchs = opt.state_dict()["state"][0], peer.state_dict()["state"][0]
        assert {k: np.shape(v) for k, v in own.items()} == {k: tuple(v.shape) for k, v in torchs.items()}
        assert list(own) == list(torchs)


def test_set_num_threads_is_obeyed(monkeypatch):
    monkeypatch.setattr(launcher, "PARALLEL_BYTES", 0)
    monkeypatch.setattr(launcher, "get_num_threads", lambda: 1)
    monkeypatch.setattr(launcher, "on_all_threads", None)  # calling it would be an error
    p = start((100, 400))
    before = p.copy()
    Adafactor([p]).step(grads=[np.ones((100, 400))])
    assert not np.array_equal(p, before)
    assert nbopt.get_num_threads() >= 1
