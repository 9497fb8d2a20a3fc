"""Sparse gradients: equal to dense ones where that is the meaning, checked, and as cheap as their rows."""

import copy

import naive
import numpy as np
import pytest
import scipy.sparse as sp

import nbopt

N, WIDTH = 40, 6


def row_gradients(steps, seed=0, dtype=np.float64, duplicates=True):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        index = rng.integers(0, N, 7) if duplicates else rng.choice(N, 7, replace=False)
        yield index, rng.standard_normal((7, WIDTH)).astype(dtype)


def as_csr(index, values):
    """The same rows as a scipy.sparse array of stored entries."""
    row = np.repeat(index, WIDTH)
    column = np.tile(np.arange(WIDTH), len(index))
    return sp.coo_array((values.reshape(-1), (row, column)), shape=(N, WIDTH))


def dense(index, values):
    g = np.zeros((N, WIDTH), values.dtype)
    np.add.at(g, index, values)
    return g


@pytest.mark.parametrize("rows", [1, 3, 40, 100_000])  # nearly all equal, many equal, some, none
def test_rows_that_occur_several_times_are_summed(rows):
    rng = np.random.default_rng(rows)
    index = rng.integers(0, rows, 50) if rows < 100 else rng.choice(rows, 50, replace=False)
    values = rng.standard_normal((50, WIDTH))
    p, expected = np.zeros((rows, WIDTH)), np.zeros((rows, WIDTH))
    nbopt.SGD([p], lr=1.0).step(grads=[(index, values)])
    np.add.at(expected, index, -values)
    np.testing.assert_allclose(p, expected, rtol=1e-13, atol=1e-14)


def table(dtype=np.float64):
    return np.random.default_rng(9).standard_normal((N, WIDTH)).astype(dtype)


@pytest.mark.parametrize("form", ["rows", "coo", "csr"])
@pytest.mark.parametrize("maximize", [False, True])
def test_sparse_adam_equals_its_witness(form, maximize):
    p, grads = table(), list(row_gradients(20))
    expected = naive.sparse_adam(p, grads, lr=0.1, maximize=maximize)
    opt = nbopt.SparseAdam([p], lr=0.1, maximize=maximize)
    for index, values in grads:
        g = (index, values) if form == "rows" else as_csr(index, values)
        opt.step(grads=[g.tocsr() if form == "csr" else g])
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-13)


