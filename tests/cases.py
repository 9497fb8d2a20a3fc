"""The table of element-wise optimizers: every law in optim/test_elementwise.py holds for each row."""

from typing import Any, NamedTuple

import naive

import nbopt


class Case(NamedTuple):
    """An optimizer with options; ``golden`` is torch 2.13's p after the eight steps of the reference."""

    cls: type
    options: dict[str, Any]
    witness: Any
    golden: tuple[float, ...] | None = None

    def __str__(self):
        return "-".join([self.cls.__name__, *(f"{k}={v}" for k, v in self.options.items())])

    def make(self, params):
        return self.cls(params, **self.options)


CASES = [
    Case(nbopt.SGD, {"lr": 0.1}, naive.sgd, (0.64, -1.84, 0.5)),
    Case(
        nbopt.SGD,
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        naive.sgd,
        (0.309272947084, -1.33374043702, 0.535338777966),
    ),
    Case(
        nbopt.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        naive.sgd,
        (-0.2718940391, -1.3226431198, 0.5728402463),
    ),
    Case(nbopt.SGD, {"lr": 0.1, "momentum": 0.5, "maximize": True, "weight_decay": 0.2}, naive.sgd),
    Case(nbopt.Adam, {"lr": 0.1}, naive.adam, (0.218727236404, -1.20000004, 0.647881876625)),
    Case(
        nbopt.Adam,
        {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1, "maximize": True},
        naive.adam,
        (1.62048402458, -2, 0.266636531772),
    ),
    Case(nbopt.Adam, {"lr": 0.05, "betas": (0.5, 0.9), "decoupled_weight_decay": True, "weight_decay": 0.1},
         naive.adam),
    Case(nbopt.AdamW, {"lr": 0.1}, naive.adamw, (0.213476150371, -1.18685033499, 0.643017249323)),
    Case(nbopt.AdamW, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.3}, naive.adamw),
    Case(nbopt.Adamax, {"lr": 0.1}, naive.adamax, (0.435092771376, -1.20000004, 0.647881876625)),
    Case(nbopt.Adamax, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, naive.adamax),
    Case(nbopt.NAdam, {"lr": 0.1}, naive.nadam),
    Case(nbopt.NAdam, {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1}, naive.nadam),
    Case(nbopt.NAdam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}, naive.nadam),
    Case(nbopt.RAdam, {"lr": 0.1}, naive.radam, (0.886005265789, -1.89027018537, 0.543196826665)),
    Case(nbopt.RAdam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}, naive.radam),
    Case(nbopt.RMSprop, {"lr": 0.1}, naive.rmsprop, (-4.90191714901, 2.40142912634, 0.929817423547)),
    Case(nbopt.RMSprop, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}, naive.rmsprop),
    Case(nbopt.RMSprop, {"lr": 0.01, "centered": True, "eps": 1e-3}, naive.rmsprop),
    Case(
        nbopt.RMSprop,
        {"lr": 0.1, "momentum": 0.9, "centered": True},
        naive.rmsprop,
        (-22.183404063, 16.2016969636, 3.99047724113),
    ),
    Case(
        nbopt.Adagrad,
        {"lr": 0.1, "lr_decay": 0.1},
        naive.adagrad,
        (0.535684662491, -1.64556308579, 0.55292134614),
    ),
    Case(nbopt.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}, naive.adagrad),
    Case(nbopt.Adadelta, {}, naive.adadelta, (0.951763441502, -1.97325231535, 0.499817269053)),
    Case(nbopt.Adadelta, {"lr": 0.5, "rho": 0.5, "weight_decay": 0.1}, naive.adadelta),
    Case(nbopt.ASGD, {"lr": 0.1, "lambd": 0.1, "t0": 3}, naive.asgd),
    Case(nbopt.ASGD, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, naive.asgd),
    Case(nbopt.Rprop, {"lr": 0.1}, naive.rprop, (-0.64990848, -0.35009152, 0.6875)),
    Case(nbopt.Rprop, {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}, naive.rprop),
]  # fmt: skip

ALL_OPTIONS = {
    "SGD": [{"momentum": m, "dampening": d, "weight_decay": w, "maximize": x}
            for m in (0, 0.9) for d in (0, 0.3) for w in (0, 0.1) for x in (False, True)]
    + [{"momentum": 0.9, "nesterov": True, "weight_decay": w} for w in (0, 0.1)],
    "Adam": [{"amsgrad": a, "weight_decay": w, "maximize": x, "decoupled_weight_decay": d}
             for a in (False, True) for w in (0, 0.1) for x in (False, True) for d in (False, True)]
    + [{"betas": (0.0, 0.0)}, {"betas": (0.5, 0.9), "eps": 1e-3}],
    "AdamW": [{"amsgrad": a, "weight_decay": w, "maximize": x}
              for a in (False, True) for w in (0, 0.01, 0.1) for x in (False, True)]
    + [{"betas": (0.5, 0.9), "eps": 1e-3}],
    "Adamax": [{"weight_decay": w, "maximize": x} for w in (0, 0.1) for x in (False, True)]
    + [{"betas": (0.5, 0.9), "eps": 1e-3}],
    "NAdam": [{"weight_decay": w, "decoupled_weight_decay": d, "maximize": x, "momentum_decay": m}
              for w in (0, 0.1) for d in (False, True) for x in (False, True) for m in (0, 4e-3, 0.1)]
    + [{"betas": (0.5, 0.9), "eps": 1e-3}],
    "RAdam": [{"weight_decay": w, "decoupled_weight_decay": d, "maximize": x}
              for w in (0, 0.1) for d in (False, True) for x in (False, True)]
    + [{"betas": (0.5, 0.9), "eps": 1e-3}],
    "RMSprop": [{"momentum": m, "centered": c, "weight_decay": w, "maximize": x, "eps": 1e-4}
                for m in (0, 0.5) for c in (False, True) for w in (0, 0.1) for x in (False, True)]
    + [{"alpha": 0.8, "momentum": 0.5}],
    "Adagrad": [{"lr_decay": d, "initial_accumulator_value": v, "weight_decay": w, "maximize": x}
                for d in (0, 0.1) for v in (0, 0.5) for w in (0, 0.1) for x in (False, True)]
    + [{"eps": 1e-3}],
    "Adadelta": [{"rho": r, "weight_decay": w, "maximize": x}
                 for r in (0.5, 0.9) for w in (0, 0.1) for x in (False, True)]
    + [{"eps": 1e-3}],
    "ASGD": [{"lambd": lambd, "t0": t0, "weight_decay": w, "maximize": x}
             for lambd in (1e-4, 0.1) for t0 in (1e6, 50) for w in (0, 0.1) for x in (False, True)]
    + [{"alpha": 0.5, "lambd": 0.1, "t0": 10}],
    "Rprop": [{"etas": e, "maximize": x} for e in ((0.5, 1.2), (0.3, 1.5)) for x in (False, True)]
    + [{"step_sizes": (1e-3, 0.02)}],
}  # fmt: skip
