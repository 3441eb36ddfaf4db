"""CPU-heavy calls leave the event loop: under gevent they run in its pool of real threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent import monkey

T = TypeVar("T")


def is_gevent() -> bool:
    """Whether this process runs on gevent's loop."""
    return bool(monkey.is_module_patched("socket"))


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call in a real thread when there is a loop to keep free, else right here."""
    if not is_gevent():
        return function(*arguments)
    result: T = gevent.get_hub().threadpool.apply(function, arguments)
    return result
