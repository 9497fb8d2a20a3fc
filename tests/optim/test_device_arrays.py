"""Optimizers over device arrays, on a stand-in: the CPU's numbers, with states beside the parameters."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from cases import CASES
from cuda_stand_in import DeviceArray, StandIn, on_host

import nbopt
from nbopt.kernels import cuda, cuda_launcher
from nbopt.optim import device_arrays

each_case = pytest.mark.parametrize("case", CASES, ids=str)
SHAPES = [(3,), (4, 5), (), (0,), (2, 3, 4), (cuda_launcher.CHUNK + 1,)]


@pytest.fixture(autouse=True)
def device(monkeypatch):
    found = StandIn()
    monkeypatch.setattr(cuda, "_found", lambda: (found, ""))
    return found


def draw(shape, dtype, seed):
    a = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return np.asfortranarray(a) if seed % 2 and a.ndim > 1 else a  # layouts of both kinds


def draw_all(dtype, seed=0):
    return [draw(shape, dtype, seed + k) for k, shape in enumerate(SHAPES)]


def there(arrays):
    return [None if a is None else DeviceArray(a.copy(order="K")) for a in arrays]


def params_of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def assert_same(host, far):
    """Compare parameters and states bit for bit."""
    for p, q in zip(params_of(host), params_of(far), strict=True):
        assert p.data.tobytes() == q.data.host.tobytes()
        mine, others = host.state.get(p, {}), far.state.get(q, {})
        assert list(mine) == list(others)
        for name, value in mine.items():
            other = others[name]
            assert isinstance(other, DeviceArray) == (name not in {"step", "mu_product", "eta", "mu"})
            found = other.host if isinstance(other, DeviceArray) else other
            assert np.asarray(value).tobytes() == np.asarray(found).tobytes(), name


@each_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_equal_the_cpus_bit_for_bit_whatever_the_layouts(case, dtype, device):
    arrays = draw_all(dtype)
    far_arrays = there(arrays)
    host, far = case.make(arrays), case.make(far_arrays)
    for step in range(6):
        grads = draw_all(dtype, seed=10 * step)
        if step == 3:
            grads[1] = grads[4] = None  # from now on there are two step counts
        if not all(_same_order(g, a) for g, a in zip(grads, arrays, strict=True)):
            grads = [None if g is None else _ordered(g, a) for g, a in zip(grads, arrays, strict=True)]
        before = device.launches
        host.step(grads=grads)
        far.step(grads=there(grads))
        counts = {int(s.get("step", 0)) for p in params_of(far) if p.size and (s := far.state.get(p))}
        assert device.launches - before <= max(1, len(counts))
    assert_same(host, far)
    assert not [entry for entry in device.log if entry[0] == "download"]


def _same_order(g, a):
    return g is None or g.strides == a.strides


def _ordered(g, a):
    made = np.empty_like(a)
    made[...] = g
    return made


def test_a_schedule_costs_no_transfer_and_a_step_one_launch(device):
    p = nbopt.Parameter(DeviceArray(np.ones(10)), grad=DeviceArray(np.ones(10)))
    opt = nbopt.Adam([p], lr=0.1)
    scheduler = nbopt.lr_scheduler.CosineAnnealingLR(opt, T_max=20)
    opt.step()
    device.log.clear()
    for _ in range(10):
        opt.step()
        scheduler.step()
    assert {entry[0] for entry in device.log} == {"launch"} and len(device.log) == 10


def test_host_and_device_groups_share_an_optimizer(device):
    def groups(far):
        arrays = [draw((5,), "float64", 1), draw((6,), "float32", 2), draw((7,), "float64", 3)]
        move = there if far else list
        return [{"params": [arrays[0], *move(arrays[1:2])]}, {"params": move(arrays[2:]), "lr": 0.5}]

    host, far = nbopt.Adam(groups(False), lr=0.1), nbopt.Adam(groups(True), lr=0.1)
    for step in range(3):
        grads = [draw((5,), "float64", step), draw((6,), "float32", step), draw((7,), "float64", step)]
        host.step(grads=grads)
        far.step(grads=[grads[0], *there(grads[1:])])
    for p, q in zip(params_of(host), params_of(far), strict=True):
        data = getattr(q.data, "host", q.data)
        assert p.data.tobytes() == data.tobytes()
    assert device.launches == 6  # two tables of device arrays, three steps


@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_a_state_dict_lies_on_the_host_and_goes_both_ways(case):
    arrays = [draw((4, 3), "float32", 1), draw((2050,), "float32", 2)]
    far_arrays = there(arrays)
    host, far = case.make(arrays), case.make(far_arrays)
    grads = [draw((4, 3), "float32", 3), draw((2050,), "float32", 4)]
    host.step(grads=grads)
    far.step(grads=there(grads))
    saved = far.state_dict()
    for entry in saved["state"].values():
        assert not any(isinstance(v, DeviceArray) for v in entry.values())
    other = case.make(there([a.host for a in far_arrays]))
    other.load_state_dict(host.state_dict())
    host.load_state_dict(saved)
    host.step(grads=grads)
    other.step(grads=there(grads))
    assert_same(host, other)


def test_a_checkpoint_takes_device_arrays(tmp_path):
    p = nbopt.Parameter(DeviceArray(np.asfortranarray(np.arange(6.0).reshape(2, 3))))
    opt = nbopt.Adam([p], lr=0.1)
    opt.step(grads=[DeviceArray(np.asfortranarray(np.ones((2, 3))))])
    nbopt.save(tmp_path / "run.ckpt", p=p, optimizer=opt)
    found = nbopt.load(tmp_path / "run.ckpt")
    assert np.array_equal(found["p"], p.data.host)
    opt.load_state_dict(found["optimizer"])


def test_moving_a_parameter_to_the_device_takes_its_state_along_and_back():
    w, g = np.ones(5), np.arange(5.0)
    p, q = nbopt.Parameter(w), nbopt.Parameter(w.copy())
    opt, twin = nbopt.Adam([p], lr=0.1), nbopt.Adam([q], lr=0.1)
    opt.step(grads=[g])
    twin.step(grads=[g])
    p.data = DeviceArray(p.data)
    opt.step(grads=[DeviceArray(g)])
    twin.step(grads=[g])
    assert isinstance(opt.state[p]["exp_avg"], DeviceArray)
    p.data = p.data.host
    opt.step(grads=[g])
    twin.step(grads=[g])
    assert p.data.tobytes() == q.data.tobytes() and isinstance(opt.state[p]["exp_avg"], np.ndarray)


def test_complex_parameters_are_pairs_of_reals_there_too():
    w, g = np.ones((2, 3), complex) * (1 + 2j), np.full((2, 3), 3 - 1j)
    host, far = nbopt.Adagrad([w], initial_accumulator_value=0.1), nbopt.Adagrad(
        [DeviceArray(w.copy())], initial_accumulator_value=0.1
    )  # fmt: skip
    for _ in range(3):
        host.step(grads=[g])
        far.step(grads=[DeviceArray(g)])
    assert_same(host, far)
    assert far.state_dict()["state"][0]["sum"].dtype == complex


def test_adagrad_starts_its_sums_on_the_device_and_asgd_brings_averages_home():
    opt = nbopt.Adagrad([DeviceArray(np.ones(3))], initial_accumulator_value=0.5)
    found = opt.state[params_of(opt)[0]]["sum"]
    assert isinstance(found, DeviceArray) and (found.host == 0.5).all()
    opt = nbopt.ASGD([DeviceArray(np.ones(3))], lr=0.1, t0=0)
    opt.step(grads=[DeviceArray(np.ones(3))])
    assert isinstance(opt.averages()[0], np.ndarray)


def test_gradients_may_be_the_parameters_themselves_read_only_or_missing():
    w = np.arange(1.0, 4)
    p = nbopt.Parameter(DeviceArray(w.copy()))
    opt = nbopt.SGD([p], lr=0.5)
    p.grad = p.data
    opt.step()
    assert np.array_equal(p.data.host, w / 2)
    opt.step(grads=[DeviceArray(np.ones(3), read_only=True)])
    assert np.array_equal(p.data.host, w / 2 - 0.5)
    opt.step(grads=[None])
    opt.step(grads=DeviceArray(np.ones(3)))  # one alone
    assert np.array_equal(p.data.host, w / 2 - 1)
    p.grad = DeviceArray(np.ones(3))
    opt.zero_grad(set_to_none=False)
    assert not p.grad.host.any()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: nbopt.LBFGS(p),
        lambda p: nbopt.Muon(p),
        lambda p: nbopt.Adafactor(p),
        lambda p: nbopt.SparseAdam(p),
    ],
    ids=["LBFGS", "Muon", "Adafactor", "SparseAdam"],
)
def test_what_does_not_work_on_a_device_says_what_does(make):
    with pytest.raises(TypeError, match=r"params\[0\] is a device array; .* does not work .* Adam, AdamW"):
        make([DeviceArray(np.ones((2, 2)))])


def test_a_parameter_that_moves_under_such_an_optimizer_is_refused_too():
    for make in (nbopt.Muon, nbopt.LBFGS):
        p = nbopt.Parameter(np.ones((2, 2)), grad=np.ones((2, 2)))
        opt = make([p])
        p.data = DeviceArray(p.data)
        with pytest.raises(TypeError, match=r"CUDA array|device array"):
            opt.step(lambda: 1.0)


BAD_GRADIENTS = {
    "host": (lambda: np.ones((2, 3)), TypeError, "in host memory, its parameter on a device"),
    "sparse": (lambda: (np.array([0]), np.ones((1, 3))), RuntimeError, "sparse; on a device gradients must"),
    "shape": (lambda: DeviceArray(np.ones((3, 2))), ValueError, r"has shape \(3, 2\), its parameter"),
    "dtype": (lambda: DeviceArray(np.ones((2, 3), np.float32)), TypeError, "another dtype"),
    "layout": (lambda: DeviceArray(np.asfortranarray(np.ones((2, 3)))), ValueError, "pass a copy"),
    "gaps": (lambda: DeviceArray(np.ones((2, 6))[:, ::2]), ValueError, "pass a copy"),
}


@pytest.mark.parametrize("name", BAD_GRADIENTS)
def test_gradients_that_cannot_be_used_are_refused_before_anything_changes(name, device):
    make, error, message = BAD_GRADIENTS[name]
    first = nbopt.Parameter(np.ones(2), grad=np.ones(2))
    second = nbopt.Parameter(DeviceArray(np.ones((2, 3))))
    opt = nbopt.SGD([first, second], lr=0.1)
    second.grad = make()
    with pytest.raises(error, match=message):
        opt.step()
    assert (first.data == 1).all() and (second.data.host == 1).all() and device.launches == 0


def test_a_device_gradient_of_a_host_parameter_is_refused():
    opt = nbopt.SGD([np.ones(3)], lr=0.1)
    with pytest.raises(TypeError, match="on a device, its parameter in host memory"):
        opt.step(grads=[DeviceArray(np.ones(3))])


def test_gradients_on_another_device_or_in_another_parameter_are_refused(device):
    device.several = True
    block = np.ones(8)
    p, q = nbopt.Parameter(DeviceArray(block[:4])), nbopt.Parameter(DeviceArray(block[4:]))
    opt = nbopt.SGD([p, q], lr=0.1)
    p.grad, q.grad = q.data, DeviceArray(np.ones(4))
    with pytest.raises(ValueError, match="in the memory of another parameter"):
        opt.step()
    p.grad = DeviceArray(np.ones(4))
    p.grad.device = SimpleNamespace(id=1)
    with pytest.raises(ValueError, match="is on device 1, its parameter on device 0"):
        opt.step()


def test_parameters_that_share_memory_on_the_device_are_refused():
    block = np.ones(8)
    with pytest.raises(ValueError, match="parameters 1 and 2 share memory"):
        nbopt.SGD([np.ones(2), DeviceArray(block[:5]), DeviceArray(block[4:])], lr=0.1)
    a = DeviceArray(block)
    with pytest.raises(ValueError, match="share memory"):
        nbopt.SGD([a, a], lr=0.1)
    with pytest.raises(TypeError, match="must be an iterable of parameters"):
        nbopt.SGD(DeviceArray(block), lr=0.1)
    assert len(params_of(nbopt.SGD([{"params": DeviceArray(block)}], lr=0.1))) == 1


def test_parameters_on_two_devices_are_launched_apart(device):
    device.several = True
    arrays = there([np.ones(3), np.ones(3)])
    arrays[1].device = SimpleNamespace(id=1)
    grads = there([np.ones(3), np.ones(3)])
    grads[1].device = SimpleNamespace(id=1)
    nbopt.SGD(arrays, lr=0.5).step(grads=grads)
    assert device.launches == 2 and all((a.host == 0.5).all() for a in arrays)


def test_a_state_of_the_users_is_kept_if_it_fits_and_copied_if_not():
    p = nbopt.Parameter(DeviceArray(np.ones((2, 3))))
    opt = nbopt.SGD([p], lr=0.1, momentum=0.5)
    mine = DeviceArray(np.ones((2, 3)))
    for buffer, kept in ((mine, True), (np.ones((2, 3)), False), (DeviceArray(np.ones((2, 3), "f4")), False)):
        opt.state[p] = {"momentum_buffer": buffer}
        opt.step(grads=[DeviceArray(np.ones((2, 3)))])
        assert (opt.state[p]["momentum_buffer"] is buffer) == kept
    opt.state[p] = {"momentum_buffer": np.ones(5)}
    with pytest.raises(ValueError, match=r"its momentum_buffer has \(5,\)"):
        opt.step(grads=[DeviceArray(np.ones((2, 3)))])


class FakeCupy(SimpleNamespace):
    """What is used of CuPy, over the stand-in's arrays."""

    class ndarray(DeviceArray):
        def __setitem__(self, key, value):
            self.host[key] = value.host

    def empty_like(self, a):
        return self.ndarray(np.empty_like(a.host), a.stream)

    def full_like(self, a, value):
        return self.ndarray(np.full_like(a.host, value), a.stream)

    def asarray(self, a):
        return self.ndarray(np.asarray(a))


