"""The checker of chaos: what is sound passes, and each way of being wrong is found."""

from __future__ import annotations

from typing import Any

import pytest

from tenure.chaos import rules
from tenure.chaos.history import Entry, History, Kind, outcomes, summary


def entries(*told: tuple[str, str, str]) -> list[Entry]:
    """`(f, key, type)` in order, all of one client."""
    return [Entry("client", f, Kind(type_), key, None, float(n)) for n, (f, key, type_) in enumerate(told)]


def asked(key: str, *types: str, f: str = "settle") -> list[Entry]:
    """One operation, tried as often as it has answers."""
    return entries(*((f, key, part) for type_ in types for part in ("invoke", type_)))


def rules_broken(found: list[Any]) -> list[str]:
    return [finding.rule for finding in found]


def test_one_ok_among_the_tries_makes_an_operation_ok():
    assert outcomes(asked("k", "fail", "info", "ok")) == {("settle", "k"): Kind.OK}


def test_an_open_try_leaves_an_operation_open_whatever_was_refused():
    assert outcomes(asked("k", "fail", "info", "fail")) == {("settle", "k"): Kind.INFO}


def test_an_operation_whose_client_never_came_back_is_open():
    assert outcomes(entries(("settle", "k", "invoke"))) == {("settle", "k"): Kind.INFO}


def test_the_summary_counts_operations_and_not_tries():
    history = [*asked("a", "fail", "ok"), *asked("b", "fail"), *asked("c", "info")]
    assert summary(history) == {"settle": {"ok": 1, "fail": 1, "info": 1}}


def test_a_history_is_kept_as_json_lines_as_it_comes(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.add("client-1", "settle", Kind.INVOKE, "k")
    history.add("client-1", "settle", Kind.INFO, "k", {"status": 503})
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(lines) == len(history.entries) == 2
    assert '"type": "info"' in lines[1]


@pytest.mark.parametrize(("told", "effects"), [("ok", 1), ("fail", 0), ("info", 0), ("info", 1)])
def test_what_was_told_and_what_was_done_agree(told: str, effects: int):
    assert rules.operations(asked("k", told), {"settle": {"k": effects}}) == []


@pytest.mark.parametrize(("told", "effects"), [("ok", 0), ("ok", 2), ("fail", 1), ("info", 2)])
def test_what_was_told_and_what_was_done_differ(told: str, effects: int):
    assert rules_broken(rules.operations(asked("k", told), {"settle": {"k": effects}})) == ["history.settle"]


def test_an_effect_that_nobody_asked_for_is_found():
    assert rules_broken(rules.unasked("settle", ["a"], {"a": 1, "b": 1})) == ["history.settle"]


def test_an_unhandled_error_is_found_and_an_honest_absence_is_not():
    told = [Entry("c", "run", Kind.INFO, "k", {"status": status}, 0.0) for status in (500, 503, 429, 404)]
    assert rules_broken(rules.answers(told)) == ["answers"]


ACCOUNT = {
    "id": "sub_1",
    "generation": 2,
    "enabled": True,
    "access_until": "2026-01-01T00:00:00Z",
    "plan": "pro",
}


def test_accounts_that_are_as_wanted_pass():
    never_told = {**ACCOUNT, "id": "sub_2", "generation": 0}
    assert rules.accounts([ACCOUNT, never_told], {"sub_1": ACCOUNT}) == []


@pytest.mark.parametrize(
    ("there", "rule"),
    [
        ({}, "provisioner.missing"),
        ({"sub_1": {**ACCOUNT, "enabled": False}}, "provisioner.differs"),
        ({"sub_1": {**ACCOUNT, "generation": 1}}, "provisioner.differs"),
        ({"sub_1": ACCOUNT, "sub_9": ACCOUNT}, "provisioner.unknown"),
    ],
)
def test_an_account_that_is_not_as_wanted_is_found(there: dict[str, Any], rule: str):
    assert rules_broken(rules.accounts([ACCOUNT], there)) == [rule]


def call(generation: int, *, effect: bool = True, status: int | None = 200) -> dict[str, Any]:
    return {"account": "a", "generation": generation, "effect": effect, "status": status, "fault": None}


def test_repeats_without_effect_and_lost_answers_pass():
    assert (
        rules.calls([call(1), call(1, effect=False), call(2, status=None), call(1, effect=False, status=409)])
        == []
    )


@pytest.mark.parametrize(
    ("journal", "rule"),
    [
        ([call(2), call(2)], "provisioner.order"),
        ([call(2), call(1)], "provisioner.order"),
        ([call(1, effect=False, status=401)], "provisioner.refused"),
    ],
)
def test_a_call_out_of_order_or_malformed_is_found(journal: list[dict[str, Any]], rule: str):
    assert rules_broken(rules.calls(journal)) == [rule]


def notice(state: str, *, attempts: int = 1, must_arrive: bool = False) -> dict[str, Any]:
    return {"id": "n", "state": state, "attempts": attempts, "must_arrive": must_arrive}


MAIL = {"notice": "n", "message_id": "<n@tenure>"}


@pytest.mark.parametrize(
    ("row", "copies"),
    [
        (notice("sent"), 1),
        (notice("unknown"), 0),
        (notice("unknown"), 1),
        (notice("skipped"), 0),
        (notice("sent", attempts=2, must_arrive=True), 2),
        (notice("planned", attempts=1, must_arrive=True), 1),
    ],
)
def test_mails_that_agree_with_their_notice_pass(row: dict[str, Any], copies: int):
    assert rules.mails([row], [MAIL] * copies) == []


@pytest.mark.parametrize(
    ("row", "copies"),
    [
        (notice("sent"), 0),
        (notice("sent"), 2),
        (notice("unknown"), 2),
        (notice("skipped"), 1),
        (notice("planned", attempts=0), 1),
        (notice("sent", attempts=2, must_arrive=True), 3),
    ],
)
def test_a_mail_too_many_or_too_few_is_found(row: dict[str, Any], copies: int):
    assert rules_broken(rules.mails([row], [MAIL] * copies)) == ["mail.count"]


def test_a_mail_of_no_notice_and_one_under_another_identity_are_found():
    other = {**MAIL, "message_id": "<other@tenure>"}
    again = notice("sent", attempts=2, must_arrive=True)
    assert rules_broken(rules.mails([again], [MAIL, other])) == ["mail.identity"]
    assert rules_broken(rules.mails([], [MAIL])) == ["mail.unknown"]


@pytest.mark.parametrize(("states", "got", "sound"), [
    (["sent"], 1, True),
    (["sent", "unknown"], 2, True),
    (["sent", "unknown"], 1, True),
    (["sent"], 2, False),
    (["sent"], 0, False),
    (["failed"], 1, False),
])  # fmt: skip
def test_a_chat_gets_what_was_sent_and_at_most_what_is_unknown(states: list[str], got: int, sound: bool):
    rows = [{"chat": "1", "state": state} for state in states]
    assert (rules.messages(rows, [{"chat_id": "1"}] * got) == []) is sound


def test_a_record_that_was_printed_twice_is_found():
    start = {"event": "ITERATION_START", "iteration_id": "i"}
    end = {"event": "ITERATION_END", "iteration_id": "i"}
    assert rules.printed([start, end]) == []
    assert rules_broken(rules.printed([start, end, end])) == ["log.twice"]
