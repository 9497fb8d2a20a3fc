"""nbopt: a Numba-JIT optimization toolkit for scientists."""

from nbopt.kernels.launcher import get_num_threads, set_num_threads
from nbopt.optim.adam import Adam
from nbopt.optim.adamw import AdamW
from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.hooks import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from nbopt.optim.optimizer import Optimizer
from nbopt.optim.parameter import Parameter
from nbopt.optim.sgd import SGD

__version__ = "0.1.0"
__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ElementwiseOptimizer",
    "Optimizer",
    "Parameter",
    "get_num_threads",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "set_num_threads",
]
