"""Logistic regression on handwritten digits: Adam on small batches with a schedule, then LBFGS on all.

1797 pictures of 8 x 8 pixels (Alpaydin and Kaynak 1998, UCI repository), which scikit-learn brings.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from scipy.special import softmax
from sklearn.datasets import load_digits

import nbopt

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "plots"
pictures, labels = load_digits(return_X_y=True)
X = np.column_stack([pictures / 16, np.ones(1797)])[:1300]  # the last column bears the offsets
T = np.eye(10)[labels[:1300]]
W = nbopt.Parameter(np.zeros((65, 10)))


def loss_and_gradient(X, T):
    p = softmax(X @ W.data, axis=1)
    loss = -np.mean(np.log(np.sum(T * p, axis=1))) + 5e-4 * np.sum(W.data**2)  # small weights are better
    return loss, X.T @ (p - T) / len(X) + 1e-3 * W.data


def closure():
    loss, W.grad = loss_and_gradient(X, T)
    losses.append(loss)
    return loss


rng, losses, epochs = np.random.default_rng(0), [], 20
adam = nbopt.Adam([W], lr=0.05)
schedule = nbopt.lr_scheduler.OneCycleLR(adam, max_lr=0.05, total_steps=epochs * 26)
for _ in range(epochs):
    for batch in np.split(rng.permutation(1300), 26):
        W.grad = loss_and_gradient(X[batch], T[batch])[1]
        adam.step()
        schedule.step()
    closure()
nbopt.LBFGS([W], max_iter=200, tolerance_grad=1e-6, line_search_fn="strong_wolfe").step(closure)
guesses = np.argmax(pictures[1300:] / 16 @ W.data[:64] + W.data[64], axis=1)
print(f"Of 497 pictures it has never seen it reads {np.mean(guesses == labels[1300:]):.1%} rightly")
excess = np.array(losses) - min(losses) + 1e-12
fig = plt.figure(figsize=(10, 3.8), layout="constrained")
left, right = fig.subfigures(1, 2, width_ratios=(3, 5))
ax = left.subplots()
ax.semilogy(range(epochs), excess[:epochs], "o-", ms=4, color="#1d4ed8")
ax.semilogy(range(epochs, len(losses)), excess[epochs:], color="#c2410c", lw=2)
ax.set(title="Loss above its minimum", xlabel="epochs of Adam, then evaluations of LBFGS")
for digit, ax in enumerate(right.subplots(2, 5).flat):
    ax.imshow(W.data[:64, digit].reshape(8, 8), cmap="RdBu_r", vmin=-2, vmax=2)
    ax.set(xticks=[], yticks=[], title=digit)
right.suptitle("What speaks for a digit (red), what against it (blue)")
FOLDER.mkdir(exist_ok=True)
fig.savefig(FOLDER / "digits.png", dpi=110)
