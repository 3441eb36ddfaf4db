"""The web shell: HTTP API, console, live layer; `create_app` is what gunicorn and `flask --app web` call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenure.settings import Settings
    from web.application import Application


def create_app(settings: Settings | None = None) -> Application:
    """The application for these settings, or for those of the environment and the running stack."""
    # Imported here, so that a part of this package can be read without settings (as docs/generate.py does).
    from web.application import create_app as made

    return made(settings)
