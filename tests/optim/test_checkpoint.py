"""Checkpoints: what goes in comes out bit for bit; damage, faults and kills are survived or named."""

import hashlib
import json
import math
import os
import random
import signal
import sys
import tracemalloc
from collections import Counter, OrderedDict, namedtuple

import numpy as np
import pytest

import nbopt
from nbopt.optim import checkpoint
from nbopt.optim.checkpoint import load, save


def same(a, b):
    """Tell whether two states are equal in every type, every key's order and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return same([*a], [*b]) and same([*a.values()], [*b.values()])
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float | complex):
        return np.array(a).tobytes() == np.array(b).tobytes()
    return a == b


def there_and_back(file, /, **sections):
    save(file, **sections)
    return load(file)


NUMBERS = [np.dtype(c) for c in sorted({np.dtype(c).str for c in np.typecodes["All"] if c not in "OSUVMm"})]

STATE = {
    "nothing": None,
    "flags": [True, False],
    "integers": [0, -1, 2**63 - 1, -(2**63), 2**63, 10**5000, -(10**30)],
    "floats": [0.1, -0.0, 5e-324, math.inf, -math.inf, math.nan, np.nextafter(1, 2).item()],
    "complex": [1 + 2j, complex(-0.0, math.nan)],
    "texts": ["", "é\n\0", "\ud800", '"{}"'],
    "bytes": b"\x00\xff",
    "empty": [[], (), {}],
    "betas": (0.9, (0.999, [1, (2,)])),
    "keys": {0: "a", "0": "b", -5: "c", 2**70: "d", "": "e"},
    "like nodes": {"array": 0, "tuple": [1], "dict": {"float": "00"}},
    "scalars": [
        np.float32(0.1),
        np.int8(-3),
        np.bool_(True),
        np.complex64(1j),
        np.float64("nan"),
        np.str_("ä"),
    ],
    "date": np.datetime64("2020-01-01T00:00:01"),
    "0-d": np.array(2.5),
    "no elements": np.empty((0, 3), np.int16),
    "dates": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "names": np.array(["a", "bcd"]),
}


def test_nested_state_comes_back_in_every_bit(tmp_path):
    given = {"state": STATE, "path": 1, "self": 2}
    assert same(there_and_back(tmp_path / "a", **given), given)


def test_any_nested_state_comes_back(tmp_path):
    hypothesis = pytest.importorskip("hypothesis", reason="draws nested states")
    from hypothesis import strategies as st

    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), st.binary(),
        st.lists(st.floats(width=32), max_size=5).map(np.float32),
    )  # fmt: skip
    keys = st.one_of(st.text(), st.integers())
    states = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=12,
    )

    @hypothesis.given(states)
    @hypothesis.settings(deadline=None, max_examples=150)
    def check(state):
        assert same(there_and_back(tmp_path / "a", state=state), {"state": state})

    check()


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("order", "=><")
def test_arrays_of_every_numeric_dtype(dtype, order, tmp_path):
    a = np.random.default_rng(0).integers(0, 2, (2, 3, 4)).astype(dtype.newbyteorder(order))
    found = there_and_back(tmp_path / "a", a=a, zero=a[0, 0, 0], d=a[0, 0, :1].reshape(()))
    assert same(found, {"a": a, "zero": a[0, 0, 0], "d": a[0, 0, :1].reshape(())})
    assert found["a"].flags.writeable


X = np.random.default_rng(1).standard_normal((6, 5, 4))
WIDE = np.broadcast_to(X[0, 0], (3, 4))


@pytest.mark.parametrize("chunk", [8, 100, 1 << 20])
@pytest.mark.parametrize(
    "a",
    [
        X,
        X.T,
        X.transpose(1, 0, 2),
        X[:, ::2],
        X[::-1, :, 1:2],
        X[2],
        X[..., 0],
        X[:1],
        np.broadcast_to(X[0, 0], (3, 4)),
    ],
    ids=lambda a: f"{a.shape}{a.strides}",
)
def test_layouts_whatever_the_size_of_a_piece(a, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_CHUNK", chunk)
    found = there_and_back(tmp_path / "a", a=a)["a"]
    assert same(found, a)
    if a.flags.c_contiguous or a.flags.f_contiguous or a.size == X.size:
        assert found.strides == a.strides  # products with it go the same way, to the last bit


def test_subclasses_come_back_plain(tmp_path):
    point = namedtuple("point", "x y")
    given = {
        "ordered": OrderedDict(b=1, a=2),
        "counter": Counter([5, 5]),
        "named": point(1, 2),
        "buffer": bytearray(b"ab"),
        "signal": signal.SIGINT,
        "map": np.memmap(tmp_path / "m", np.float64, "w+", shape=(2,)),
        "parameter": nbopt.Parameter(np.arange(3.0)),
    }
    expected = {
        "ordered": {"b": 1, "a": 2},
        "counter": {5: 2},
        "named": (1, 2),
        "buffer": b"ab",
        "signal": 2,
        "map": np.zeros(2),
        "parameter": np.arange(3.0),
    }
    assert same(there_and_back(tmp_path / "a", **given), expected)


def test_random_states(tmp_path):
    generators = [
        np.random.Generator(bits(3)) for bits in (np.random.PCG64, np.random.MT19937, np.random.Philox)
    ]
    random.seed(1)
    found = there_and_back(
        tmp_path / "a", numpy=[g.bit_generator.state for g in generators], python=random.getstate()
    )
    expected = [g.random() for g in generators], random.random()
    random.setstate(found["python"])
    for g, state in zip(generators, found["numpy"], strict=True):
        g.bit_generator.state = state
    assert ([g.random() for g in generators], random.random()) == expected


def test_whatever_has_a_state_dict_stands_for_it(tmp_path):
    from nbopt.lr_scheduler import StepLR

    p = np.ones(3)
    opt = nbopt.Adam([p], lr=0.1)
    scheduler = StepLR(opt, 5)
    for _ in range(3):
        opt.step(grads=[p])
        scheduler.step()
    found = there_and_back(tmp_path / "a", optimizer=opt, nested={"list": [scheduler]})
    assert same(found, {"optimizer": opt.state_dict(), "nested": {"list": [dict(scheduler.state_dict())]}})
    assert [*found["optimizer"]["state"]] == [0]
    assert type(found["optimizer"]["param_groups"][0]["betas"]) is tuple


OPTIMIZERS = [
    nbopt.ASGD, nbopt.SGD, nbopt.Adadelta, nbopt.Adagrad, nbopt.Adam, nbopt.AdamW, nbopt.Adamax,
    nbopt.NAdam, nbopt.RAdam, nbopt.RMSprop, nbopt.Rprop,
]  # fmt: skip


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
def test_every_optimizer_goes_on_bit_for_bit(cls, tmp_path):
    p, rng = np.ones(5), np.random.default_rng(0)
    opt = cls([p], lr=0.1)
    for _ in range(3):
        opt.step(grads=[rng.standard_normal(5)])
    save(tmp_path / "a", p=p, opt=opt, rng=rng.bit_generator.state)
    for _ in range(3):
        opt.step(grads=[rng.standard_normal(5)])
    found = load(tmp_path / "a")
    again = cls([found["p"]], lr=0.7)
    again.load_state_dict(found["opt"])
    rng.bit_generator.state = found["rng"]
    for _ in range(3):
        again.step(grads=[rng.standard_normal(5)])
    assert same(again.param_groups[0]["params"][0].data, p)
    assert same(again.state_dict(), opt.state_dict())


def test_torch_tensors(tmp_path):
    torch = pytest.importorskip("torch", reason="saves torch tensors")
    torch.manual_seed(0)
    x = torch.randn(4, 6)
    tensors = {
        "plain": x,
        "transposed": x.T,
        "cut": x[:, ::2],
        "0-d": torch.tensor(2.5),
        "empty": torch.empty(0, 2),
        "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
        "parameter": torch.nn.Parameter(x.clone()),
        "rng": torch.get_rng_state(),
        "bool": x > 0,
    }
    for name in ("bfloat16", "float16", "float64", "int8", "float8_e5m2", "complex128"):
        tensors[name] = x.to(getattr(torch, name))
    found = there_and_back(tmp_path / "a", t=tensors)["t"]
    for name, t in tensors.items():
        assert type(found[name]) is torch.Tensor and not found[name].requires_grad
        assert found[name].dtype == t.dtype and found[name].shape == t.shape
        assert torch.equal(found[name].to(torch.complex128), t.detach().to(torch.complex128)), name
    assert found["transposed"].stride() == x.T.stride()


def test_torch_modules_and_optimizers_over_tensors(tmp_path):
    torch = pytest.importorskip("torch", reason="saves a torch module")
    net = torch.nn.Linear(3, 2)
    opt = nbopt.Adam(net.parameters(), lr=0.1)
    net(torch.ones(1, 3)).sum().backward()
    opt.step()
    found = there_and_back(tmp_path / "a", net=net, opt=opt, theirs=torch.optim.SGD(net.parameters(), lr=0.5))
    other = torch.nn.Linear(3, 2)
    other.load_state_dict(found["net"])
    assert torch.equal(other.weight, net.weight)
    again = nbopt.Adam(other.parameters())
    again.load_state_dict(found["opt"])
    kept, expected = again.state_dict()["state"][0], opt.state_dict()["state"][0]
    assert same(kept["exp_avg"].numpy(), expected["exp_avg"].numpy())
    assert found["theirs"]["param_groups"][0]["lr"] == 0.5


def test_torch_tensors_without_torch_are_arrays(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="saves a torch tensor")
    save(tmp_path / "a", t=torch.arange(3.0))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert same(load(tmp_path / "a")["t"], np.arange(3, dtype=np.float32))


def test_torch_tensors_without_plain_values(tmp_path):
    torch = pytest.importorskip("torch", reason="refuses some torch tensors")
    for t in (torch.eye(2).to_sparse(), torch.empty(2, device="meta")):
        with pytest.raises(TypeError, match=r"m\['w'\] is a tensor without plain values"):
            save(tmp_path / "a", m={"w": t})


class Cyclic(list):
    """A list that can hold itself."""


def unsavable():
    loop = Cyclic()
    loop.append({"again": loop})
    deep = []
    for _ in range(150):
        deep = [deep]
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    return {
        "function": (
            {"state": {0: {"foo": print, "bar": 1}}},
            r"x\['state'\]\[0\]\['foo'\] is a builtin_function",
        ),
        "lambda": ([1, (2, lambda: 0)], r"x\[1\]\[1\] is a function, which cannot be saved"),
        "class": (nbopt.Adam, r"x is a type, which"),
        "object": (object(), "x is an object, which"),
        "set": ({1, 2}, "x is a set, which cannot be saved; save a sorted list"),
        "generator": (np.random.default_rng(), r"x is a Generator, .*save its \.bit_generator\.state"),
        "objects": (np.array([None, 1]), "x has dtype object"),
        "records": (np.zeros(2, "i4,f8"), "x has dtype .*; only numbers"),
        "masked": (masked, r"x is a MaskedArray, .*save its \.data and \.mask"),
        "key": ({"a": {1.5: 0}}, r"x\['a'\] has the key 1\.5; keys must be str or int"),
        "flag as key": ({True: 0}, "x has the key True"),
        "itself": (loop, r"x\[0\]\['again'\] contains itself"),
        "deep": (deep, "nested deeper than 100 levels"),
    }


@pytest.mark.parametrize("what", unsavable())
def test_what_cannot_be_saved_is_named_and_no_file_is_touched(what, tmp_path):
    value, message = unsavable()[what]
    path = tmp_path / "a"
    save(path, old=1)
    before = path.stat()
    with pytest.raises(TypeError, match=f"^save: .*{message}"):
        save(path, good=np.ones(3), x=value)
    assert os.listdir(tmp_path) == ["a"]
    assert path.stat().st_ino == before.st_ino and load(path) == {"old": 1}


def test_one_value_may_stand_in_many_places(tmp_path):
    shared = [1, np.ones(2)]
    assert same(
        there_and_back(tmp_path / "a", a=shared, b=(shared, shared)), {"a": shared, "b": (shared, shared)}
    )


def test_the_order_of_arguments_of_torch_is_explained(tmp_path):
    opt, path = nbopt.SGD([np.ones(2)], lr=0.1), tmp_path / "run.ckpt"
    with pytest.raises(
        TypeError, match=r"as torch\.save has them; .*nbopt\.save\('.*run\.ckpt', optimizer=\.\.\.\)"
    ):
        save(opt, path)
    with pytest.raises(
        TypeError, match=r"as torch\.save has them; .*nbopt\.save\('.*run\.ckpt', state=\.\.\.\)"
    ):
        save(opt.state_dict(), str(path))
    with pytest.raises(TypeError, match=r"without a name; nbopt\.save takes the path first"):
        save(path, opt)
    with pytest.raises(TypeError, match=r"path is dict; nbopt\.save takes the path first"):
        save({}, optimizer=opt)
    with pytest.raises(TypeError, match=r"nothing to save; nbopt\.save takes"):
        save(path)
    with pytest.raises(TypeError, match="load: path must be a str or PathLike, not dict"):
        load({})
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        load(path)


def small_file(path):
    save(path, a={"x": np.arange(3.0), 0: (1, 2)}, b=np.ones(5, np.uint8))
    return path.read_bytes()


def test_a_flipped_bit_anywhere_is_found(tmp_path):
    path = tmp_path / "a"
    whole = small_file(path)
    for k in range(len(whole)):
        damaged = bytearray(whole)
        damaged[k] ^= 1 << k % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"load: .*a' (is altered|is no nbopt checkpoint)"):
            load(path)


def test_a_damaged_array_is_named(tmp_path):
    path = tmp_path / "a"
    save(path, model={"w": np.arange(3.0), "layers": [np.ones(2), np.full(4, 7.1)]})
    whole = path.read_bytes()
    at = whole.index(np.full(4, 7.1).tobytes())
    path.write_bytes(whole[:at] + b"\0" + whole[at + 1 :])
    with pytest.raises(ValueError, match=r"is altered: model\['layers'\]\[1\] does not match its checksum"):
        load(path)


def test_a_file_cut_anywhere_or_too_long_is_found(tmp_path):
    path = tmp_path / "a"
    whole = small_file(path)
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="is truncated" if n else "is empty"):
            load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(
        ValueError, match=f"is altered: it has {len(whole) + 1} bytes instead of {len(whole)}"
    ):
        load(path)


def with_head(whole, version=None, index=None):
    """The same file with another version or index, its checksums made anew."""
    magic, old_version, start, _, _ = checkpoint._HEAD.unpack(whole[: checkpoint._HEAD.size])
    data = whole[start:] if index is None else json.dumps(index).encode()
    digest = hashlib.sha256(data).digest()
    head = checkpoint._HEAD.pack(magic, version or old_version, start, len(data), digest)
    return head + hashlib.sha256(head).digest() + whole[128:start] + data


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(with_head(small_file(path), version=2))
    with pytest.raises(ValueError, match="was written by a newer nbopt: format 2; this one reads 1"):
        load(path)


def test_an_index_that_makes_no_sense_is_refused(tmp_path):
    path = tmp_path / "a"
    whole = small_file(path)
    start = checkpoint._HEAD.unpack(whole[:96])[2]
    index = json.loads(whole[start:])
    path.write_bytes(with_head(whole, index=index))
    assert same(load(path)["b"], np.ones(5, np.uint8))
    first = index["arrays"][0]
    for change in (
        {"arrays": []},
        {"arrays": [first, first]},
        {"arrays": [{**first, "shape": [10**12]}, index["arrays"][1]]},
        {"arrays": [{**first, "shape": [-3, -1]}, index["arrays"][1]]},
        {"arrays": [{**first, "dtype": "O"}, index["arrays"][1]]},
        {"arrays": [{**first, "order": [1]}, index["arrays"][1]]},
        {"state": {"array": 2}},
        {"state": {"pickle": "gA=="}},
        {"state": {"dict": 5}},
        {"state": {"scalar": ["O", "0000000000000000"]}},
        {"state": {}},
    ):
        path.write_bytes(with_head(whole, index={**index, **change}))
        with pytest.raises(ValueError, match="has an index that makes no sense"):
            load(path)


def test_other_files_are_named(tmp_path):
    import pickle

    path = tmp_path / "a"
    np.savez(tmp_path / "b.npz", x=np.ones(2))
    np.save(tmp_path / "c.npy", np.ones(2))
    cases = {
        "zip archive": (tmp_path / "b.npz").read_bytes(),
        "a NumPy array; read it with numpy.load": (tmp_path / "c.npy").read_bytes(),
        "a pickle": pickle.dumps({"a": 1}),
        "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(200),
        "a checkpoint that was never finished": bytes(500),
        r"it starts with b'hello'": b"hello",
    }
    for message, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"is no nbopt checkpoint.*{message}"):
            load(path)


def test_torch_files_are_named(tmp_path):
    torch = pytest.importorskip("torch", reason="writes a torch file")
    torch.save({"a": torch.ones(2)}, tmp_path / "a")
    with pytest.raises(ValueError, match=r"zip archive \(torch\.save"):
        load(tmp_path / "a")


def test_big_arrays_are_streamed(tmp_path):
    big = np.ones((1000, 4000))
    tracemalloc.start()
    try:
        save(tmp_path / "a", plain=big, cut=big[:, ::2], turned=big.T)
        assert tracemalloc.get_traced_memory()[1] < big.nbytes / 4
        tracemalloc.reset_peak()
        found = load(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2.5 * big.nbytes + big.nbytes / 4
    finally:
        tracemalloc.stop()
    assert all(same(found[k], a) for k, a in {"plain": big, "cut": big[:, ::2], "turned": big.T}.items())


def test_an_array_that_changes_meanwhile_still_gives_a_file_that_loads(tmp_path, monkeypatch):
    a = np.zeros(200_000)
    real = checkpoint.write_all

    def write_and_change(fd, data):
        a[...] += 1
        real(fd, data)

    monkeypatch.setattr(checkpoint, "write_all", write_and_change)
    save(tmp_path / "a", a=a)
    assert load(tmp_path / "a")["a"].size == a.size
