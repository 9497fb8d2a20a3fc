"""Steps of a group on every road: any layout, any gradient, errors, lifetimes."""

import copy
import gc
import weakref
from typing import ClassVar

import numpy as np
import pytest
from roads import FOR_PARAMETERS, KINDS, LAYOUTS, ROADS, G, assert_equal, numbers, params_of, take

import nbopt
from nbopt import Parameter


class TestGradients:
    """Of every layout, for parameters of every layout."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
    def test_they_count_element_by_element(self, road, kind, dtype):
        g = (G + (1j * G[::-1] if dtype is np.complex128 else 0)).astype(dtype)
        plain = KINDS[kind]([g * 2])
        for k in (1, 2, 3):
            plain.step(grads=[g * k])
        expected = numbers(plain)
        for layout in FOR_PARAMETERS:
            for other in LAYOUTS:
                opt = KINDS[kind]([LAYOUTS[layout](g * 2)])
                for k in (1, 2, 3):
                    given = LAYOUTS[other](g * k)
                    opt.step(grads=[given])
                    assert np.array_equal(given, g * k), "the gradient was written to"
                assert_equal(numbers(opt), expected)

    def test_arrays_of_all_layouts_and_dtypes_step_together(self, road):
        kinds = [(lay, d) for lay in FOR_PARAMETERS for d in (np.float32, np.float64, np.complex64)]
        opt = nbopt.Adam([LAYOUTS[lay](G.astype(d)) for lay, d in kinds], lr=0.5)
        alone = [nbopt.Adam([G.astype(d)], lr=0.5) for _, d in kinds]
        for k in (1, 2):
            opt.step(grads=[LAYOUTS["F"](np.cos(k * G).astype(d)) for _, d in kinds])
            for (_, d), o in zip(kinds, alone, strict=True):
                o.step(grads=[np.cos(k * G).astype(d)])
        for p, o in zip(params_of(opt), alone, strict=True):
            assert np.array_equal(p.data, params_of(o)[0].data)
            assert np.array_equal(opt.state[p]["exp_avg"], o.state[params_of(o)[0]]["exp_avg"])

    def test_new_and_kept_gradient_objects_give_the_same(self, road):
        kept, fresh = (nbopt.Adam([np.ones(5), np.zeros((2, 2))], lr=0.1) for _ in range(2))
        memory = [np.zeros(5), np.zeros((2, 2))]
        for p, g in zip(params_of(kept), memory, strict=True):
            p.grad = g
        for k in range(6):
            for p, q in zip(params_of(kept), params_of(fresh), strict=True):
                p.grad[...] = np.cos(k + p.data)
                q.grad = np.cos(k + q.data)
            kept.step()
            fresh.step()
        assert_equal(numbers(kept), numbers(fresh))

    def test_one_gradient_object_may_serve_many(self, road):
        opt, g = nbopt.SGD([np.zeros(3), np.ones(3)], lr=1.0), np.arange(3.0)
        opt.step(grads=[g, g])
        assert [p.data.tolist() for p in params_of(opt)] == [[0, -1, -2], [1, 0, -1]]

    @pytest.mark.parametrize("part", [slice(0, 6), slice(2, 8), slice(None, None, -1), slice(0, 12, 2)])
    def test_a_gradient_in_the_parameters_own_memory(self, road, part):
        memory = np.arange(12.0)
        p, g = memory[:6], memory[part][:6]
        expected = p - 0.5 * g
        nbopt.SGD([p], lr=0.5).step(grads=[g])
        assert np.array_equal(p, expected)

    @pytest.mark.parametrize("n", [3, 70_000])
    def test_gradients_that_are_other_parameters_count_row_by_row(self, road, n):
        """The saddle x·y: grad x is y. As in torch's loop y sees the new x, on any number of threads."""
        x, y = np.linspace(1, 2, n), np.linspace(-1, 1, n)
        expected_x = x - 0.5 * y
        expected_y = y - 0.5 * expected_x
        nbopt.SGD([x, y], lr=0.5).step(grads=[y, x])
        assert np.array_equal(x, expected_x) and np.array_equal(y, expected_y)

    def test_scalars_and_nothing(self, road):
        opt = nbopt.Adam(
            [np.array(1.0), np.zeros(0), np.zeros((3, 0)), np.zeros((1, 1)), np.array(2.0, np.float32)],
            lr=0.5,
        )
        for g in (np.array(2.0), np.float64(3), np.asarray(-1.0)):
            opt.step(grads=[g, np.zeros(0), np.zeros((3, 0)), np.ones((1, 1)), np.float32(g)])
        other = nbopt.Adam([np.ones(1), np.zeros(1), np.full(1, 2.0, np.float32)], lr=0.5)
        for g in (2.0, 3.0, -1.0):
            other.step(grads=[np.full(1, g), np.ones(1), np.full(1, g, np.float32)])
        ours, theirs = params_of(opt), params_of(other)
        assert [ours[k].data.item() for k in (0, 3, 4)] == [p.data.item() for p in theirs]

    @pytest.mark.parametrize("of", ["gradient", "values"])
    def test_special_values_pass_through(self, road, of):
        w = np.array([1.0, 2, 3, 4, 5])
        opt = nbopt.SGD([w], lr=1.0)
        opt.step(grads=[np.array([np.nan, np.inf, -np.inf, 0, 1])])
        np.testing.assert_array_equal(w, [np.nan, -np.inf, np.inf, 4, 4])

    REFUSED: ClassVar = {
        "shape": (np.ones((4, 3)), ValueError, r"has shape \(4, 3\), its parameter \(3, 4\)"),
        "rank": (np.ones(12), ValueError, r"has shape \(12,\)"),
        "dtype": (
            np.ones((3, 4), np.float32),
            TypeError,
            r"float32, its parameter float64; write grad.astype\('float64'\)",
        ),
        "integers": (np.ones((3, 4), int), TypeError, "has dtype int64"),
        "complex": (np.ones((3, 4), complex), TypeError, "has dtype complex128"),
        "objects": (np.full((3, 4), None), TypeError, "has dtype object"),
        "list": (np.ones((3, 4)).tolist(), TypeError, "is list"),
        "number": (1.0, TypeError, "is float"),
        "numpy number": (np.float64(1), ValueError, r"has shape \(\)"),
        "text": ("g", TypeError, "is str"),
        "masked": (np.ma.ones((3, 4)), TypeError, "is MaskedArray"),
        "parameter": (Parameter(np.ones((3, 4))), TypeError, "is Parameter"),
    }

    @pytest.mark.parametrize("what", REFUSED)
    @pytest.mark.parametrize("layout", ["C", "gaps"])
    def test_what_is_no_gradient_is_refused_before_anything_is_stepped(self, road, layout, what):
        given, error, words = self.REFUSED[what]
        opt = nbopt.Adam(
            [{"params": [np.ones(3)]}, {"params": [np.ones(2), LAYOUTS[layout](G)], "lr": 0.5}], lr=0.5
        )
        for _ in range(2):
            opt.step(grads=[np.ones(3), np.ones(2), np.cos(G)])
        before = numbers(opt)
        p = params_of(opt)[2]
        p.grad = given
        for _ in range(2):
            with pytest.raises(error, match=f"Adam: the gradient of parameter 1 .*{words}"):
                opt.step()
            assert_equal(numbers(opt), before)
        p.grad = np.cos(G)
        opt.step()
        twin = nbopt.Adam([np.ones(3), np.ones(2), G.copy()], lr=0.5)
        for _ in range(3):
            twin.step(grads=[np.ones(3), np.ones(2), np.cos(G)])
        assert_equal(numbers(opt), numbers(twin))

    def test_any_layout_of_both(self):
        hypothesis = pytest.importorskip("hypothesis", reason="draws shapes and strides")
        from layouts import layouts

        st = hypothesis.strategies
        dtypes = [np.float32, np.float64, np.complex64, np.complex128]

        @hypothesis.given(
            st.lists(layouts(dtypes=dtypes), min_size=1, max_size=3), layouts(), st.sampled_from(list(KINDS))
        )
        @hypothesis.settings(deadline=None, max_examples=80)
        def check(arrays, pattern, kind):
            plain = [np.ascontiguousarray(a).reshape(a.shape) for a in arrays]
            plain = [a.copy() for a in plain]
            one, two = KINDS[kind](arrays), KINDS[kind](plain)
            for _ in range(2):
                grads = [np.cos(a) for a in plain]
                two.step(grads=grads)
                one.step(grads=[g.T.copy().T if pattern.size % 2 else g for g in grads])
            assert_equal(numbers(one), numbers(two))

        check()


