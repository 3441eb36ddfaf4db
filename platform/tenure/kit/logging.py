"""Logs: one JSON object a line, libraries' lines included, secrets masked.

The message is the event's name, everything else is a key. Context bound with `structlog.contextvars`
(iteration, request) is on every line in between.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

_MASK: Final = "***"
_SHORTEST_SECRET: Final = 6
_secrets: dict[str, str] = {}  # each with how it looks inside of a JSON string
_ERRORS: Final = ("error", "critical")
_listeners: list[Callable[[Mapping[str, Any]], None]] = []  # one at most
_as_json = json.JSONEncoder(default=str).encode


def mask_in_logs(values: Iterable[str]) -> None:
    """Replace these values wherever they would appear in a log line from now on."""
    _secrets.update((value, _as_json(value)[1:-1]) for value in values if len(value) >= _SHORTEST_SECRET)


def on_errors(listener: Callable[[Mapping[str, Any]], None]) -> None:
    """Tell the listener of every line of level error from now on: unmasked, with the exception as an object.

    There is one: another takes its place. It is called by whoever logs, so it must neither wait nor raise,
    nor log errors itself.
    """
    _listeners[:] = [listener]


def masked(text: str) -> str:
    """The text without any of the registered secrets."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, _MASK)
    return text


def _tell(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event["level"] in _ERRORS:
        for listener in _listeners:
            listener(dict(event))
    return event


def _render(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    # Contract: `ts level event ...`, in this order, so that a person can read a raw line.
    first = {"ts": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event")}
    line = _as_json({**first, **event})
    for secret in _secrets.values():  # in the whole line: a value may be a list, or an object of its own
        if secret in line:
            line = line.replace(secret, _MASK)
    return line


class _Lines:
    """Where our own loggers write to: the one handler's stream, under its lock."""

    def __init__(self, handler: logging.StreamHandler[TextIO], name: str) -> None:
        self.name = name  # read by `add_logger_name`
        self._handler = handler

    def msg(self, line: str) -> None:
        """Write one line. A full disk or a closed pipe never stops the work: the line is lost."""
        self._handler.acquire()  # re-entrant: a signal's handler may log too
        try:
            self._handler.stream.write(line + "\n")
            self._handler.stream.flush()
        except (OSError, ValueError):
            return
        finally:
            self._handler.release()

    debug = info = warning = error = critical = msg


def configure_logging(*, role: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every line of this process as JSON to standard error (or `stream`), marked with the role.

    Our own lines do not go through the standard library's logging: with it, the two records of a run cost as
    much as its two statements. Libraries' lines come through it and end in the same steps.
    """

    def add_role(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("role", role)
        return event

    gather: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_role,
        _tell,
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=gather,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("urllib3", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*gather, _render],
        logger_factory=functools.cache(functools.partial(_Lines, handler)),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=False,  # a process may configure again: a command after its bootstrap
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose calls read `log.info("event.name", key=value)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
