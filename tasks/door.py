"""The door at which Celery's processes read the settings: once, and with exit code 2 when they are wrong."""

from __future__ import annotations

import sys
from typing import Final

from tenure import settings as settings_module
from tenure.errors import BadSettings
from tenure.iterations.catalog import catalog
from tenure.kit.error_reports import report_errors
from tenure.kit.logging import mask_in_logs

try:
    settings: Final = settings_module.load()
    settings.require_database_url()
    settings.require_broker_url()
    jobs: Final = catalog(settings)
    report_errors(settings.sentry_dsn, environment=settings.env)
except BadSettings as error:
    sys.stderr.write(f"tenure: {error.message}\n")
    sys.exit(error.exit_code)

mask_in_logs(settings.secrets())
