"""minimize() by an optimizer's name: equal to the object stepped by hand, compiled or through Python."""

import math

import numpy as np
import pytest
from numba import njit

import nbopt
from nbopt.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR
from nbopt.solvers.minimize import OPTIMIZERS

NAMES = [kind.__name__ for kind in OPTIMIZERS] + ["Adafactor"]


def bowl(x, c):
    g = np.empty_like(x)
    f = 0.0
    for k in range(x.size):
        g[k] = (k + 1.0) * (x[k] - c)
        f += 0.5 * (k + 1.0) * (x[k] - c) ** 2
    return f, g


compiled_bowl = njit(bowl)


def stepped(name, options, steps, schedule=None, clip=None):
    """The same run by hand: the best point among those evaluated."""
    p = nbopt.Parameter(np.array([1.0, -2.0, 0.5]))
    opt = getattr(nbopt, name)([p], **options)
    scheduler = None if schedule is None else schedule.bind(opt)
    best, at = math.inf, None
    for k in range(steps + 1):
        f, p.grad = bowl(p.data, 0.3)
        if f < best:
            best, at = f, p.data.copy()
        if k < steps:
            if clip is not None:
                nbopt.clip_grad_norm_([p], clip)
            opt.step()
            if scheduler is not None:
                scheduler.step()
    return best, at


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fun", [bowl, compiled_bowl], ids=["python", "njit"])
def test_it_equals_the_object_stepped_by_hand_over_more_than_a_block(name, fun):
    options = {"lr": 0.01} if name != "Adadelta" else {}
    steps = 1100  # two blocks and a part of one
    res = nbopt.minimize(
        fun, [1.0, -2.0, 0.5], args=(0.3,), jac=True, method=name,
        options={**options, "maxiter": steps, "gtol": 0.0},
    )  # fmt: skip
    assert res.nit > 700 and res.nfev == res.nit + 1
    assert res.status == (1 if res.nit == steps else 0)  # or its gradient has become exactly zero
    best, at = stepped(name, options, res.nit)
    np.testing.assert_allclose(res.x, at, rtol=0, atol=1e-10)
    np.testing.assert_allclose(res.fun, best, rtol=1e-9, atol=1e-18)
    np.testing.assert_array_equal(res.jac, bowl(res.x, 0.3)[1])


def test_schedule_clipping_and_names_in_any_case():
    schedule = CosineAnnealingLR.schedule(T_max=700)
    options = {"lr": 0.1, "momentum": 0.5, "maxiter": 700, "gtol": 0.0}
    res = nbopt.minimize(
        compiled_bowl, [1.0, -2.0, 0.5], 0.3, "sGd", True,
        options={**options, "schedule": schedule, "clip_grad_norm": 0.5},
    )  # fmt: skip
    best, at = stepped("SGD", {"lr": 0.1, "momentum": 0.5}, 700, schedule, 0.5)
    np.testing.assert_allclose(res.x, at, rtol=0, atol=1e-12)
    np.testing.assert_allclose(res.fun, best, rtol=1e-9, atol=1e-20)
    by_value = nbopt.minimize(
        compiled_bowl, [100.0], 0.0, "sgd", True, options={"lr": 1.0, "clip_grad_value": 2.0, "maxiter": 3}
    )
    assert by_value.x == 94.0


@pytest.mark.parametrize("fun", [bowl, compiled_bowl], ids=["python", "njit"])
def test_gtol_and_ftol_stop_it_and_differences_serve_it(fun):
    res = nbopt.minimize(fun, np.ones(4), 0.3, "adam", True, options={"lr": 0.05})
    assert res.success and res.status == 0 and np.abs(res.jac).max() <= 1e-5
    res = nbopt.minimize(fun, np.ones(4), 0.3, "adam", True, options={"lr": 0.05, "ftol": 1e-3, "gtol": 0})
    assert res.success and "ftol" in res.message
    value = njit(lambda x: (x[0] - 2.0) ** 2) if fun is compiled_bowl else (lambda x: (x[0] - 2.0) ** 2)
    res = nbopt.minimize(value, [0.0], method="rprop", tol=1e-4)
    assert res.success and abs(res.x[0] - 2.0) < 1e-4 and res.jac_method != "user"


def test_what_is_not_finite_stops_it_with_the_best_point():
    @njit
    def cliff(x):
        return (-x[0], np.array([-1.0])) if x[0] < 1.0 else (np.nan, np.array([np.nan]))

    res = nbopt.minimize(cliff, [0.0], method="sgd", jac=True, options={"lr": 0.3})
    assert res.status == 2 and not res.success and abs(res.x[0] - 0.9) < 1e-12 and res.fun == -res.x[0]
    res = nbopt.minimize(cliff, [2.0], method="adam", jac=True)
    assert res.status == 2 and res.x[0] == 2.0 and res.nit == 0


def test_callbacks_see_each_iterate_and_may_stop():
    seen = []

    def callback(x):
        seen.append(x.copy())
        if len(seen) == 5:
            raise StopIteration

    res = nbopt.minimize(compiled_bowl, [1.0, 2.0], 0.3, "adam", True, callback=callback)
    assert res.status == 99 and len(seen) == 5 and res.nit == 5
    every = nbopt.minimize(
        bowl, [1.0, 2.0], 0.3, "adam", True, options={"return_all": True, "maxiter": 600, "gtol": 0}
    ).allvecs
    assert len(every) == 601
    np.testing.assert_array_equal(every[5], seen[4])


def test_bad_options_are_refused_by_the_optimizers_own_words():
    for bad, said in [({"lr": -1.0}, "Adam: lr=-1.0"), ({"betas": (2, 0)}, "Adam: betas"),
                      ({"maxiter": -1}, "maxiter"), ({"clip_grad_norm": 0}, "clip_grad_norm")]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            nbopt.minimize(bowl, [1.0], 0.3, "adam", True, options=bad)
    with pytest.raises(TypeError, match=r"StepLR.schedule"):
        nbopt.minimize(bowl, [1.0], 0.3, "adam", True, options={"schedule": StepLR})
    with pytest.raises(ValueError, match="metric"):
        plateau = {"schedule": ReduceLROnPlateau.schedule()}
        nbopt.minimize(bowl, [1.0], 0.3, "adam", True, options=plateau)
    with pytest.warns(Warning, match="Unknown solver options: momentum"):
        nbopt.minimize(bowl, [1.0], 0.3, "adam", True, options={"momentum": 0.5})
    for name in ("muon", "SparseAdam"):
        with pytest.raises(ValueError, match="object nbopt"):
            nbopt.minimize(bowl, [1.0], 0.3, name, True)
    with pytest.raises(ValueError, match="adam"):
        nbopt.minimize(bowl, [1.0], 0.3, "adamm", True)
