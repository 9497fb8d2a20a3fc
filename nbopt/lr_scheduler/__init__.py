"""Schedulers: the step size as a function of the step, for optimizers of nbopt and of torch."""

from nbopt.lr_scheduler.composed import ChainedScheduler, SequentialLR
from nbopt.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from nbopt.lr_scheduler.cycles import CyclicLR, OneCycleLR
from nbopt.lr_scheduler.decay import ExponentialLR, MultiStepLR, PolynomialLR, StepLR
from nbopt.lr_scheduler.functions import LambdaLR, MultiplicativeLR
from nbopt.lr_scheduler.plateau import ReduceLROnPlateau
from nbopt.lr_scheduler.schedule import Schedule
from nbopt.lr_scheduler.scheduler import EPOCH_DEPRECATION_WARNING, LRScheduler
from nbopt.lr_scheduler.warmup import ConstantLR, LinearLR

_LRScheduler = LRScheduler  # its name in torch 1, by which people still subclass it

__all__ = [
    "EPOCH_DEPRECATION_WARNING",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
]
