"""The Celery app."""

from __future__ import annotations

from celery import Celery

app = Celery("tenure", config_source="celeryconfig")
