"""A worker whose event loop stands still once a file `block` lies in its data directory: run as a script."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import bootsteps
from celery.__main__ import main

from tasks.app import app


def block_the_loop() -> None:
    if (Path(os.environ["TENURE_DATA_DIR"]) / "block").exists():
        time.sleep(600)


class Blocking(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is untyped
    """Looks for the file at each half second."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def register_with_event_loop(self, _consumer: Any, hub: Any) -> None:
        hub.call_repeatedly(0.5, block_the_loop)


if __name__ == "__main__":
    app.steps["consumer"].add(Blocking)
    options = ["-Q", "default", "-c", "1", "--without-gossip", "--without-mingle"]
    sys.argv = ["celery", "-A", "tasks", "worker", *options]
    sys.exit(main())
