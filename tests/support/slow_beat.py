"""Beat whose statements have no time limits, so that a lock can really hold its tick: run as a script."""

from __future__ import annotations

import sys
from typing import Any

from celery.__main__ import main

from tenure.kit import db

bounded = db.conninfo


def unbounded(url: str, **given: Any) -> str:
    return bounded(
        url, **{**given, "statement_timeout_s": 0, "lock_timeout_s": 0, "idle_in_transaction_s": 0}
    )


if __name__ == "__main__":
    db.conninfo = unbounded
    sys.argv = ["celery", "-A", "tasks", "beat", "--pidfile="]
    sys.exit(main())