class TestMissingGradients:
    """None leaves a parameter alone, with a step count of its own."""

    def test_nothing_happens_without_any_gradient(self, road):
        w = np.ones(3)
        opt = nbopt.Adam([w], lr=0.1)
        for _ in range(3):
            opt.step()
        assert w.tolist() == [1, 1, 1] and opt.state == {}
        opt.step(grads=[np.ones(3)])
        opt.zero_grad()
        opt.step()
        opt.step()
        assert opt.state[params_of(opt)[0]]["step"] == 1

    def test_each_parameter_counts_its_own_steps(self, road):
        pattern = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (1, 1, 1), (0, 0, 1), (1, 1, 1)]
        start = [np.ones(3), np.full((2, 2), 2.0), np.array(3.0)]
        together = nbopt.Adam([a.copy() for a in start], lr=0.1)
        alone = [nbopt.Adam([a.copy()], lr=0.1) for a in start]
        for k, wanted in enumerate(pattern):
            grads = [np.cos(k + a) if use else None for a, use in zip(start, wanted, strict=True)]
            together.step(grads=grads)
            for o, g in zip(alone, grads, strict=True):
                o.step(grads=[g])
        assert [int(together.state[p]["step"]) for p in params_of(together)] == [4, 4, 3]
        assert_equal(numbers(together), [a for o in alone for a in numbers(o)])

    def test_zeros_are_a_gradient(self, road):
        w = np.ones(3)
        opt = nbopt.AdamW([w], lr=0.1, weight_decay=0.5)
        opt.step(grads=[np.zeros(3)])
        np.testing.assert_allclose(w, 0.95)

    def test_a_deleted_gradient_is_an_error_and_no_crash(self, road):
        opt = nbopt.SGD([Parameter(np.ones(3), np.ones(3))], lr=1.0)
        opt.step()
        del params_of(opt)[0].grad
        with pytest.raises(AttributeError, match=r"grad"):
            opt.step()
        params_of(opt)[0].grad = np.ones(3)
        opt.step()
        assert params_of(opt)[0].data.tolist() == [-1, -1, -1]


