"""Which process a target's name means now."""

from __future__ import annotations

from typing import Final

from tenure.chaos.field import Field
from tenure.embedded.process import Identity

# `child` is any child of a worker's pool; the others are roles, whose process is the parent of its kind.
CHILD: Final = "child"
_WORKERS: Final = ("worker", "worker-payments")


def find(field: Field, target: str) -> Identity | None:
    """The process that the target names, if there is one now."""
    if target != CHILD:
        return field.stack.identity(target)
    workers = [name for name in _WORKERS if field.stack.identity(name) is not None]
    children = [child for name in workers for child in field.stack.children(name) if child.alive]
    return field.dice.choice(children) if children else None


def first_there(field: Field, targets: tuple[str, ...]) -> tuple[str, Identity] | None:
    """The first of the targets that has a process; waits until one has."""

    def there() -> tuple[str, Identity] | None:
        for target in targets:
            if (found := find(field, target)) is not None:
                return target, found
        return None

    return field.until(there)
