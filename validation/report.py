"""What a section hands over, and how the sections become one Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from validation.budgets import BUDGETS, Measured


@dataclass
class Section:
    """One part of the report.

    ``blocks`` are Markdown paragraphs, ``measured`` values by the key of their budget, ``losses``
    sentences for the list "Where we lose", ``missing`` what was not measured and why.
    """

    title: str
    blocks: list[str] = field(default_factory=list)
    measured: dict[str, Measured] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def worst(
        self, key: str, values: dict[str, float], largest: bool = False, why: dict[str, str] | None = None
    ) -> None:
        """Hold the worst of several values against a budget, and say which it was and why."""
        if values:
            name = (max if largest else min)(values, key=lambda k: values[k])
            self.measured[key] = Measured(
                values[name], name if len(values) > 1 else "", (why or {}).get(name, "")
            )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first stand right."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def span(seconds: float) -> str:
    """Write a time with its unit, three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-9)} ns"


def times(value: float) -> str:
    """Write a ratio."""
    return f"{_digits(value)}x"


def _digits(value: float) -> str:
    """Write a number with three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def count(n: int) -> str:
    """Write a size: 20 000 000 as 2e7."""
    if n < 1000:
        return str(n)
    mantissa, exponent = f"{n:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def budget_table(sections: Sequence[Section]) -> str:
    """Return the table of budgets: what was asked, what was measured, and why if it misses."""
    rows = []
    for budget in BUDGETS:
        values = [s.measured[budget.key] for s in sections if budget.key in s.measured]
        found = (max if budget.at_most else min)(values, key=lambda m: m.value, default=None)
        if found is None:
            rows.append([budget.what, budget.limit_text, "not measured in this run", "", ""])
            continue
        met = budget.met(found.value)
        where = f" ({found.where})" if found.where else ""
        verdict = "met" if met else f"**missed by {budget.short(found.value)}**"
        reason = "; ".join(filter(None, (found.why, budget.cause))) or "not looked into yet"
        rows.append([budget.what, budget.limit_text, budget.show(found.value) + where, verdict,
                     "" if met else reason])  # fmt: skip
    return table(["what", "budget", "measured (worst case)", "", "why"], rows)


def write(folder: Path, head: list[str], sections: Sequence[Section]) -> Path:
    """Write report.md: budgets first, then where we lose, then the sections."""
    losses = [f"- {line}" for s in sections for line in s.losses]
    missing = [f"- {line}" for s in sections for line in s.missing]
    blocks = [*head, "## Budgets", budget_table(sections), "## Where we lose"]
    blocks.append("\n".join(losses) or "In this run, nowhere that was measured.")
    if missing:
        blocks += ["## Not measured", "\n".join(missing)]
    for section in sections:
        blocks += [f"## {section.title}", *section.blocks]
    path = folder / "report.md"
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path
