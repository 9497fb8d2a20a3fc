"""Muon beside its witness and torch: every option, shape and size; what it does to singular values."""

import itertools

import numpy as np
import pytest
from naive_factored import newton_schulz
from roads import params_of
from test_parameterwise import CASES, gradients, refused, start

from nbopt.optim.muon import BLOCK, Muon, mirror, polynomial

MUON = CASES[3]
GRID = [
    dict(zip(("nesterov", "momentum", "weight_decay", "adjust_lr_fn"), chosen, strict=True))
    for chosen in itertools.product(
        (False, True), (0.0, 0.95), (0.0, 0.1), (None, "original", "match_rms_adamw")
    )
] + [
    {"ns_steps": 0}, {"ns_steps": 1}, {"ns_steps": 12, "ns_coefficients": [1.5, -0.5, 0.0]},
    {"eps": 10.0}, {"eps": 0.0, "lr": 0.0},
]  # fmt: skip
SHAPES = [(1, 1), (3, 4), (4, 3), (1, 7), (7, 1), (BLOCK, BLOCK + 1), (2 * BLOCK + 1, 3), (70, 66)]

# Recorded from torch 2.13 with Tensor.bfloat16 made a copy, so that it iterates in float64:
# p = k/10 - 1, gradients cos(k + t) * (1 + k % 3) for t = 1 to 6, lr = 0.1.
OTHERS = {"nesterov": False, "momentum": 0.8, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.3}
GOLDEN = [
    ({}, (3, 4), [
        -0.91606583126202, -0.78802640694258, -0.71614077818178, -0.73226385790727, -0.67162531713467,
        -0.52139448398006, -0.30438196986373, -0.23129147833679, -0.15470293869416, -0.14139184701398,
        -0.063458454816062, -0.0010868044962018]),
    ({}, (4, 3), [
        -0.89663665677971, -0.78141099961343, -0.78086257389408, -0.68731207916516, -0.62233362106697,
        -0.4790260102216, -0.36544954703633, -0.2346238895171, -0.14421154752052, -0.087934048335842,
        -0.037237658446503, 0.015147336956009]),
    (OTHERS, (3, 4), [
        -0.81283366472416, -0.71524058720458, -0.66009398902307, -0.60579924316774, -0.54005032579003,
        -0.43015603587165, -0.30917150887894, -0.21308427505775, -0.15027770733064, -0.10533088639788,
        -0.039794775782187, 0.053702427485563]),
    (OTHERS, (4, 3), [
        -0.81170106799358, -0.72605244010061, -0.6919007609879, -0.59670123270139, -0.5229465135062,
        -0.41316908501439, -0.32749070139491, -0.22765095853472, -0.147638690716, -0.080958524873401,
        -0.020872828719424, 0.042448261173115]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "shape", "expected"), GOLDEN)
