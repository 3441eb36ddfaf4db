"""Tenure's shell around Celery: the app, beat's scheduler, and thin tasks that call the core.

`celery -A tasks worker|beat|flower` find the app here.
"""

from tasks import (
    alerting,
    canary,
    notices,
    payments,
    provisioning,
    retention,
    signals,
    sleep,
    subscriptions,
    verify,
    webhooks,
)
from tasks.app import app

__all__ = [
    "alerting",
    "app",
    "canary",
    "notices",
    "payments",
    "provisioning",
    "retention",
    "signals",
    "sleep",
    "subscriptions",
    "verify",
    "webhooks",
]
