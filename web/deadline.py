"""Nobody holds a request open by sending slowly.

A webhook's handler ends within 25 s whatever it waits for: a body that does not come, or PostgreSQL. The
sender gets 503 and repeats; nothing was stored, because storing is the last thing a handler does. The body of
any other request has to be there within 20 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import gevent
from flask import request

from tenure.errors import TenureError, Unavailable
from tenure.kit.logging import get_logger
from web.offload import is_gevent

log = get_logger(__name__)
HANDLER_S: Final = 25.0
BODY_S: Final = 20.0


class TooSlow(TenureError):
    """The body did not arrive in time."""

    code = "request_timeout"
    status = 408


@contextmanager
def webhook_deadline() -> Iterator[None]:
    """The block ends within 25 s. Raises Unavailable when it had to be ended."""
    with _ended_after(HANDLER_S) as over:
        yield
    if over:
        log.warning("WEBHOOK_HANDLER_TIMEOUT", path=request.path, limit_s=HANDLER_S)
        raise Unavailable("this took too long and nothing was stored: send it again")


@contextmanager
def body_deadline() -> Iterator[None]:
    """The block, which reads a body, ends within 20 s. Raises TooSlow when it had to be ended."""
    with _ended_after(BODY_S) as over:
        yield
    if over:
        raise TooSlow


@contextmanager
def _ended_after(seconds: float) -> Iterator[list[bool]]:
    """The block is ended when the time is up; the list then holds something.

    Without an event loop (flask run) the limits of PostgreSQL's connections alone hold.
    """
    over: list[bool] = []
    timeout = gevent.Timeout(seconds) if is_gevent() else None
    if timeout is not None:
        timeout.start()
    try:
        yield over
    except gevent.Timeout as ended:
        if ended is not timeout:
            raise
        over.append(True)
    finally:
        if timeout is not None:
            timeout.close()
