"""The composition root: what the settings name, built once for a process and handed to those who need it."""

from __future__ import annotations

from dataclasses import dataclass

from tenure.kit.db import Database
from tenure.settings import Settings


@dataclass(slots=True)
class Deps:
    """What jobs are given beside their run."""

    settings: Settings
    db: Database


def build(settings: Settings, *, pool_size: int, application: str) -> Deps:
    """Everything lazily: nothing connects before it is used."""
    return Deps(
        settings=settings,
        db=Database(settings.require_database_url(), pool_size=pool_size, application=application),
    )
