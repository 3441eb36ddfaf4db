"""The web shell: HTTP API, console, live layer; `create_app` is what gunicorn and `flask --app web` call."""

from web.application import create_app

__all__ = ["create_app"]
