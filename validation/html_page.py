"""The report as one page for a browser: the Markdown rendered, the plots inside, verdicts in colour."""

from __future__ import annotations

import base64
import importlib.util
import re
from pathlib import Path

STYLE = """
:root { --ink: #1f2937; --line: #e5e7eb; --red: #c2410c; --green: #0f766e; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: var(--ink); margin: 0 auto;
       max-width: 1100px; padding: 1.5rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--line); }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: #f3f4f6; } tr:hover td { background: #fafafa; }
code { background: #f3f4f6; padding: 0 .25em; border-radius: 3px; font-size: .9em; }
img { max-width: 100%; } .toc { column-width: 20rem; font-size: 14px; }
td:nth-child(5):last-child, th:nth-child(5):last-child { text-align: left !important; }
.met { color: var(--green); } .missed { color: var(--red); }
"""


def write(report: Path) -> Path | None:
    """Write the page beside a Markdown report and return its path; None where `markdown` is missing."""
    if importlib.util.find_spec("markdown") is None:
        return None
    page = report.with_suffix(".html")
    page.write_text(render(report.read_text(encoding="utf-8"), report.parent), encoding="utf-8")
    return page


def render(text: str, folder: Path) -> str:
    """Return a page of its own from Markdown; pictures are taken from ``folder`` into it."""
    import markdown

    title = text.split("\n", 1)[0].lstrip("# ")
    text = re.sub(r"^(# .*)$", r"\1\n\n[TOC]", text, count=1, flags=re.MULTILINE)
    settings = {"toc": {"toc_depth": "2-2"}}
    body = markdown.markdown(text, extensions=["tables", "toc", "sane_lists"], extension_configs=settings)
    body = re.sub(r'src="([^":]+\.png)"', lambda found: f'src="{_inside(folder / found[1])}"', body)
    body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    body = re.sub(r"(<td[^>]*)>met<", r'\1><span class="met">met</span><', body)
    body = body.replace("<strong>missed", '<strong class="missed">missed')
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return f'<!doctype html><html lang="en"><head>{head}<title>{title}</title><style>{STYLE}</style></head><body>\n{body}\n</body></html>\n'  # fmt: skip  # noqa: E501


def _inside(picture: Path) -> str:
    """Return a picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
