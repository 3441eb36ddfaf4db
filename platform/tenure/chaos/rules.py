"""The rules that what Tenure did is held against: the clients' history and the journals of the outside. Pure.

Each takes plain values and returns what breaks it; none of them asks anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tenure.chaos.finding import Finding
from tenure.chaos.history import Entry, Kind, outcomes

_EFFECTS: Final = {Kind.OK: (1, 1), Kind.FAIL: (0, 0), Kind.INFO: (0, 1)}
# The web may be away for a while (503); any other error of its own is an error that nobody handled.
_AWAY: Final = 503
_FIRST_OWN_ERROR: Final = 500
_REFUSED: Final = frozenset({401, 422})


def operations(entries: Sequence[Entry], effects: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    """`ok` had exactly one effect, `fail` none, `info` at most one.

    `effects` counts for each kind of operation, by key, what stands in the record; kinds that are not named
    there are not judged.
    """
    found = []
    for (f, key), kind in outcomes(entries).items():
        if f not in effects:
            continue
        least, most = _EFFECTS[kind]
        count = effects[f].get(key, 0)
        if not least <= count <= most:
            found.append(Finding(f"history.{f}", key, f"the client was told {kind.value}; {count} effects"))
    return found


def unasked(f: str, known: Iterable[str], effects: Mapping[str, int]) -> list[Finding]:
    """Nothing happened that nobody asked for."""
    asked = set(known)
    return [
        Finding(f"history.{f}", key, f"{count} effects that nobody asked for")
        for key, count in effects.items()
        if key not in asked
    ]


def answers(entries: Sequence[Entry]) -> list[Finding]:
    """No answer was an unhandled error."""
    found = []
    for entry in entries:
        status = entry.value.get("status") if isinstance(entry.value, dict) else None
        if isinstance(status, int) and status >= _FIRST_OWN_ERROR and status != _AWAY:
            found.append(Finding("answers", f"{entry.f} {entry.key}", f"answered {status}"))
    return found


def accounts(desired: Sequence[Mapping[str, Any]], actual: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Each account at the provisioner is what Tenure wants it to be, and there is no other.

    `desired` has `id, generation, enabled, access_until, plan`; generation 0 was never told.
    """
    found = []
    told = {row["id"]: row for row in desired if row["generation"] > 0}
    for id_, row in told.items():
        account = actual.get(id_)
        if account is None:
            found.append(Finding("provisioner.missing", id_, f"generation {row['generation']} is not there"))
            continue
        wanted = {name: row[name] for name in ("generation", "enabled", "access_until", "plan")}
        there = {name: account[name] for name in wanted}
        if there != wanted:
            found.append(Finding("provisioner.differs", id_, f"wanted {wanted}, there is {there}"))
    found += [
        Finding("provisioner.unknown", id_, "an account that Tenure does not know")
        for id_ in actual
        if id_ not in told
    ]
    return found


def calls(journal: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """The calls at the provisioner were well-formed, and each generation took effect once, in order."""
    found = []
    newest: dict[str, int] = {}
    for call in journal:
        if call["status"] in _REFUSED and call["fault"] is None:
            message = f"generation {call['generation']} was answered {call['status']}"
            found.append(Finding("provisioner.refused", call["account"], message))
        if not call["effect"]:
            continue
        if call["generation"] <= newest.get(call["account"], 0):
            message = f"generation {call['generation']} took effect after {newest[call['account']]}"
            found.append(Finding("provisioner.order", call["account"], message))
        newest[call["account"]] = max(newest.get(call["account"], 0), call["generation"])
    return found


def mails(notices: Sequence[Mapping[str, Any]], taken: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Each mail belongs to a notice; a sent notice was taken once, an unknown one at most, others never.

    A notice that must arrive may be taken again after an unknown try, under the same Message-ID. `notices`
    has `id, state, attempts, must_arrive` of those by e-mail, `taken` has `notice, message_id`.
    """
    found = []
    by_notice: dict[str, list[str]] = {}
    for mail in taken:
        by_notice.setdefault(str(mail["notice"]), []).append(str(mail["message_id"]))
    known = {str(row["id"]) for row in notices}
    found += [
        Finding("mail.unknown", notice, "a mail of no notice") for notice in by_notice if notice not in known
    ]
    for row in notices:
        ids = by_notice.get(str(row["id"]), [])
        least, most = _copies(row)
        if not least <= len(ids) <= most:
            found.append(Finding("mail.count", str(row["id"]), f"{row['state']}, and taken {len(ids)} times"))
        if len(set(ids)) > 1:
            found.append(Finding("mail.identity", str(row["id"]), "taken under different Message-IDs"))
    return found


def messages(notices: Sequence[Mapping[str, Any]], taken: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Each chat got as many messages as notices were sent to it, and at most the unknown ones more.

    `notices` has `chat, state` of those by Telegram, `taken` has `chat_id`.
    """
    sent = Counter(str(row["chat"]) for row in notices if row["state"] == "sent")
    unknown = Counter(str(row["chat"]) for row in notices if row["state"] in {"unknown", "sending"})
    got = Counter(str(message["chat_id"]) for message in taken)
    return [
        Finding("telegram.count", chat, f"got {got[chat]}; sent {sent[chat]}, unknown {unknown[chat]}")
        for chat in sorted({*sent, *unknown, *got})
        if not sent[chat] <= got[chat] <= sent[chat] + unknown[chat]
    ]


def printed(lines: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """START and END of an iteration were logged at most once each."""
    counted = Counter((str(line["event"]), str(line["iteration_id"])) for line in lines)
    return [
        Finding("log.twice", iteration, f"{event} was printed {count} times")
        for (event, iteration), count in counted.items()
        if count > 1
    ]


def _copies(row: Mapping[str, Any]) -> tuple[int, int]:
    """How often a notice in this state was taken: at least, at most."""
    again = max(1, int(row["attempts"])) if row["must_arrive"] else 1
    match row["state"]:
        case "sent":
            return 1, again
        case "unknown" | "sending":
            return 0, again
        case _:
            # Planned anew after an unknown try it may have arrived already.
            return 0, int(row["attempts"]) if row["must_arrive"] else 0
