"""`python -m bench [--quick] [NAME ...]`: run the benchmarks on throw-away servers."""

from __future__ import annotations

import argparse

from bench import api, delivery, iterations, lateness, live, relay, verify
from bench.machine import describe

_ALL = {
    "iterations": iterations.main,
    "lateness": lateness.main,
    "relay": relay.main,
    "verify": verify.main,
    "live": live.main,
    "delivery": delivery.main,
    "api": api.main,
}


def run() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure. See bench/README.md.")
    parser.add_argument("name", nargs="*", help=f"which ones, of {', '.join(_ALL)}; all when none is named")
    parser.add_argument("--quick", action="store_true", help="the short form: shows that everything runs")
    given = parser.parse_args()
    if unknown := [name for name in given.name if name not in _ALL]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(_ALL)}")
    print(describe())
    for name in given.name or _ALL:
        _ALL[name](quick=given.quick)


if __name__ == "__main__":
    run()
