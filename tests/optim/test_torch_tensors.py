"""CPU torch tensors as parameters: their own memory, autograd told, checkpoints both ways."""

import copy
import gc
import io
import sys
import weakref

import numpy as np
import pytest

import nbopt
from nbopt.optim import torch_tensors

torch = pytest.importorskip("torch", reason="torch is not installed: tensors were not tested")

G = torch.arange(1.0, 13, dtype=torch.float64).reshape(3, 4)
LAYOUTS = {
    "C": lambda t: t.clone(),
    "transposed": lambda t: t.T.contiguous().T,
    "gaps": lambda t: t.repeat_interleave(2, 1)[:, ::2],
    "rows apart": lambda t: t.repeat_interleave(2, 0)[::2],
}


def leaf(t):
    return t.detach().requires_grad_()


def state_arrays(opt):
    return [np.asarray(v) for p in opt.param_groups[0]["params"] for v in opt.state[p].values()]


def test_a_tensor_is_updated_in_its_own_memory_and_stays_the_users_object():
    w = torch.ones(3, requires_grad=True)
    address = w.data_ptr()
    opt = nbopt.SGD([w], lr=0.5)
    assert opt.param_groups[0]["params"][0] is w
    for _ in range(2):
        opt.zero_grad()
        loss = opt.step(lambda: backward((w**2).sum()))
    assert w.tolist() == [0, 0, 0] and w.data_ptr() == address
    assert torch.is_tensor(loss) and loss.item() == 0


def backward(loss):
    loss.backward()
    return loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_parameter_and_gradient(layout, dtype):
    start = G.to(dtype) * (2 + 1j if dtype.is_complex else 2)
    plain = nbopt.Adam([start.clone().resolve_conj().numpy()], lr=0.5)
    for k in (1, 2, 3):
        plain.step(grads=[torch.cos(k * start).numpy()])
    for other in [*LAYOUTS, "expanded", "conjugate", "negative"]:
        w = leaf(LAYOUTS[layout](start))
        assert w.shape == (3, 4)
        opt = nbopt.Adam([w], lr=0.5)
        for k in (1, 2, 3):
            g = torch.cos(k * start)
            if other == "conjugate":
                w.grad = g.conj().resolve_conj().conj() if dtype.is_complex else g
            elif other == "negative":
                w.grad = torch._neg_view(-g) if not dtype.is_complex else g
            elif other == "expanded":
                w.grad = g
            else:
                w.grad = LAYOUTS[other](g)
            opt.step()
        assert np.array_equal(w.detach().numpy(), plain.param_groups[0]["params"][0].data), other
        for a, b in zip(state_arrays(opt), state_arrays(plain), strict=True):
            assert np.array_equal(a, b)


def test_an_expanded_gradient_counts_for_every_element():
    w = leaf(torch.zeros(2, 3))
    w.grad = torch.ones(()).expand(2, 3)
    assert w.grad.stride() == (0, 0)
    nbopt.SGD([w], lr=1.0).step()
    assert (w == -1).all()


def test_arrays_and_tensors_step_together():
    w, a, v = torch.ones(2, requires_grad=True), np.ones(2), torch.ones(2, dtype=torch.float64)
    opt = nbopt.Adam([w, a, v], lr=0.1)
    for k in range(3):
        g = np.full(2, k + 1.0)
        opt.step(grads=[torch.tensor(g, dtype=torch.float32), g, torch.tensor(g)])
    assert np.array_equal(a, v.numpy()) and np.allclose(a, w.detach().numpy(), rtol=1e-6)


def test_autograd_is_told_of_the_write():
    w = torch.ones(3, requires_grad=True)
    w.grad = torch.ones(3)
    opt, version = nbopt.SGD([w], lr=0.1), w._version
    loss = (w * w).sum()
    opt.step()
    assert w._version > version
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        loss.backward()


