"""The process of one peer: builds cases and times blocks of them, as it is told line by line."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from validation.timing import Case, time_block


def _find(path: str) -> Any:
    """Return the function that ``module:name`` names."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def answer(request: dict[str, Any], cases: dict[str, Case]) -> Any:
    """Do what one request asks: build a case, time it, drop all cases, or just call a function."""
    match request["do"]:
        case "build":
            cases[request["key"]] = _find(request["function"])(**request["given"])
            cases[request["key"]].prepare and cases[request["key"]].prepare()  # type: ignore[misc]
            cases[request["key"]].call()
            return True
        case "time":
            return time_block(cases[request["key"]], request["seconds"])
        case "drop":
            cases.clear()
            return True
        case "call":
            return _find(request["function"])(**request["given"])
    raise ValueError(f"unknown request {request!r}")


def main() -> None:
    """Answer one line of JSON for each line read, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a peer prints must not look like an answer
    cases: dict[str, Case] = {}
    for line in sys.stdin:
        try:
            reply = {"answer": answer(json.loads(line), cases)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
