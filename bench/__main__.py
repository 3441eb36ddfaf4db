"""`python -m bench [--quick] [NAME ...]`: run the benchmarks on throw-away servers."""

from __future__ import annotations

import sys

from bench import api, delivery, iterations, live, relay
from bench.machine import describe

_ALL = {
    "iterations": iterations.main,
    "relay": relay.main,
    "live": live.main,
    "delivery": delivery.main,
    "api": api.main,
}


def run() -> None:
    """Run the named benchmarks, or all."""
    words = sys.argv[1:]
    quick = "--quick" in words
    names = [word for word in words if not word.startswith("--")] or list(_ALL)
    print(describe())
    for name in names:
        _ALL[name](quick=quick)


run()
