"""Tenure's core: subscriptions, payments, notices, access, and the iterations that move them.

The core knows no Celery and no Flask; `tasks` and `web` are thin shells around it.
"""

__version__ = "0.1.0"
