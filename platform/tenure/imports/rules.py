"""What makes a row of an import valid. Pure: every problem of a row is named at once."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tenure.customers.rules import Details
from tenure.customers.rules import problems as customer_problems
from tenure.errors import Invalid
from tenure.kit.times import parse_moment

COLUMNS: Final = (
    "external_id",
    "email",
    "telegram_chat_id",
    "plan_code",
    "status",
    "period_start",
    "period_end",
    "auto_renew",
)
STATUSES: Final = ("trialing", "active", "past_due", "canceled", "expired")

_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", flags=re.ASCII
)
# Beyond these no period can be counted on; nobody sells access for longer.
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9000
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False, "": None}
# What a spreadsheet would take for a formula. Quotes before it are counted in, so that a guard can be told
# from a quote that belongs to the value.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the file. `column` is None when it concerns the whole line."""

    line: int
    column: str | None
    code: str
    message: str

    def as_dict(self) -> dict[str, int | str | None]:
        return {"line": self.line, "column": self.column, "code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Row:
    """A valid row. `auto_renew` None means: as the plan has it, or as it is."""

    external_id: str
    email: str | None
    telegram_chat_id: str | None
    plan_code: str
    status: str
    period_start: datetime
    period_end: datetime
    auto_renew: bool | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of one row of the file: its key when it has one, its values when all are valid."""

    line: int
    key: tuple[str, str] | None
    row: Row | None
    problems: tuple[Problem, ...]


def guarded(cell: str) -> str:
    """The cell as it is written to a file that people open with a spreadsheet: never a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguarded(cell: str) -> str:
    """The cell without the guard. `unguarded(guarded(x)) == x` for every text."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def header_problem(cells: Sequence[str]) -> Problem | None:
    """What is wrong with the first line."""
    if tuple(cell.strip() for cell in cells) == COLUMNS:
        return None
    missing = [name for name in COLUMNS if name not in cells]
    detail = f"; missing: {', '.join(missing)}" if missing else "; the order or the number differs"
    return Problem(1, None, "bad_header", f"the first line must be {','.join(COLUMNS)}{detail}")


def check(line: int, raw_cells: Sequence[str], plans: Container[str]) -> Checked:
    """Everything that is wrong with a row, or its values."""
    if len(raw_cells) != len(COLUMNS):
        message = f"{len(raw_cells)} columns instead of {len(COLUMNS)}"
        return Checked(line, None, None, (Problem(line, None, "wrong_column_count", message),))
    cells = dict(zip(COLUMNS, (unguarded(cell.strip()) for cell in raw_cells), strict=True))
    found = [*_name_problems(line, cells, plans)]
    # Only rows whose names are sound can be told apart from others.
    key = None if {one.column for one in found} & {"external_id", "plan_code"} else _key(cells)
    if cells["status"] not in STATUSES:
        message = f"{_shown(cells['status'])} is none of {', '.join(STATUSES)}"
        found.append(Problem(line, "status", "bad_status", message))
    start, end = _moment(cells["period_start"]), _moment(cells["period_end"])
    found += _period_problems(line, cells, start, end)
    if cells["auto_renew"].lower() not in _BOOLEANS:
        message = f"{_shown(cells['auto_renew'])} is neither true nor false"
        found.append(Problem(line, "auto_renew", "bad_boolean", message))
    if found or start is None or end is None:
        return Checked(line, key, None, tuple(found))
    row = Row(
        external_id=cells["external_id"],
        email=cells["email"] or None,
        telegram_chat_id=cells["telegram_chat_id"] or None,
        plan_code=cells["plan_code"],
        status=cells["status"],
        period_start=start,
        period_end=end,
        auto_renew=_BOOLEANS[cells["auto_renew"].lower()],
    )
    return Checked(line, key, row, ())


def _name_problems(line: int, cells: dict[str, str], plans: Container[str]) -> Iterator[Problem]:
    details = Details(cells["external_id"], cells["email"] or None, cells["telegram_chat_id"] or None)
    for error in customer_problems(details):
        message = f"{_shown(cells[error.field])}: {error.message}"
        yield Problem(line, error.field, f"bad_{error.field}", message)
    if cells["plan_code"] not in plans:
        yield Problem(line, "plan_code", "unknown_plan", f"there is no plan {_shown(cells['plan_code'])}")


def _period_problems(
    line: int, cells: dict[str, str], start: datetime | None, end: datetime | None
) -> Iterator[Problem]:
    for name, moment in (("period_start", start), ("period_end", end)):
        if moment is None:
            message = f"{_shown(cells[name])} is not a time such as 2026-01-31T12:00:00Z"
            yield Problem(line, name, "bad_time", message)
    if start is not None and end is not None and end <= start:
        yield Problem(line, "period_end", "period_order", "period_end must be after period_start")


def _key(cells: dict[str, str]) -> tuple[str, str]:
    return cells["external_id"], cells["plan_code"]


def _moment(text: str) -> datetime | None:
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        moment = parse_moment(text.upper(), field="time")
    except (Invalid, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= _SHOWN else cell[:_SHOWN] + "…")