def test_cupy_allocates_the_states_of_its_arrays_and_copies_gradients_of_other_layouts(monkeypatch):
    cupy = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    w, g = draw((3, 4), "float64", 2), draw((3, 4), "float64", 3)
    assert not w.flags.f_contiguous and g.flags.f_contiguous
    host, far = nbopt.Rprop([w], lr=0.1), nbopt.Rprop([cupy.ndarray(w.copy())], lr=0.1)
    for gradient in (g, np.repeat(g, 2, axis=1)[:, ::2], np.ascontiguousarray(g)):
        host.step(grads=[gradient])
        far.step(grads=[cupy.ndarray(gradient)])
    assert_same(host, far)
    state = far.state[params_of(far)[0]]
    assert all(isinstance(state[name], cupy.ndarray) for name in ("prev", "step_size"))
    far.load_state_dict(far.state_dict())
    assert isinstance(far.state[params_of(far)[0]]["prev"], cupy.ndarray)
    host.step(grads=[g])
    far.step(grads=[cupy.ndarray(g)])
    assert_same(host, far)


def cuda_tensors(monkeypatch):
    """Return a class of torch tensors that say that they lie on a device."""
    torch = pytest.importorskip("torch", reason="CUDA tensors are torch's")

    class Far(torch.Tensor):
        device = property(lambda self: torch.device("cuda", 0))

        def data_ptr(self):
            return torch.Tensor.data_ptr(self.as_subclass(torch.Tensor)) + (1 << 60)

        def cpu(self):
            return self.as_subclass(torch.Tensor).clone()

    stream = SimpleNamespace(cuda_stream=11)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return torch, Far, stream