def test_scipy_entries_leave_the_other_entries_alone():
    p = table()
    before = p.copy()
    g = sp.coo_array(([2.0, 3.0], ([1, 1], [4, 4])), shape=(N, WIDTH))
    nbopt.SparseAdam([p], lr=0.1).step(grads=[g])
    assert np.argwhere(p != before).tolist() == [[1, 4]]


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (nbopt.SGD, {"lr": 0.1}),
        (nbopt.SGD, {"lr": 0.1, "momentum": 0.9}),
        (nbopt.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
        (nbopt.SGD, {"lr": 0.1, "momentum": 0.5, "dampening": 0.5}),
        (nbopt.Adagrad, {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ],
)
@pytest.mark.parametrize("form", ["rows", "entries"])
def test_sgd_and_adagrad_do_with_sparse_gradients_what_they_do_with_dense_ones(cls, options, form):
    p, q = table(), table()
    opt, full = cls([p], **options), cls([q], **options)
    for k, (index, values) in enumerate(row_gradients(15)):
        opt.step(grads=[as_csr(index, values) if form == "entries" else (index, values)])
        full.step(grads=[dense(index, values)])
        if k == 7:
            opt = copy.deepcopy(opt)
            p = opt.param_groups[0]["params"][0].data
    np.testing.assert_allclose(p, q, rtol=0, atol=1e-13)


def test_sparse_and_dense_parameters_mix_in_one_group_and_share_no_count():
    p, q, r = table(), np.ones(5), table()
    opt = nbopt.Adagrad([p, q, r], lr=0.1)
    alone = [nbopt.Adagrad([a.copy()], lr=0.1) for a in (p, q, r)]
    for k, (index, values) in enumerate(row_gradients(6)):
        grads = [(index, values), None if k == 2 else np.full(5, 0.5), dense(index, values)]
        opt.step(grads=grads)
        for one, g in zip(alone, grads, strict=True):
            one.step(grads=[g])
    for a, one in zip((p, q, r), alone, strict=True):
        assert a.tobytes() == one.param_groups[0]["params"][0].data.tobytes()


def test_float32_and_rows_of_higher_rank():
    p = np.zeros((5, 2, 3), np.float32)
    opt = nbopt.SparseAdam([p], lr=0.5)
    opt.step(grads=[(np.array([4, 0, 4]), np.ones((3, 2, 3), np.float32))])
    np.testing.assert_allclose(p[[0, 4]], -0.5, rtol=1e-6)
    assert p.dtype == np.float32 and not p[1:4].any()
    vector = np.zeros(6)
    nbopt.SGD([vector], lr=1.0).step(grads=[(np.array([2, 2, 5]), np.array([1.0, 2.0, 4.0]))])
    assert vector.tolist() == [0, 0, -3, 0, 0, -4]


def test_nothing_stored_only_counts_the_step():
    p = table()
    before = p.copy()
    opt = nbopt.SparseAdam([p])
    opt.step(grads=[(np.empty(0, np.int64), np.empty((0, WIDTH)))])
    assert (p == before).all() and opt.state_dict()["state"][0]["step"] == 1


@pytest.mark.parametrize(
    ("g", "error", "said"),
    [
        ((np.array([0, N]), np.ones((2, WIDTH))), ValueError, f"index {N} is outside"),
        ((np.array([-1]), np.ones((1, WIDTH))), ValueError, "index -1 is outside"),
        ((np.array([0.5]), np.ones((1, WIDTH))), TypeError, "integers"),
        ((np.array([0]), np.ones((1, WIDTH + 1))), ValueError, "values have shape"),
        ((np.array([0]), np.ones((1, WIDTH), np.float32)), TypeError, "float32"),
        (sp.coo_array((N, WIDTH + 1)), ValueError, "shape"),
        (np.ones((N, WIDTH)), RuntimeError, "dense"),
    ],
)
def test_bad_sparse_gradients_are_refused_and_nothing_moves(g, error, said):
    p, q = table(), table()
    opt = nbopt.SparseAdam([q, p])
    with pytest.raises(error, match=f"SparseAdam: the gradient of parameter 1.*{said}"):
        opt.step(grads=[(np.array([0]), np.ones((1, WIDTH))), g])
    assert (q == table()).all() and (p == table()).all()


def test_sparse_gradients_where_they_have_no_meaning():
    g = (np.array([0]), np.ones((1, WIDTH)))
    with pytest.raises(RuntimeError, match="sparse"):
        nbopt.Adam([table()]).step(grads=[g])
    with pytest.raises(RuntimeError, match="weight_decay"):
        nbopt.SGD([table()], weight_decay=0.1).step(grads=[g])
    with pytest.raises(ValueError, match="complex"):
        nbopt.SparseAdam([np.zeros(3, np.complex128)])
    for bad in ({"lr": 0.0}, {"eps": 0.0}, {"betas": (0.9, 1.0)}):
        with pytest.raises(ValueError, match=f"SparseAdam: {next(iter(bad))}"):
            nbopt.SparseAdam([table()], **bad)
    with pytest.raises((RuntimeError, ValueError), match="contiguous"):
        nbopt.SGD([table().T]).step(grads=[(np.array([0]), np.ones((1, N)))])


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")  # torch's own
@pytest.mark.parametrize("name", ["SparseAdam", "SGD", "Adagrad"])
def test_an_embedding_of_torch_with_sparse_gradients_follows_torch(name):
    torch = pytest.importorskip("torch", reason="torch is not installed: parity was not tested")
    ours, theirs = torch.nn.Embedding(N, WIDTH, sparse=True), torch.nn.Embedding(N, WIDTH, sparse=True)
    theirs.load_state_dict(ours.state_dict())
    opt = getattr(nbopt, name)(ours.parameters(), lr=0.1)
    peer = getattr(torch.optim, name)(theirs.parameters(), lr=0.1)
    for index, _ in row_gradients(25):
        for net, o in ((ours, opt), (theirs, peer)):
            o.zero_grad()
            (net(torch.tensor(index)) ** 2).sum().backward()
            o.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-6, atol=1e-6)
