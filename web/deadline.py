"""A webhook's handler ends within 25 s whatever it waits for: a body that does not come, or PostgreSQL.

The sender gets 503 and repeats; nothing was stored, because storing is the last thing a handler does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import gevent
from flask import request

from tenure.errors import Unavailable
from tenure.kit.logging import get_logger
from web.offload import is_gevent

log = get_logger(__name__)
HANDLER_S: Final = 25.0


@contextmanager
def webhook_deadline() -> Iterator[None]:
    """The block ends within 25 s. Raises Unavailable when it had to be ended.

    Without an event loop (flask run) the limits of PostgreSQL's connections alone hold.
    """
    timeout = gevent.Timeout(HANDLER_S) if is_gevent() else None
    if timeout is not None:
        timeout.start()
    try:
        yield
    except gevent.Timeout as over:
        if over is not timeout:
            raise
        log.warning("WEBHOOK_HANDLER_TIMEOUT", path=request.path, limit_s=HANDLER_S)
        raise Unavailable("this took too long and nothing was stored: send it again") from None
    finally:
        if timeout is not None:
            timeout.close()
