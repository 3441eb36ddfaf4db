"""Import subscriptions from a CSV file: all of it, or what is right of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Final

from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.imports import staging
from tenure.imports.carry_out import carry_out
from tenure.imports.reading import Entry, entries
from tenure.imports.rules import Checked, Problem, check
from tenure.kit.db import Database

# Checked and copied together: few enough to be nothing in memory.
_CHUNK: Final = 2000


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import. `partial` writes the rows that are right although others are wrong."""

    dry_run: bool = False
    partial: bool = False
    assume_provisioned: bool = False


@dataclass(slots=True)
class Report:
    """What an import did, or would do. Rows are counted by what became of them."""

    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[Problem] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "created": self.created,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "errors": [error.as_dict() for error in self.errors],
        }


def import_file(
    db: Database,
    file: BinaryIO,
    *,
    name: str,
    options: ImportOptions,
    actor: Actor,
    on_progress: Callable[[], None] = lambda: None,
) -> Report:
    """Read the file once and write in one transaction.

    Nothing is written when there is an error (unless `partial`) or with `dry_run`; the report is the same
    then as it would be otherwise. `on_progress` is called after each piece of the file. Raises Conflict while
    another import runs.
    """
    report = Report()
    with db.transaction() as session:
        plans = staging.begin(session)
        for chunk in _chunks(entries(file)):
            _take(session, chunk, plans, report)
            on_progress()
        report.errors += staging.cross_check(session)
        report.errors.sort(key=lambda error: error.line)
        if report.errors and not options.partial:
            return report
        counts = staging.compare(session, lock=not options.dry_run)
        report.created, report.updated, report.unchanged = (
            counts.get(change, 0) for change in ("created", "updated", "unchanged")
        )
        if not options.dry_run:
            _write(session, report, options, name, actor)
    return report


def _chunks(found: Iterator[Entry]) -> Iterator[list[Entry]]:
    while chunk := list(islice(found, _CHUNK)):
        yield chunk


def _take(session: Session, chunk: Iterable[Entry], plans: frozenset[str], report: Report) -> None:
    checked: list[Checked] = []
    for entry in chunk:
        if isinstance(entry, Problem):
            report.errors.append(entry)
            report.rows += entry.code in {"not_utf8", "bad_csv"} and entry.line > 1  # the header is no row
            continue
        one = check(*entry, plans)
        report.rows += 1
        report.errors += one.problems
        checked.append(one)
    staging.stage(session, checked)


def _write(session: Session, report: Report, options: ImportOptions, name: str, actor: Actor) -> None:
    carry_out(
        session,
        created=report.created,
        updated=report.updated,
        assume_provisioned=options.assume_provisioned,
    )
    record(
        session,
        actor=actor,
        action="import",
        object_=f"file:{name}",
        after={
            "rows": report.rows,
            "created": report.created,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "errors": len(report.errors),
            "partial": options.partial,
            "assume_provisioned": options.assume_provisioned,
        },
    )