def test_cuda_tensors_are_stepped_in_torchs_stream_with_states_of_torchs(monkeypatch, device):
    torch, far_class, stream = cuda_tensors(monkeypatch)
    near = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4).clone())
    far = torch.linspace(-1, 1, 12).reshape(3, 4).clone().as_subclass(far_class).requires_grad_()
    host, there_too = nbopt.AdamW([near], lr=0.1), nbopt.AdamW([far], lr=0.1)
    for k in range(4):
        near.grad = torch.full((3, 4), 0.5 + k)
        far.grad = torch.full((3, 4), 0.5 + k).as_subclass(far_class)
        if k == 2:  # one that lies otherwise
            near.grad = near.grad.T.contiguous().T
            far.grad = torch.full((4, 3), 0.5 + k).T.as_subclass(far_class)
        if k == 3:
            stream.cuda_stream = 12
        version = far._version
        host.step()
        there_too.step()
        assert far._version > version
    assert near.detach().numpy().tobytes() == far.cpu().detach().numpy().tobytes()
    assert isinstance(there_too.state[far]["exp_avg"], far_class)
    assert [entry[2] for entry in device.log if entry[0] == "launch"] == [11, 11, 11, 12]
    assert not [entry for entry in device.log if entry[0] == "wait"]
    saved = there_too.state_dict()
    assert type(saved["state"][0]["exp_avg"]) is torch.Tensor
    there_too.load_state_dict(host.state_dict())
    assert isinstance(there_too.state[far]["exp_avg"], far_class)


