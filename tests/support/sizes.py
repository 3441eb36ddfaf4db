"""How large a storm is: short by default, long by `just storm`."""

from __future__ import annotations

import os


def size(name: str, short: int) -> int:
    """The value of `STORM_<NAME>`, else the short one."""
    return int(os.environ.get(f"STORM_{name.upper()}", short))


def tell(figures: str) -> None:
    """Show a storm's figures where `-s` or a failure shows them."""
    print(figures)  # noqa: T201 - the storm's result
