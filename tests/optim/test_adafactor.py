"""Adafactor beside its witness and torch: every shape and option, numbers of every size, any threads."""

import naive_factored
import numpy as np
import pytest
from roads import assert_equal, numbers, params_of
from test_parameterwise import CASES, gradients, refused, start

from nbopt.kernels import launcher
from nbopt.optim.adafactor import Adafactor
from nbopt.optim.adafactor_passes import CHUNK, NARROW, TILE, WIDEST

# One matrix, many, none; narrow, wide, with a rest in every direction; a row and a column.
SHAPES = [
    (), (1,), (5,), (63,), (64,), (65,), (CHUNK - 1,), (CHUNK,), (CHUNK + 1,), (2 * CHUNK + 77,),
    (1, CHUNK + 1), (CHUNK + 1, 1), (1, 1), (1, 1, 1), (4, 1, 1), (3, 1, 5), (3, 5, 1), (2, 3, 2, 2),
    (4, NARROW - 1), (7, NARROW), (6, NARROW + 1), (2, 2 * NARROW), (3, WIDEST + 2), (35, WIDEST + 1),
    (TILE // 2 + 3, 2), (TILE // 3 + 1, 3), (TILE // 50 + 3, 50), (2, TILE // 50 + 1, 50), (200, 17, 3),
]  # fmt: skip
GRID = [
    {"weight_decay": w, "maximize": x, "d": d} for w in (0.0, 0.1) for x in (False, True) for d in (1.0, 1.5)
] + [
    {"beta2_decay": -0.3}, {"beta2_decay": 0.0, "weight_decay": 0.1}, {"eps": (1e-2, 0.5)},
    {"eps": [0.0, 1e-8], "d": 3.0}, {"lr": 1.0, "d": float("inf")}, {"lr": 0.0, "weight_decay": 0.1},
]  # fmt: skip


def stepped(p, grads, **options):
    opt = Adafactor([p], **options)
    for g in grads:
        opt.step(grads=[g])
    return opt


def test_it_gives_the_values_recorded_from_torch():
    p = np.array([1.0, -2.0, 0.5])
    stepped(p, [np.array([0.1 * t, -0.2, 0.3 * (-1) ** t]) for t in range(1, 9)], lr=0.1)
    np.testing.assert_allclose(p, [0.0262165395174, -1.23745525741, 0.530971319043], rtol=2e-11)


# Recorded from torch 2.13 in float64: p = k/10 - 1, gradients cos(k + t) * (1 + k % 3) for t = 1 to 6.
MATRICES = [
    -0.86485808804395, -0.76906579101974, -0.7390746753418, -0.63476607442227, -0.55502491040114,
    -0.41561208400421, -0.32996549415715, -0.19483096746699, -0.20232015117284, -0.10787422747419,
    -0.016323825670383, 0.10821263828235,
]  # fmt: skip


def test_it_gives_the_values_recorded_from_torch_for_a_stack_of_matrices():
    k = np.arange(12.0).reshape(2, 2, 3)
    p = k / 10 - 1
    grads = [np.cos(k + t) * (1 + k % 3) for t in range(1, 7)]
    stepped(p, grads, lr=0.1, weight_decay=0.2, d=1.25)
    np.testing.assert_allclose(p.reshape(-1), MATRICES, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_every_shape_equals_the_witness_on_any_number_of_threads(shape, dtype, monkeypatch):
    options = {"lr": 0.5, "weight_decay": 0.1}
    p0, grads = np.asarray(start(shape, dtype)), [np.asarray(g) for g in gradients(shape, 3, dtype)]
    grads[1] = np.asarray(grads[1] * dtype(0.1))
    expected = naive_factored.adafactor(
        p0.astype(np.float64), [g.astype(np.float64) for g in grads], **options
    )
    found = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(launcher, "PARALLEL_BYTES", 0 if threads > 1 else 1 << 60)
        monkeypatch.setattr(launcher, "get_num_threads", lambda threads=threads: threads)
        p = p0.copy()
        found.append(numbers(stepped(p, grads, **options)))
        np.testing.assert_allclose(p, expected, rtol=0, atol=1e-13 if dtype == np.float64 else 5e-6)
    assert_equal(found[1], found[0])
    assert_equal(found[2], found[0])


def test_state_is_small_and_has_torchs_shapes():
    opt = Adafactor([start((2, 5, 7)), start((9,)), start((1, 4), np.float32), np.asarray(start(()))])
    opt.step(grads=[np.ones(p.shape, p.dtype) for p in params_of(opt)])
    found = [{k: (v.shape, v.dtype.name) for k, v in opt.state[p].items()} for p in params_of(opt)]
    step = {"step": ((), "int64")}
    assert found == [
        {**step, "row_var": ((2, 5, 1), "float64"), "col_var": ((2, 1, 7), "float64")},
        {**step, "variance": ((9,), "float64")},
        {**step, "row_var": ((1, 1), "float32"), "col_var": ((1, 4), "float32")},
        {**step, "variance": ((), "float64")},
    ]


def test_an_empty_parameter_only_counts():
    opt = Adafactor([np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0)])
    opt.step(grads=[np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0)])
    assert [s["step"] for s in opt.state_dict()["state"].values()] == [1, 1, 1]


