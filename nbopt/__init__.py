"""nbopt: a Numba-JIT optimization toolkit for scientists."""

from nbopt import cuda, lr_scheduler, swa_utils
from nbopt.autodiff.check_grad import check_grad
from nbopt.autodiff.gradient import jacobian, value_and_grad
from nbopt.fitting.curve_fit import curve_fit
from nbopt.fitting.fit import fit
from nbopt.fitting.fit_result import FitResult
from nbopt.fitting.least_squares import least_squares
from nbopt.kernels.launcher import get_num_threads, set_num_threads
from nbopt.linesearch.wolfe_search import wolfe_search
from nbopt.optim.adadelta import Adadelta
from nbopt.optim.adafactor import Adafactor
from nbopt.optim.adagrad import Adagrad
from nbopt.optim.adam import Adam
from nbopt.optim.adamax import Adamax
from nbopt.optim.adamw import AdamW
from nbopt.optim.asgd import ASGD
from nbopt.optim.checkpoint import load, save
from nbopt.optim.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.hooks import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from nbopt.optim.lbfgs import LBFGS
from nbopt.optim.muon import Muon
from nbopt.optim.nadam import NAdam
from nbopt.optim.optimizer import Optimizer
from nbopt.optim.parameter import Parameter
from nbopt.optim.radam import RAdam
from nbopt.optim.rmsprop import RMSprop
from nbopt.optim.rprop import Rprop
from nbopt.optim.sgd import SGD
from nbopt.optim.sparse_adam import SparseAdam
from nbopt.solvers import methods
from nbopt.solvers.in_compiled_code import compile
from nbopt.solvers.minimize import minimize
from nbopt.solvers.plot_convergence import plot_convergence

__version__ = "0.1.0"
__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ElementwiseOptimizer",
    "FitResult",
    "Muon",
    "NAdam",
    "Optimizer",
    "Parameter",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "check_grad",
    "clip_grad_norm_",
    "clip_grad_value_",
    "compile",
    "cuda",
    "curve_fit",
    "fit",
    "get_num_threads",
    "get_total_norm",
    "jacobian",
    "least_squares",
    "load",
    "lr_scheduler",
    "methods",
    "minimize",
    "plot_convergence",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "save",
    "set_num_threads",
    "swa_utils",
    "value_and_grad",
    "wolfe_search",
]
