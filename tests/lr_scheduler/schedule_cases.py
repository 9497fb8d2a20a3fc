"""The table of schedulers: every law in test_scheduler.py and test_scheduler_parity.py holds for each row."""

from typing import Any, NamedTuple

import numpy as np

import nbopt
import nbopt.lr_scheduler
import nbopt.swa_utils

STEPS = 200
LRS = (0.05, 0.02)


class Falling:
    """A callable object, whose state goes with the scheduler's."""

    def __init__(self, rate=0.97):
        self.rate = rate

    def __call__(self, step):
        return self.rate**step


def slowly(step):
    return 1.0 / (1.0 + 0.1 * step)


def nearly_one(step):
    return 0.95 if step % 3 else 1.02


def wavering(x):
    return 0.8 + 0.1 * (x % 3)


class Case(NamedTuple):
    """A class with its options.

    ``multiplies``: it acts on the rate that the group has; others set it. ``adopts``: a group
    that comes later can be taken in.
    """

    name: str
    options: dict[str, Any]
    multiplies: bool = True
    adopts: bool = True

    def __str__(self):
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items() if not callable(v))])

    def ours(self, optimizer, **more):
        return self.kind(optimizer, **self.options, **more)

    @property
    def kind(self):
        home = nbopt.swa_utils if self.name == "SWALR" else nbopt.lr_scheduler
        return getattr(home, self.name)

    def theirs(self, optimizer, **more):
        from torch.optim import lr_scheduler, swa_utils

        home = swa_utils if self.name == "SWALR" else lr_scheduler
        return getattr(home, self.name)(optimizer, **self.options, **more)


CASES = [
    Case("LambdaLR", {"lr_lambda": slowly}, multiplies=False),
    Case("LambdaLR", {"lr_lambda": Falling()}, multiplies=False),
    Case("MultiplicativeLR", {"lr_lambda": nearly_one}),
    Case("StepLR", {"step_size": 30}),
    Case("StepLR", {"step_size": 7, "gamma": 0.8}),
    Case("MultiStepLR", {"milestones": [30, 80, 80, 150]}),
    Case("MultiStepLR", {"milestones": (9, 0, 4), "gamma": 0.5}),
    Case("ConstantLR", {}),
    Case("ConstantLR", {"factor": 0.25, "total_iters": 40}),
    Case("LinearLR", {}),
    Case("LinearLR", {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 50}),
    Case("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 60}),
    Case("ExponentialLR", {"gamma": 0.97}),
    Case("PolynomialLR", {"total_iters": 60, "power": 2.0}),
    Case("PolynomialLR", {"total_iters": 199, "power": 0.5}),
    Case("CosineAnnealingLR", {"T_max": 50}),
    Case("CosineAnnealingLR", {"T_max": 11, "eta_min": 0.004}),
    Case("CosineAnnealingLR", {"T_max": 12.5}),
    Case("CosineAnnealingWarmRestarts", {"T_0": 10}, multiplies=False),
    Case("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}, multiplies=False),
    Case("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 15}, multiplies=False),
    Case(
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 6, "step_size_down": 11, "mode": "triangular2"},
        multiplies=False,
    ),
    Case(
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 9, "mode": "exp_range", "gamma": 0.99},
        multiplies=False,
    ),
    Case(
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.1,
            "step_size_up": 9,
            "scale_fn": wavering,
            "scale_mode": "iterations",
            "cycle_momentum": False,
        },
        multiplies=False,
    ),
    Case("OneCycleLR", {"max_lr": 0.1, "total_steps": STEPS}, multiplies=False),
    Case(
        "OneCycleLR",
        {
            "max_lr": 0.1,
            "epochs": 20,
            "steps_per_epoch": 10,
            "anneal_strategy": "linear",
            "three_phase": True,
            "base_momentum": 0.7,
        },
        multiplies=False,
    ),
    Case(
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": STEPS, "pct_start": 0.0, "cycle_momentum": False, "div_factor": 4.0},
        multiplies=False,
    ),
    Case("SWALR", {"swa_lr": 0.005}),
    Case("SWALR", {"swa_lr": 0.08, "anneal_epochs": 33, "anneal_strategy": "linear"}),
    Case("SWALR", {"swa_lr": 0.01, "anneal_epochs": 0}),
]

# One value for each of two groups.
LISTS = [
    Case("LambdaLR", {"lr_lambda": [slowly, Falling(0.9)]}, multiplies=False, adopts=False),
    Case("MultiplicativeLR", {"lr_lambda": (nearly_one, Falling(0.999))}, adopts=False),
    Case(
        "CyclicLR",
        {"base_lr": [0.01, 0.02], "max_lr": (0.1, 0.3), "step_size_up": 8, "base_momentum": [0.5, 0.6]},
        multiplies=False,
        adopts=False,
    ),
    Case(
        "OneCycleLR",
        {"max_lr": [0.1, 0.2], "total_steps": STEPS, "max_momentum": [0.9, 0.99]},
        multiplies=False,
        adopts=False,
    ),
    Case("SWALR", {"swa_lr": [0.005, 0.01]}, adopts=False),
]


def ours(groups=2, cls=nbopt.SGD):
    """Return an optimizer of ours whose groups have the rates of LRS; it has stepped once."""
    options = {"momentum": 0.9} if cls is nbopt.SGD else {}
    parts = [{"params": [np.zeros(1)], "lr": lr} for lr in LRS[:groups]]
    optimizer = cls(parts, lr=LRS[0], **options)
    optimizer.step()
    return optimizer


def theirs(groups=2, name="SGD"):
    """Return torch's counterpart of `ours`."""
    import torch

    options = {"momentum": 0.9} if name == "SGD" else {}
    parts = [{"params": [torch.zeros(1, dtype=torch.float64)], "lr": lr} for lr in LRS[:groups]]
    optimizer = getattr(torch.optim, name)(parts, lr=LRS[0], **options)
    return optimizer


def reading(optimizer):
    """Return rate and momentum of all groups."""
    groups = optimizer.param_groups
    momenta = [g["betas"][0] if "betas" in g else g["momentum"] for g in groups]
    return [[float(g["lr"]) for g in groups], [float(m) for m in momenta]]


def follow(optimizer, scheduler, steps=STEPS):
    """Return the readings at ``steps`` steps from the present one on."""
    seen = [reading(optimizer)]
    for _ in range(steps - 1):
        optimizer.step()
        scheduler.step()
        seen.append(reading(optimizer))
    return np.array(seen)