def test_it_gives_the_values_recorded_from_torch(options, shape, expected):
    k = np.arange(12.0).reshape(shape)
    p = k / 10 - 1
    opt = Muon([p], lr=0.1, **options)
    for t in range(1, 7):
        opt.step(grads=[np.cos(k + t) * (1 + k % 3)])
    np.testing.assert_allclose(p.reshape(-1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", GRID, ids=str)
def test_every_option_and_shape_equals_the_witness(options):
    options = {"lr": 0.02, **options}
    for shape in SHAPES:
        p0, grads = start(shape), gradients(shape, 12, missing=True)
        p = p0.copy()
        opt = Muon([p], **options)
        for g in grads:
            opt.step(grads=[g])
        np.testing.assert_allclose(p, MUON.witness(p0, grads, **options), rtol=0, atol=1e-11)


@pytest.mark.parametrize("options", GRID, ids=str)
def test_a_thousand_steps_in_two_groups_follow_the_witness(options):
    options, shapes = {"lr": 0.02, **options}, ((4, 6), (5, 3))
    rates = options["lr"], options["lr"] / 2
    grads = [gradients(shape, 1000, seed=k, missing=True) for k, shape in enumerate(shapes)]
    params = [start(shape) for shape in shapes]

    def groups():
        return [{"params": [p], "lr": lr} for p, lr in zip(params, rates, strict=True)]

    opt = Muon(groups(), **options)
    for k, pair in enumerate(zip(*grads, strict=True)):
        if k == 500:
            resumed = Muon(groups())
            resumed.load_state_dict(opt.state_dict())
            opt = resumed
        opt.step(grads=list(pair))
    for p, shape, g, lr in zip(params, shapes, grads, rates, strict=True):
        expected = MUON.witness(start(shape), g, **{**options, "lr": lr})
        assert (np.abs(p - expected) < 1e-10 * np.maximum(1, np.abs(expected))).all()


@pytest.mark.parametrize("shape", [(30, 30), (20, 50), (50, 20)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_all_directions_of_a_gradient_make_steps_of_about_one_size(shape, dtype):
    u, s, vt = np.linalg.svd(start(shape), full_matrices=False)
    g = ((u * np.geomspace(1, 0.02, s.size)) @ vt).astype(dtype)
    p = np.zeros(shape, dtype)
    Muon([p], lr=1.0, weight_decay=0.0).step(grads=[g])
    along = -(u.T @ p @ vt.T) / np.sqrt(max(1, shape[0] / shape[1]))
    assert (np.diag(along) > 0.65).all() and (np.diag(along) < 1.25).all()
    assert np.abs(along - np.diag(np.diag(along))).max() < 1e-4


def test_newtons_iteration_converges_to_the_orthogonal_factor():
    g = start((5, 8))
    u, _, vt = np.linalg.svd(g, full_matrices=False)
    p = np.zeros((5, 8))
    opt = Muon([p], lr=1.0, weight_decay=0.0, ns_steps=40, ns_coefficients=(1.875, -1.25, 0.375))
    opt.step(grads=[g])
    np.testing.assert_allclose(p, -u @ vt, rtol=0, atol=1e-12)


def test_the_buffer_is_the_running_mean_and_is_left_as_it_is():
    # torch normalises it in place with bfloat16 parameters and nesterov=False.
    for nesterov in (False, True):
        opt = Muon([start()], momentum=0.5, nesterov=nesterov)
        for _ in range(2):
            opt.step(grads=[np.full((4, 3), 2.0)])
        np.testing.assert_array_equal(opt.state[params_of(opt)[0]]["momentum_buffer"], 1.5)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-8, 1e8, 1e160, 1e307])
def test_gradients_of_any_finite_size_give_finite_steps_of_the_same_direction(scale):
    p, q, g = np.zeros((4, 3)), np.zeros((4, 3)), start()
    for w, h in ((p, g * scale), (q, g)):
        Muon([w], eps=0.0 if scale > 1e-150 else 1e-7).step(grads=[h])
    if scale > 1e-150:
        np.testing.assert_allclose(p, q, rtol=1e-9)
    else:  # below eps nothing moves to speak of
        assert np.abs(p).max() < 1e-150


def test_zero_gradients_leave_only_decay_and_nan_is_not_hidden():
    p = np.ones((3, 2))
    opt = Muon([p], lr=0.5, weight_decay=0.5)
    opt.step(grads=[np.zeros((3, 2))])
    assert (p == 0.75).all()
    opt.step(grads=[np.full((3, 2), np.nan)])
    assert np.isnan(p).all()


@pytest.mark.parametrize("shape", [(), (3,), (3, 2, 2)], ids=str)
def test_only_matrices_are_taken(shape):
    bad, good = np.ones(shape), np.ones((2, 2))
    said = rf"Muon: parameter 0 has shape \({', '.join(map(str, shape))},?\); Muon takes matrices"
    with pytest.raises(ValueError, match=said):
        Muon([bad])
    opt = Muon([good])
    with pytest.raises(ValueError, match=said):  # torch lets it pass
        opt.add_param_group({"params": [bad]})
    assert len(opt.param_groups) == 1
    params_of(opt)[0].data = bad
    with pytest.raises(ValueError, match=said):
        opt.step()


@pytest.mark.parametrize(
    ("name", "bad", "error", "said"),
    [
        ("ns_steps", 100, ValueError, r"ns_steps=100 must lie in \[0, 100\)"),
        ("ns_steps", -1, ValueError, "ns_steps=-1 must lie"),
        ("ns_steps", 5.5, TypeError, "ns_steps=5.5 must be an integer"),
        ("ns_steps", True, TypeError, "ns_steps=True must be an integer"),
        ("ns_coefficients", (1.0, 2.0), ValueError, r"ns_coefficients=\(1.0, 2.0\) must be three numbers"),
        ("ns_coefficients", 3.0, ValueError, "ns_coefficients=3.0 must be three numbers"),
        ("ns_coefficients", (1.0, 2.0, "x"), TypeError, r"ns_coefficients\[2\]='x' must be a number"),
        ("ns_coefficients", [1.0, np.nan, 0.0], ValueError, r"ns_coefficients\[1\]=nan must lie"),
        ("adjust_lr_fn", "other", ValueError, "adjust_lr_fn='other' must be None, 'original' or"),
        ("adjust_lr_fn", 1, ValueError, "adjust_lr_fn=1 must be None"),
    ],
)
def test_options_that_make_no_sense_are_refused_everywhere(name, bad, error, said):
    refused(MUON, name, bad, error, said)


@pytest.mark.parametrize("n", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_half_of_a_symmetric_product_is_enough(n, dtype):
    a = start((n, n), dtype)
    a += a.T
    half = np.where(np.tri(n, dtype=bool), a, np.nan).astype(dtype)
    mirror(half)
    assert np.array_equal(half, a)
    square = np.where(np.tri(n, dtype=bool), a @ a, np.nan).astype(dtype)
    polynomial(a, square, (2.0, 3.0, -1.5))
    assert np.array_equal(square, square.T)
    expected = 2 * np.eye(n) + 3 * a - 1.5 * a @ a
    np.testing.assert_allclose(square, expected, rtol=0, atol=1e-12 if dtype == np.float64 else 1e-3)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: parity was not tested")


class TestTorch:
    """Beside torch 2.13, in bfloat16 as it is and in float64."""

    def both(self, torch, shape, grads, **options):
        p, q = start(shape), torch.tensor(start(shape), requires_grad=True)
        opt, peer = Muon([p], **options), torch.optim.Muon([q], **options)
        for g in grads:
            q.grad = None if g is None else torch.tensor(g)
            opt.step(grads=[g])
            peer.step()
        return p, q.detach().numpy()

    @pytest.mark.parametrize("options", GRID, ids=str)
    @pytest.mark.parametrize("shape", [(5, 8), (8, 5)], ids=str)
    def test_it_follows_torchs_own_code_run_in_float64(self, torch, monkeypatch, options, shape):
        monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
        p, q = self.both(torch, shape, gradients(shape, 100, missing=True), **{"lr": 0.02, **options})
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("shape", [(5, 8), (8, 5), (20, 20)], ids=str)
    def test_torch_as_it_is_stays_within_the_error_of_bfloat16(self, torch, shape):
        p, q = self.both(torch, shape, gradients(shape, 20), lr=0.02)
        moved = np.abs(p - start(shape)).max()
        assert np.abs(p - q).max() < 0.05 * moved

    @pytest.mark.parametrize("to_nbopt", [True, False])
    def test_a_run_begun_in_one_library_is_finished_in_the_other(self, torch, monkeypatch, to_nbopt):
        monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
        first, second = (torch.optim.Muon, Muon) if to_nbopt else (Muon, torch.optim.Muon)
        p, q = (torch.tensor(start((4, 6)), requires_grad=True) for _ in range(2))
        opt, peer = first([p], lr=0.05), torch.optim.Muon([q], lr=0.05)
        for k, g in enumerate(gradients((4, 6), 40)):
            if k == 20:
                finish = second([p])
                finish.load_state_dict(opt.state_dict())
                opt = finish
            p.grad, q.grad = torch.tensor(g), torch.tensor(g)
            opt.step()
            peer.step()
        np.testing.assert_allclose(p.detach(), q.detach(), atol=1e-11)


def test_the_witness_orthogonalises():
    x = newton_schulz(start((4, 9)), (1.875, -1.25, 0.375), 1e-7, 40)
    np.testing.assert_allclose(x @ x.T, np.eye(4), atol=1e-12)
