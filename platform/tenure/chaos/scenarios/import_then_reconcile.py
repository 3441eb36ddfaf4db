"""Customers of an older system are imported, twice without harm, and each is switched as they should be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.kit.times import rfc3339

_ACTIVE: Final = 40
_EXPIRED: Final = 10
_HEADER: Final = "external_id,email,telegram_chat_id,plan_code,status,period_start,period_end,auto_renew"


def _rows(story: Story) -> list[str]:
    now = story.now()
    rows = []
    for number in range(_ACTIVE + _EXPIRED):
        status, ends = ("active", 20) if number < _ACTIVE else ("expired", -5)
        start, end = (rfc3339(now + timedelta(days=days)) for days in (ends - 30, ends))
        who = f"{story.external_id}-{number}"
        rows.append(f"{who},{who}@example.com,,{story.plan_code},{status},{start},{end},false")
    return rows


def _import(story: Story) -> dict[str, Any]:
    file = story.stack.folder / f"{story.external_id}.csv"
    if not file.exists():
        file.write_text("\n".join([_HEADER, *_rows(story)]) + "\n", encoding="utf-8")
    done: dict[str, Any] = story.stack.command("import", str(file), "--json").json()
    return {name: done[name] for name in ("rows", "created", "updated", "unchanged", "errors")}


def _accounts(story: Story) -> dict[str, int]:
    accounts = story.stack.outside.provisioner.accounts.values()
    ours = [one for one in accounts if one["customer"]["external_id"].startswith(f"{story.external_id}-")]
    return {
        "on": sum(account["enabled"] for account in ours),
        "off": sum(not account["enabled"] for account in ours),
    }


def is_imported(story: Story) -> Told:
    """A clean file is imported whole."""
    story.make_plan(grace_hours=72)
    rows = _ACTIVE + _EXPIRED
    return Told({"rows": rows, "created": rows, "updated": 0, "unchanged": 0, "errors": []}, _import(story))


def again(story: Story) -> Told:
    """The same file once more changes nothing."""
    rows = _ACTIVE + _EXPIRED
    return Told({"rows": rows, "created": 0, "updated": 0, "unchanged": rows, "errors": []}, _import(story))


def is_reconciled(story: Story) -> Told:
    """The provisioner is told of every account: the active are on, the expired off."""
    expected = {"on": _ACTIVE, "off": _EXPIRED}
    return story.awaits(expected, lambda: _accounts(story))


def nobody_is_written_to(story: Story) -> Told:
    """Nobody gets a mail because they were imported."""
    story.run("notices")
    ours = f"{story.external_id}-"
    mails = sum(mail["to"][0].startswith(ours) for mail in story.stack.outside.mailbox.mails)
    return Told({"mails": 0}, {"mails": mails})


SCENARIO = Scenario(
    "import-then-reconcile",
    (__doc__ or "").rstrip("."),
    (is_imported, again, is_reconciled, nobody_is_written_to),
)