def test_a_tensor_without_a_gradient_is_neither_written_nor_reported():
    w, v = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    v.grad = torch.ones(3)
    version = w._version
    opt = nbopt.Adam([w, v])
    opt.step()
    opt.step()
    assert w._version == version and w.tolist() == [1, 1, 1]
    assert list(opt.state) == [v]


def test_the_closure_runs_with_gradients_switched_on():
    w = torch.ones(3, requires_grad=True)
    opt = nbopt.SGD([w], lr=0.5)
    with torch.no_grad():
        opt.step(lambda: backward((w**2).sum()))
    assert w.tolist() == [0, 0, 0]


REFUSED = {
    "half": (lambda: torch.zeros(2, dtype=torch.float16), TypeError, "has dtype float16"),
    "bfloat16": (lambda: torch.zeros(2, dtype=torch.bfloat16), TypeError, "has dtype bfloat16"),
    "integers": (lambda: torch.zeros(2, dtype=torch.int64), TypeError, "has dtype int64"),
    "booleans": (lambda: torch.zeros(2, dtype=torch.bool), TypeError, "has dtype bool"),
    "meta": (lambda: torch.zeros(2, device="meta"), TypeError, "is on device meta"),
    "sparse": (lambda: torch.eye(2).to_sparse(), TypeError, "is sparse"),
    "sparse rows": (lambda: torch.eye(2).to_sparse_csr(), TypeError, "is sparse"),
    "expanded": (lambda: torch.zeros(2).expand(3, 2), ValueError, "is an expanded tensor"),
    "sliding": (lambda: torch.zeros(9).as_strided((3, 3), (1, 1)), ValueError, ".* share memory; clone it"),
    "computed": (lambda: torch.zeros(2, requires_grad=True) * 2, ValueError, "is not a leaf tensor"),
    "conjugate": (lambda: torch.zeros(2, dtype=torch.complex64).conj(), ValueError, "is a lazy conjugate"),
    "negative": (
        lambda: torch.zeros(2, dtype=torch.complex64).conj().imag,
        ValueError,
        "is a lazy conjugate or neg",
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("what", REFUSED)
def test_tensors_that_cannot_be_updated_in_place_are_refused(what):
    make, error, words = REFUSED[what]
    with pytest.raises(error, match=rf"^Adam: params\[0\] {words}"):
        nbopt.Adam([make()])


def test_one_tensor_is_no_list_and_the_same_one_twice_is_refused():
    w = torch.zeros(4, requires_grad=True)
    with pytest.raises(TypeError, match=r"got one Tensor; write \[tensor\] around it"):
        nbopt.Adam(w)
    with pytest.raises(ValueError, match=r"parameter 1 is parameter 0 again"):
        nbopt.Adam([w, w])
    with pytest.raises(ValueError, match=r"parameters 0 and 1 share memory"):
        nbopt.Adam([w, w.detach()[2:]])
    with pytest.raises(ValueError, match=r"parameters 0 and 1 share memory"):
        nbopt.Adam([w, w.detach().numpy()])


def test_a_tensor_that_retains_its_gradient_is_allowed():
    w = torch.zeros(2, requires_grad=True) * 2
    w.retain_grad()
    w.grad = torch.ones(2)
    nbopt.SGD([w], lr=1.0).step()
    assert w.tolist() == [-1, -1]


def test_a_sparse_gradient_is_refused_where_it_makes_no_sense():
    w = torch.zeros(3, 2, requires_grad=True)
    w.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (3, 2), check_invariants=True)
    opt = nbopt.Adam([w])
    with pytest.raises(RuntimeError, match=r"Adam: the gradient of parameter 0 is sparse"):
        opt.step()
    assert (w == 0).all()


def test_gradients_may_be_given_as_tensors_but_not_as_arrays():
    w = torch.zeros(2, requires_grad=True)
    opt = nbopt.SGD([w], lr=1.0)
    opt.step(grads=[torch.ones(2)])
    with pytest.raises(TypeError, match=r"SGD: gradient 0 is ndarray, its parameter a tensor"):
        opt.step(grads=[np.ones(2)])
    assert w.tolist() == [-1, -1]


def test_a_gradient_in_the_parameters_own_memory():
    w = torch.arange(4.0)
    w.requires_grad_()
    w.grad = w.detach()
    nbopt.SGD([w], lr=0.5).step()
    assert w.tolist() == [0, 0.5, 1, 1.5]


@pytest.mark.parametrize("how", ["copied", "part of a larger block", "transposed"])
def test_exchanged_memory_is_noticed(how):
    w, twin = (torch.ones(2, 2, requires_grad=True) for _ in range(2))
    opt, other = nbopt.Adam([w], lr=0.5), nbopt.Adam([twin], lr=0.5)
    for o in (opt, other):
        o.step(grads=[torch.ones(2, 2)])
    old = w.detach()
    kept = old.clone()
    if how == "copied":
        w.data = w.data.clone()
    elif how == "transposed":
        w.data = w.data.T.clone().T
    else:
        w.data = torch.cat([w.data.reshape(-1), torch.zeros(100)])[:4].reshape(2, 2)
    for o in (opt, other):
        o.step(grads=[torch.arange(4.0).reshape(2, 2)])
    assert torch.equal(w, twin)
    assert torch.equal(old, kept), "the old memory was written"


def test_zero_grad_both_ways():
    w = torch.zeros(2, requires_grad=True)
    opt = nbopt.SGD([w], lr=1.0)
    w.grad = g = torch.ones(2)
    opt.zero_grad(set_to_none=False)
    assert w.grad is g and g.tolist() == [0, 0]
    opt.zero_grad()
    assert w.grad is None


def test_a_tensor_learning_rate_changed_in_place():
    lr = torch.tensor(1.0)
    w = torch.zeros(2, requires_grad=True)
    opt = nbopt.SGD([w], lr=lr)
    opt.step(grads=[torch.ones(2)])
    lr.fill_(0.5)
    opt.step()
    assert w.tolist() == [-1.5, -1.5]
    lr.fill_(-1)
    with pytest.raises(ValueError, match=r"SGD: lr=tensor.* must lie in"):
        opt.step()


def model_and(cls, **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    return model, cls(model.parameters(), **options)


def train(model, opt, steps):
    x = torch.linspace(-1, 1, 30).reshape(10, 3)
    for _ in range(steps):
        opt.zero_grad()
        ((model(x) - x.sum(1, keepdim=True)) ** 2).mean().backward()
        opt.step()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


PAIRS = [
    (nbopt.Adam, torch.optim.Adam, {"lr": 0.01}),
    (nbopt.AdamW, torch.optim.AdamW, {"lr": 0.01, "amsgrad": True}),
    (nbopt.SGD, torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    (nbopt.SGD, torch.optim.SGD, {"lr": 0.01}),
]
pairs = pytest.mark.parametrize("ours, theirs, options", PAIRS, ids=lambda x: getattr(x, "__module__", None))


class TestCheckpoints:
    """state_dicts through torch.save, and between torch's optimizers and ours."""

    @pairs
    def test_torch_saves_and_loads_them_with_weights_only(self, ours, theirs, options):
        model, opt = model_and(ours, **options)
        train(model, opt, 3)
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "opt": opt.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        other, second = model_and(ours, lr=1.0)
        other.load_state_dict(saved["model"])
        second.load_state_dict(saved["opt"])
        assert torch.equal(train(model, opt, 3), train(other, second, 3))

    def test_they_hold_tensors_and_plain_numbers(self):
        model, opt = model_and(nbopt.Adam)
        train(model, opt, 2)
        saved = opt.state_dict()
        first = saved["state"][0]
        assert type(first["step"]) is int and torch.is_tensor(first["exp_avg"])
        assert first["exp_avg"].shape == (4, 3) and first["exp_avg"].dtype == torch.float32
        first["exp_avg"].fill_(9)
        p = opt.param_groups[0]["params"][0]
        assert not (opt.state[p]["exp_avg"] == 9).any()

    @pairs
    def test_from_torch_to_nbopt(self, ours, theirs, options):
        model, peer = model_and(theirs, **options)
        train(model, peer, 5)
        twin = copy.deepcopy(model)
        opt = ours(twin.parameters(), lr=1.0)
        opt.load_state_dict(peer.state_dict())
        torch.testing.assert_close(train(twin, opt, 5), train(model, peer, 5), rtol=1e-5, atol=1e-6)

    @pairs
    def test_from_nbopt_to_torch(self, ours, theirs, options):
        model, opt = model_and(ours, **options)
        train(model, opt, 5)
        twin = copy.deepcopy(model)
        peer = theirs(twin.parameters(), lr=1.0)
        peer.load_state_dict(opt.state_dict())
        torch.testing.assert_close(train(twin, peer, 5), train(model, opt, 5), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "theirs", [torch.optim.NAdam, torch.optim.RMSprop, torch.optim.SGD, torch.optim.Adagrad]
    )
    def test_of_another_class_they_are_refused(self, theirs):
        model, peer = model_and(theirs, lr=0.01)
        train(model, peer, 2)
        opt = nbopt.Adam(model.parameters())
        with pytest.raises(ValueError, match=r"^Adam: "):
            opt.load_state_dict(peer.state_dict())
        assert opt.state == {} and opt.param_groups[0]["lr"] == 1e-3

    def test_from_tensors_to_arrays_and_back(self):
        w, a = torch.ones(3, dtype=torch.float64, requires_grad=True), np.ones(3)
        one, two = nbopt.Adam([w], lr=0.1), nbopt.Adam([a], lr=0.1)
        one.step(grads=[torch.arange(3.0, dtype=torch.float64)])
        two.step(grads=[np.arange(3.0)])
        two.load_state_dict(one.state_dict())
        one.load_state_dict(two.state_dict())
        one.step()
        two.step()
        assert np.array_equal(a, w.detach().numpy()) and one.state[w]["step"] == 2


def test_model_and_optimizer_are_copied_together():
    model, opt = model_and(nbopt.Adam, lr=0.01)
    train(model, opt, 2)
    twin, second = copy.deepcopy((model, opt))
    before = torch.cat([p.detach().reshape(-1) for p in twin.parameters()])
    after = train(model, opt, 3)
    assert torch.equal(torch.cat([p.detach().reshape(-1) for p in twin.parameters()]), before)
    assert torch.equal(train(twin, second, 3), after)


def test_named_parameters_of_a_model():
    model, _ = model_and(nbopt.SGD)
    opt = nbopt.Adam(model.named_parameters())
    assert opt.param_groups[0]["param_names"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with pytest.raises(ValueError, match=r"Adam: 0.weight has dtype|Adam: 0.weight is not a leaf"):
        nbopt.Adam([("0.weight", model[0].weight * 2)])


def test_a_dropped_optimizer_frees_what_it_held_at_once():
    w = torch.ones(3, requires_grad=True)
    opt = nbopt.Adam([w])
    opt.step(grads=[torch.ones(3)])
    gone = [weakref.ref(opt), weakref.ref(opt.state[w]["exp_avg"]), weakref.ref(w)]
    gc.disable()
    try:
        del opt, w
        assert [r() for r in gone] == [None] * 3
    finally:
        gc.enable()


def test_where_torch_was_never_imported_nothing_is_a_tensor(monkeypatch):
    w = torch.ones(3)
    assert torch_tensors.is_tensor(w) and not torch_tensors.is_tensor(np.ones(3))
    monkeypatch.delitem(sys.modules, "torch")
    assert not torch_tensors.is_tensor(w)
