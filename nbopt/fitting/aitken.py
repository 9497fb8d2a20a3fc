"""Gauss-Newton steps made longer by what the last two have shown of their convergence."""

from __future__ import annotations

from nbopt.fitting.workspace import BLIND, CUT, DAMPING, DELTA, LENGTH, PREDICTED, PREVIOUS, STRETCH, D, S
from nbopt.kernels.compile import compiled


@compiled(inline=True)
def stretch(lines, numbers, counts):
    """Lengthen a Gauss-Newton step by what the last ones have shown of their convergence.

    They converge linearly: where a step is mu times the last one, which was stretched by a, the error
    along both is gone after 1/(1 - mu) times a (Aitken's process).
    """
    s, last, stretch = lines[S], lines[PREVIOUS], 1.0
    if numbers[STRETCH] > 0.0 and numbers[DAMPING] == 0.0 and counts[CUT] == 0:
        both, old, new = 0.0, 0.0, 0.0
        for i in range(s.size):
            square = lines[D, i] * lines[D, i]
            both += square * s[i] * last[i]
            old += square * last[i] * last[i]
            new += square * s[i] * s[i]
        if both * both > 0.8 * old * new and abs(both) < 0.7 * old:
            stretch = min(max(numbers[STRETCH] / (1.0 - both / old), 0.5), 2.0)
    if counts[BLIND] == 0 and stretch * numbers[LENGTH] > numbers[DELTA]:
        stretch = 1.0
    numbers[STRETCH] = stretch if numbers[DAMPING] == 0.0 else 0.0
    numbers[PREDICTED] *= stretch * (2.0 - stretch)
    numbers[LENGTH] *= stretch
    for i in range(s.size):
        last[i] = s[i]
        s[i] *= stretch
