"""Tenure's shell around Celery: the app, beat's scheduler, and thin tasks that call the core.

`celery -A tasks worker|beat|flower` find the app here.
"""

from tasks import alerting, canary, signals, sleep
from tasks.app import app

__all__ = ["alerting", "app", "canary", "signals", "sleep"]