def test_eps_none_is_that_of_each_parameters_own_dtype():
    # torch takes the first parameter's for all: the second then moves by 8.4e-5 only.
    p, q = np.ones(1, np.float32), np.ones(1)
    opt = Adafactor([p, q], lr=1e-2)
    opt.step(grads=[np.full(1, 1e-9, np.float32), np.full(1, 1e-9)])
    assert 1 - q[0] == pytest.approx(1e-2) and 1 - p[0] == pytest.approx(8.4e-5, rel=2e-3)


@pytest.mark.parametrize("shape", [(6, 5), (30, 40), (50,), (1, 9), (9, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_steps_do_not_depend_on_the_scale_of_the_gradients(shape, dtype):
    # row * col would overflow in float32 from 1e10 on: the roots are multiplied instead.
    found = []
    for scale in (2.0**-15, 1.0, 2.0**45):
        p = start(shape, dtype)
        stepped(p, [g * dtype(scale) for g in gradients(shape, 4, dtype)], eps=(1e-12, 1e-3), lr=0.1)
        found.append(p)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[1], found[2])


@pytest.mark.parametrize("shape", [(4, 3), (20, 30), (5,), (1, 6), (6, 1), (2, 3, 4)], ids=str)
def test_zero_gradients_leave_only_decay(shape):
    p = start(shape)
    expected = p * (1 - 0.1 * 0.5) * (1 - 0.1 * 0.5)
    stepped(p, [np.zeros(shape)] * 2, lr=0.1, weight_decay=0.5)
    np.testing.assert_allclose(p, expected, rtol=1e-15)


def test_rows_and_columns_that_had_no_gradient_stay():
    p = start((20, 30))
    before = p.copy()
    g = gradients((20, 30), 1)[0]
    g[3], g[:, 7] = 0, 0
    stepped(p, [g, g], lr=0.1)
    still = p == before
    assert still[3].all() and still[:, 7].all() and still.sum() == 49 and np.isfinite(p).all()


def test_an_infinite_rate_makes_the_papers_relative_steps():
    p = np.full(4, 2.0)
    opt = Adafactor([p], lr=float("inf"))
    for t in range(1, 4):
        before = p[0]
        opt.step(grads=[np.ones(4)])
        assert before - p[0] == pytest.approx(max(abs(before), 1e-3) / np.sqrt(t))
    with pytest.raises(ValueError, match=r"lr=inf leaves no room for weight_decay=0\.1"):
        Adafactor([p], lr=float("inf"), weight_decay=0.1)


@pytest.mark.parametrize(
    ("name", "bad", "error", "said"),
    [
        ("beta2_decay", 0.1, ValueError, r"beta2_decay=0.1 must lie in \[-inf, 0\]"),
        ("d", 0.99, ValueError, r"d=0.99 must lie in \[1, inf\]"),
        ("eps", 1e-3, TypeError, "eps=0.001 must be a pair"),
        ("eps", (1e-3,), TypeError, r"eps=\(0.001,\) must be a pair"),
        ("eps", (-1.0, 1e-3), ValueError, r"eps\[0\]=-1.0 must lie"),
        ("eps", (None, -1.0), ValueError, r"eps\[1\]=-1.0 must lie"),
        ("eps", (None, float("nan")), ValueError, r"eps\[1\]=nan must lie"),
        ("eps", (None, None), TypeError, r"eps\[1\]=None must be a number"),
        ("eps", [None, "x"], TypeError, r"eps\[1\]='x' must be a number"),
    ],
)
def test_options_that_make_no_sense_are_refused_everywhere(name, bad, error, said):
    refused(CASES[0], name, bad, error, said)


def test_options_count_from_the_step_that_they_are_edited_before():
    p, q = start(), start()
    opt, twin = Adafactor([p], eps=[None, 1e-3]), Adafactor([q], eps=[None, 1e-3])
    grads = gradients()
    for k, g in enumerate(grads):
        if k == 3:
            opt.param_groups[0]["eps"][1] = 5.0  # in place
            twin = Adafactor([q], eps=(None, 5.0))
            twin.load_state_dict({**opt.state_dict(), "param_groups": twin.state_dict()["param_groups"]})
        opt.step(grads=[g])
        twin.step(grads=[g])
    assert np.array_equal(p, q)


def test_it_goes_down_rosenbrocks_valley():
    w = np.full((3, 4), -1.0)
    opt = Adafactor([w], lr=0.05)

    def closure():
        a, b = w[:-1], w[1:]
        g = np.zeros_like(w)
        g[:-1] += -2 * (1 - a) - 400 * a * (b - a**2)
        g[1:] += 200 * (b - a**2)
        return float(np.sum((1 - a) ** 2 + 100 * (b - a**2) ** 2)), [g]

    losses = [opt.step(closure) for _ in range(300)]
    assert losses[-1] < 0.02 * losses[0]


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: parity was not tested")


class TestTorch:
    """Beside torch 2.13 itself."""

    shapes = ((7,), (3, 4), (2, 3, 5), (), (1, 6), (4, 1))

    def groups(self, params, lr):
        return [{"params": params[:3]}, {"params": params[3:], "lr": lr / 2}]

    def starts(self, dtype=np.float64):
        return [np.asarray(start(s, dtype, k)) for k, s in enumerate(self.shapes)]

    @pytest.mark.parametrize("options", GRID, ids=str)
    def test_a_thousand_steps_follow_torch_with_a_state_dict_midway(self, torch, options):
        options = {"lr": 0.05, **options}
        ours, theirs = self.starts(), [torch.tensor(a, requires_grad=True) for a in self.starts()]
        opt = Adafactor(self.groups(ours, options["lr"]), **options)
        peer = torch.optim.Adafactor(self.groups(theirs, options["lr"]), **options)
        rng = np.random.default_rng(1)
        for k in range(1000):
            if k == 500:
                resumed = Adafactor(self.groups(ours, options["lr"]))
                resumed.load_state_dict(opt.state_dict())
                opt = resumed
            grads = [np.asarray(p + rng.standard_normal(p.shape)) for p in ours]
            grads = [None if (k + i) % 11 == 5 else g for i, g in enumerate(grads)]
            for q, g in zip(theirs, grads, strict=True):
                q.grad = None if g is None else torch.tensor(g)
            opt.step(grads=grads)
            peer.step()
        for p, q in zip(ours, theirs, strict=True):
            q = q.detach().numpy()
            assert np.max(np.abs(p - q) / np.maximum(1, np.abs(q))) < 1e-10

    def test_float32_stays_within_round_off(self, torch):
        p, q = start((40, 30), np.float32), torch.tensor(start((40, 30), np.float32), requires_grad=True)
        opt, peer = Adafactor([p], lr=0.1), torch.optim.Adafactor([q], lr=0.1)
        for g in gradients((40, 30), 50, np.float32):
            q.grad = torch.tensor(g)
            opt.step(grads=[g])
            peer.step()
        np.testing.assert_allclose(p, q.detach(), rtol=0, atol=2e-5)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_not_finite_spreads_as_in_torch(self, torch, bad):
        for shape in self.shapes[:3]:
            grads = gradients(shape, 3)
            grads[1].reshape(-1)[1] = bad
            p, q = start(shape), torch.tensor(start(shape), requires_grad=True)
            opt, peer = Adafactor([p]), torch.optim.Adafactor([q])
            for g in grads:
                q.grad = torch.tensor(g)
                opt.step(grads=[g])
                peer.step()
            np.testing.assert_allclose(p, q.detach(), rtol=1e-12)

    @pytest.mark.parametrize("to_nbopt", [True, False])
    def test_a_run_begun_in_one_library_is_finished_in_the_other(self, torch, to_nbopt):
        first, second = (torch.optim.Adafactor, Adafactor) if to_nbopt else (Adafactor, torch.optim.Adafactor)
        tensors, unbroken = ([torch.tensor(a, requires_grad=True) for a in self.starts()] for _ in range(2))
        opt, peer = first(tensors, lr=0.05), torch.optim.Adafactor(unbroken, lr=0.05)
        rng = np.random.default_rng(3)
        for k in range(60):
            if k == 30:
                finish = second(tensors)
                finish.load_state_dict(opt.state_dict())
                opt = finish
            for p, q in zip(tensors, unbroken, strict=True):
                q.grad = torch.tensor(rng.standard_normal(tuple(p.shape)))
                p.grad = q.grad.clone()
            opt.step()
            peer.step()
        for p, q in zip(tensors, unbroken, strict=True):
            np.testing.assert_allclose(p.detach(), q.detach(), atol=1e-12)
