"""Flower's settings: `celery -A tasks flower` finds them by this name.

It is a microscope, not the record: it keeps few tasks, changes nothing, and is reached through the web role's
proxy. Where it runs on another host, TENURE_FLOWER_URL says so to both sides, password included.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from tasks.door import settings

url_prefix = "flower"
read_only = True
max_tasks = 1000  # what it keeps in memory; the ledger has the rest
natural_time = False

if settings.flower_url is not None:
    _parts = urlsplit(settings.flower_url.get_secret_value())
    basic_auth = [f"{unquote(_parts.username or '')}:{unquote(_parts.password or '')}"]
