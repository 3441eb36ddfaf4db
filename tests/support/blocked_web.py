"""The web application with a route that blocks the process's loop: for gunicorn."""

from __future__ import annotations

from gevent import monkey

from web.application import Application
from web.application import create_app as create


def block_the_loop() -> str:
    monkey.get_original("time", "sleep")(600)
    return "unreached"


def create_app() -> Application:
    app = create()
    app.add_url_rule("/livez/block", "block", block_the_loop)
    return app