def test_cuda_tensors_that_cannot_be_stepped_are_refused(monkeypatch):
    torch, far_class, _ = cuda_tensors(monkeypatch)
    half = torch.ones(3, dtype=torch.bfloat16).as_subclass(far_class)
    with pytest.raises(TypeError, match=r"params\[0\] has dtype bfloat16"):
        nbopt.Adam([half])
    with pytest.raises(TypeError, match="LBFGS does not work on a device"):
        nbopt.LBFGS([torch.ones(3).as_subclass(far_class)])


def test_a_users_own_loop_runs_there_too():
    class Own(nbopt.ElementwiseOptimizer):
        counted = False

        def algorithm(self, group):
            return sign_descent, ()

        def numbers(self, group, t):
            return (group["lr"],)

    a = DeviceArray(np.array([1.0, -2.0]))
    Own([a], {"lr": 0.1}).step(grads=[DeviceArray(np.array([3.0, -4.0]))])
    np.testing.assert_allclose(a.host, [0.9, -1.9])


def sign_descent(p, g, state, h):
    lr = p.dtype.type(h[0])
    for i in range(p.size):
        p[i] -= math.copysign(lr, g[i])


def test_no_device_array_is_taken_for_another_thing():
    assert not device_arrays.on_device(np.ones(2)) and not device_arrays.on_device(None)
    assert not device_arrays.on_device(SimpleNamespace(__cuda_array_interface__=None))
    assert device_arrays.on_device(nbopt.Parameter(DeviceArray(np.ones(2))))
    assert on_host(0, 0, "float32").size == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping_is_done_on_the_device(dtype):
    grads = [draw((3, 4), dtype, 1), draw((cuda_launcher.CHUNK + 5,), dtype, 2)]
    near = [nbopt.Parameter(np.zeros_like(g), grad=g.copy(order="K")) for g in grads]
    far = [nbopt.Parameter(DeviceArray(np.zeros_like(g)), grad=DeviceArray(g.copy(order="K"))) for g in grads]
    far.append(nbopt.Parameter(DeviceArray(np.ones(2))))
    norm = nbopt.clip_grad_norm_(near, 0.5)
    np.testing.assert_allclose(nbopt.clip_grad_norm_([*far, far[0]], 0.5), norm, rtol=1e-13)
    for p, q in zip(near, far[:2], strict=True):
        np.testing.assert_allclose(q.grad.host, p.grad, rtol=1e-6 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(nbopt.get_total_norm([p.grad for p in far[:2]]), 0.5, rtol=2e-6)
    np.testing.assert_allclose(nbopt.get_total_norm(far[0].grad), np.linalg.norm(near[0].grad), rtol=1e-6)
    nbopt.clip_grad_value_(far, 1e-3)
    assert max(np.abs(p.grad.host).max() for p in far[:2]) <= np.dtype(dtype).type(1e-3)


def test_clipping_refuses_what_it_cannot_do_there():
    p, q = (nbopt.Parameter(DeviceArray(np.zeros(3)), grad=DeviceArray(np.full(3, np.inf))) for _ in range(2))
    with pytest.raises(RuntimeError, match="that of parameter 0 is not finite"):
        nbopt.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    with pytest.raises(TypeError, match="parameter 1 is in host memory, others on a device"):
        nbopt.clip_grad_norm_([p, nbopt.Parameter(np.zeros(3), grad=np.ones(3))], 1.0)
    q.grad = p.grad
    with pytest.raises(ValueError, match="share memory"):
        nbopt.clip_grad_norm_([p, q], 1.0)
    p.grad = DeviceArray(np.ones(3, complex))
    with pytest.raises(TypeError, match="complex"):
        nbopt.clip_grad_value_([p], 1.0)
