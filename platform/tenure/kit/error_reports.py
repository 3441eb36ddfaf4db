"""Errors told to Sentry: off without a DSN, and only where the extra `tenure[sentry]` is installed."""

from __future__ import annotations

from pydantic import SecretStr

from tenure.errors import BadSettings, FieldError
from tenure.kit.logging import on_errors


def report_errors(dsn: SecretStr | None, *, environment: str) -> None:
    """Every line that this process logs as an error is told from now on, once however often this is called.

    Without a DSN nothing happens. Raises BadSettings when the package that speaks to Sentry is not installed.
    """
    if dsn is None:
        return
    try:
        from tenure.kit.sentry import Reporter  # it needs the extra
    except ModuleNotFoundError:
        name, text = "TENURE_SENTRY_DSN", "needs the extra: pip install 'tenure[sentry]'"
        raise BadSettings(f"{name}: {text}", errors=[FieldError(name, "not_installed", text)]) from None
    on_errors(Reporter(dsn.get_secret_value(), environment=environment).report)
