"""The look of all figures: one colour per library, light grids, small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {
    "nbopt": "#c2410c",
    "nbopt, Python fun": "#fb923c",
    "torch fused": "#1d4ed8",
    "torch foreach": "#60a5fa",
    "torch default": "#94a3b8",
    "scipy": "#0f766e",
    "scipy, Python fun": "#5eead4",
    "limit": "#111827",
}

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 110,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e5e7eb",
        "grid.linewidth": 0.7,
        "legend.frameon": False,
    }
)


def save(figure: Any, folder: Path, name: str, alt: str) -> str:
    """Save a figure as ``name``.png and return the Markdown that shows it."""
    figure.savefig(folder / f"{name}.png", bbox_inches="tight")
    plt.close(figure)
    return f"![{alt}]({name}.png)"
