"""Witnesses of Adafactor and Muon: written again in NumPy, straight from their papers, slow and obvious.

As those in tests/naive.py they take the first parameter, gradients (None: none at that step) and
options, and return the parameter after all steps.
"""

import numpy as np


def rms(a):
    return np.sqrt(np.mean(a**2))


def adafactor(p, grads, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, maximize=False):
    eps1 = np.finfo(p.dtype).eps if eps[0] is None else eps[0]
    rows = columns = v = 0.0
    for t, g in enumerate([g for g in grads if g is not None], 1):
        beta2 = 1 - t**beta2_decay
        alpha = max(eps[1], rms(p)) * min(lr, 1 / np.sqrt(t))
        squares = g**2
        if p.ndim > 1:
            rows = beta2 * rows + (1 - beta2) * np.mean(squares, axis=-1, keepdims=True)
            columns = beta2 * columns + (1 - beta2) * np.mean(squares, axis=-2, keepdims=True)
            v = rows * columns / np.maximum(np.mean(rows, axis=-2, keepdims=True), eps1)
        else:
            v = beta2 * v + (1 - beta2) * squares
        u = g / np.maximum(np.sqrt(v), eps1)
        u = u / max(1.0, rms(u) / d)
        p = p * (1 - lr * weight_decay) + alpha * (u if maximize else -u)
    return p.astype(grads[0].dtype)


def newton_schulz(x, coefficients, eps, steps):
    a, b, c = coefficients
    if x.shape[0] > x.shape[1]:
        return newton_schulz(x.T, coefficients, eps, steps).T
    x = x / max(np.linalg.norm(x), eps)
    for _ in range(steps):
        A = x @ x.T
        x = a * x + b * A @ x + c * A @ A @ x
    return x


def muon(
    p, grads, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True,
    ns_coefficients=(3.4445, -4.775, 2.0315), eps=1e-7, ns_steps=5, adjust_lr_fn=None,
):  # fmt: skip
    n, m = p.shape
    ratio = 0.2 * np.sqrt(max(n, m)) if adjust_lr_fn == "match_rms_adamw" else np.sqrt(max(1, n / m))
    mean = np.zeros_like(p)
    for g in grads:
        if g is None:
            continue
        mean = momentum * mean + (1 - momentum) * g
        ahead = (1 - momentum) * g + momentum * mean if nesterov else mean
        p = p * (1 - lr * weight_decay) - lr * ratio * newton_schulz(ahead, ns_coefficients, eps, ns_steps)
    return p.astype(grads[0].dtype)
