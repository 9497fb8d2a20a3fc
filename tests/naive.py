"""Witnesses: each optimizer written again in NumPy, straight from its paper, slow and obvious.

Each takes the first parameter, a list of gradients (None: no gradient at that step) and options, and
returns the parameter after all steps. Arithmetic stays in the parameter's dtype; scalars are float64.
"""

import math

import numpy as np


def _signed(grads, maximize):
    return [g if g is None or not maximize else -g for g in grads if g is not None]


def sgd(p, grads, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    buf = None
    for g in _signed(grads, maximize):
        g = g + weight_decay * p
        if momentum:
            buf = g if buf is None else momentum * buf + (1 - dampening) * g
            g = g + momentum * buf if nesterov else buf
        p = p - lr * g
    return p


def adam(
    p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, maximize=False,
    decoupled_weight_decay=False,
):  # fmt: skip
    m, v, top = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    b1, b2 = betas
    for t, g in enumerate(_signed(grads, maximize), 1):
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        top = np.maximum(top, v)
        vhat = (top if amsgrad else v) / (1 - b2**t)
        p = p - lr * (m / (1 - b1**t)) / (np.sqrt(vhat) + eps)
    return p


def adamw(p, grads, weight_decay=1e-2, **options):
    return adam(p, grads, weight_decay=weight_decay, decoupled_weight_decay=True, **options)


def adamax(p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, maximize=False):
    m, u = np.zeros_like(p), np.zeros_like(p)
    b1, b2 = betas
    for t, g in enumerate(_signed(grads, maximize), 1):
        g = g + weight_decay * p
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + eps)
        p = p - lr / (1 - b1**t) * m / u
    return p


def nadam(
    p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
    decoupled_weight_decay=False, maximize=False,
):  # fmt: skip
    m, v, product = np.zeros_like(p), np.zeros_like(p), 1.0
    b1, b2 = betas
    for t, g in enumerate(_signed(grads, maximize), 1):
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        mu, after = (b1 * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
        product *= mu
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        mhat = after * m / (1 - product * after) + (1 - mu) * g / (1 - product)
        p = p - lr * mhat / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


def radam(
    p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False,
    maximize=False,
):  # fmt: skip
    m, v = np.zeros_like(p), np.zeros_like(p)
    b1, b2 = betas
    longest = 2 / (1 - b2) - 1
    for t, g in enumerate(_signed(grads, maximize), 1):
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        mhat = m / (1 - b1**t)
        r = longest - 2 * t * b2**t / (1 - b2**t)
        if r > 5:
            rect = math.sqrt((r - 4) * (r - 2) * longest / ((longest - 4) * (longest - 2) * r))
            p = p - lr * rect * mhat * math.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
        else:
            p = p - lr * mhat
    return p


def rmsprop(
    p, grads, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, maximize=False
):
    square, mean, buf = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for g in _signed(grads, maximize):
        g = g + weight_decay * p
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        scaled = g / (np.sqrt(square - mean**2 if centered else square) + eps)
        buf = momentum * buf + scaled
        p = p - lr * buf
    return p


def adagrad(
    p, grads, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, maximize=False
):
    total = np.full_like(p, initial_accumulator_value)
    for t, g in enumerate(_signed(grads, maximize)):
        g = g + weight_decay * p
        total = total + g**2
        p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(total) + eps)
    return p


def adadelta(p, grads, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, maximize=False):
    square, steps = np.zeros_like(p), np.zeros_like(p)
    for g in _signed(grads, maximize):
        g = g + weight_decay * p
        square = rho * square + (1 - rho) * g**2
        d = np.sqrt(steps + eps) / np.sqrt(square + eps) * g
        steps = rho * steps + (1 - rho) * d**2
        p = p - lr * d
    return p


def asgd(p, grads, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, maximize=False):
    eta = lr
    for t, g in enumerate(_signed(grads, maximize), 1):
        g = g + weight_decay * p
        p = p * (1 - lambd * eta) - eta * g
        eta = lr / (1 + lambd * lr * t) ** alpha
    return p


def rprop(p, grads, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), maximize=False):
    previous, size = np.zeros_like(p), np.full_like(p, lr)
    for g in _signed(grads, maximize):
        trend = np.sign(g * previous)
        factor = np.where(trend > 0, etas[1], np.where(trend < 0, etas[0], 1.0)).astype(p.dtype)
        size = np.clip(size * factor, *step_sizes)
        g = np.where(trend < 0, 0, g).astype(p.dtype)
        p = p - np.sign(g) * size
        previous = g
    return p


def sparse_adam(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
    """Rows: each gradient is (indices, values); a row listed twice gets the sum."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    b1, b2 = betas
    p = p.copy()
    for t, (index, values) in enumerate(grads, 1):
        g = np.zeros_like(p)
        np.add.at(g, index, -values if maximize else values)
        rows = np.unique(index)
        m[rows] = b1 * m[rows] + (1 - b1) * g[rows]
        v[rows] = b2 * v[rows] + (1 - b2) * g[rows] ** 2
        p[rows] -= lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m[rows] / (np.sqrt(v[rows]) + eps)
    return p