def halting(p, g, state, h):
    m, _, _ = state
    for i in range(p.size):
        if g[i] == 99:
            raise ValueError("the loop refuses 99")
        m[i] += 1
        p[i] -= g[i]


class Halting(nbopt.ElementwiseOptimizer):
    def __init__(self, params):
        super().__init__(params, {"lr": 1.0})

    def algorithm(self, group):
        return halting, ("visits",)

    def numbers(self, group, t):
        return ()


@pytest.mark.parametrize("place", [0, 700, 1999])
@pytest.mark.parametrize("gaps", [False, True])
def test_what_a_loop_raises_reaches_the_user_and_the_step_is_not_counted(road, place, gaps):
    w = np.zeros((2000, 2))[:, 0] if gaps else np.zeros(2000)
    opt = Halting([w])
    (p,) = params_of(opt)
    opt.step(grads=[np.ones(2000)])
    g = np.ones(2000)
    g[place] = 99
    for k in (1, 2):
        with pytest.raises(ValueError, match=r"the loop refuses 99"):
            opt.step(grads=[g])
        assert opt.state[p]["step"] == 1
        assert w[place] == -1 and w[0] == (-1 - k if place else -1)
        assert np.array_equal(opt.state[p]["visits"], -w), "some elements are half updated"
    opt.step(grads=[np.ones(2000)])
    assert opt.state[p]["step"] == 2 and w[place] == -2


class TestLifetimes:
    """Addresses live no longer than arrays, and arrays no longer than they are used."""

    @pytest.mark.parametrize("layout", ["C", "gaps"])
    def test_a_dropped_optimizer_frees_everything_at_once(self, road, layout):
        opt = nbopt.Adam([LAYOUTS[layout](G), np.ones(3)])
        opt.step(grads=[np.asfortranarray(G), np.ones(3)])
        opt.step()
        watched = [weakref.ref(p.data) for p in params_of(opt)] + [
            weakref.ref(p.grad) for p in params_of(opt)
        ]
        watched += [weakref.ref(s["exp_avg"]) for s in opt.state.values()] + [weakref.ref(opt)]
        gc.disable()
        try:
            del opt
            assert [r() is None for r in watched] == [True] * len(watched)
        finally:
            gc.enable()

    def test_a_gradient_is_let_go_after_the_step(self, road):
        opt = nbopt.SGD([np.zeros(3)])
        for g in (np.ones(3), np.ones(6)[::2]):
            opt.step(grads=[g])
        gone = weakref.ref(params_of(opt)[0].grad)
        del g
        opt.zero_grad()
        assert gone() is None

    def test_an_exchanged_array_is_let_go_with_the_next_step(self, road):
        p = Parameter(np.zeros(3), np.ones(3))
        opt = nbopt.SGD([p], lr=1.0)
        opt.step()
        old = weakref.ref(p.data)
        p.data = np.zeros(3)
        opt.step()
        assert old() is None and p.data.tolist() == [-1, -1, -1]

    def test_the_optimizer_keeps_parameters_alive_that_nobody_else_holds(self, road):
        opt = nbopt.Adam(np.ones(k) for k in range(1, 30))
        for _ in range(5):
            opt.step(grads=[np.ones(p.size) for p in params_of(opt)])
            [np.full(k, np.nan) for k in range(1, 30)]  # would land in memory freed too soon
        assert len({float(p.data[0]) for p in params_of(opt)}) == 1

    @pytest.mark.parametrize("road", ["quick", "no headers"], indirect=True)
    def test_memory_does_not_grow_over_many_steps(self, road):
        opt = nbopt.Adam([np.zeros(10), np.zeros((3, 4)).T])

        def steps(n):
            for k in range(n):
                opt.step(grads=[np.ones(10), None if k % 3 == 0 else np.ones((4, 3))])
            gc.collect()
            return len(gc.get_objects())

        steps(20)
        assert steps(50) - steps(50) < 20


def test_all_roads_give_the_same_bits(monkeypatch):
    found = {}
    for road in ROADS:
        with monkeypatch.context() as patch:
            take(road, patch)
            arrays = [np.linspace(0, 1, n) for n in (0, 1, 7, 64, 65, 1000)] + [
                np.asfortranarray(G),
                G[:, ::2].copy()[::-1],
            ]
            opt = nbopt.Adam(copy.deepcopy(arrays), lr=0.1)
            for k in range(5):
                opt.step(grads=[np.cos(k + a) if (k + a.size) % 3 else None for a in arrays])
            found[road] = b"".join(a.tobytes() for a in numbers(opt))
    assert len(set(found.values())) == 1


def test_gradients_with_a_dtype_object_of_their_own_take_the_quick_road(monkeypatch):
    own = np.dtype("f8", metadata={"as": "functions that Numba loads from its cache return it"})
    opt = nbopt.Adam([np.zeros(3)])
    careful = []
    with_care = opt._step_with_care
    monkeypatch.setattr(opt, "_step_with_care", lambda: (careful.append(1), with_care()))
    for _ in range(5):
        gradient = np.frombuffer(np.ones(3).tobytes(), own)
        assert gradient.dtype is own
        opt.step(grads=[gradient])
    assert opt.state[params_of(opt)[0]]["step"] == 5
    assert len(careful) <= 2
