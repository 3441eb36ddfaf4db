"""The main job, end to end, as a newcomer meets it: import, payment, access, mail, expiry, proof."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.acceptance.conftest import CONFIRMATIONS, Outside
from tests.support.stack import Stack
from tests.support.waiting import until

pytestmark = pytest.mark.acceptance

IMPORTED = 10_000
PLAN: dict[str, Any] = {
    "code": "pro",
    "name": "Pro",
    "price": {"amount_minor": 999, "currency": "USD"},
    "interval": {"unit": "month", "count": 1},
    "trial_days": 0,
    "grace_hours": 72,
    "reminders": [
        {"stage": "week", "offset_hours": -168, "channels": ["email"]},
        {"stage": "day", "offset_hours": -24, "channels": ["email"]},
    ],
    "auto_renew": False,
}


class Live:
    """A WebSocket client of the contract: it keeps every event it is sent."""

    def __init__(self, stack: Stack, *channels: str) -> None:
        self._socket = websocket.create_connection(stack.url.replace("http", "ws") + "/ws", timeout=60)
        self.events: list[dict[str, Any]] = []
        assert self._next()["event"] == "hello"
        self.send(type="auth", token=stack._bearer())
        assert self._next()["event"] == "authenticated"
        self.send(type="subscribe", channels=list(channels), rid="s")
        assert self._answer("s")["event"] == "ack"

    def send(self, **frame: Any) -> None:
        self._socket.send(json.dumps(frame))

    def ask(self, **frame: Any) -> dict[str, Any]:
        self.send(rid="r", **frame)
        return self._answer("r")

    def saw(self, type_: str, within: float = 60, **data: Any) -> dict[str, Any]:
        """The first event of this type whose data holds these values."""
        deadline = time.monotonic() + within
        while True:
            for event in self.events:
                if event["type"] == type_ and all(event["data"].get(k) == v for k, v in data.items()):
                    return event
            assert time.monotonic() < deadline, f"no {type_} {data} among {[e['type'] for e in self.events]}"
            self._keep(self._next())

    def close(self) -> None:
        self._socket.close()

    def _answer(self, rid: str) -> dict[str, Any]:
        while True:
            frame = self._next()
            if frame.get("rid") == rid:
                return frame
            self._keep(frame)

    def _keep(self, frame: dict[str, Any]) -> None:
        if frame["event"] == "event":
            self.events.append(frame)

    def _next(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self._socket.recv())
        return frame


@pytest.fixture(scope="module")
def plan(stack: Stack) -> str:
    return str(stack.api("POST", "/plans", PLAN, expect=201)["code"])


@pytest.fixture(scope="module")
def imported(stack: Stack, plan: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand customers of an older system, active for another year."""
    file = tmp_path_factory.mktemp("csv") / "customers.csv"
    year = datetime.now(UTC).year
    header = "external_id,email,telegram_chat_id,plan_code,status,period_start,period_end,auto_renew"
    rows = [
        f"old-{n},old-{n}@example.com,,{plan},active,{year}-01-01T00:00:00Z,{year + 2}-01-01T00:00:00Z,false"
        for n in range(IMPORTED)
    ]
    file.write_text("\n".join([header, *rows]) + "\n")
    result = stack.json("import", str(file))
    assert (result["rows"], result["created"], result["errors"]) == (IMPORTED, IMPORTED, [])
    again = stack.json("import", str(file))
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, IMPORTED)
    return file


@pytest.fixture(scope="module")
def paid(stack: Stack, outside: Outside, imported: Path) -> Iterator[dict[str, Any]]:
    """A new customer who pays on the chain while the bulk import is still being provisioned."""
    live = Live(stack, "iterations", "subscriptions", "payments")
    customer = stack.api(
        "POST", "/customers", {"external_id": "alice", "email": "alice@example.com"}, expect=201
    )
    subscription = stack.api(
        "POST", "/subscriptions", {"customer_id": customer["id"], "plan_code": "pro"}, expect=201
    )
    assert subscription["status"] == "incomplete"
    path = f"/subscriptions/{subscription['id']}/invoices"
    order = {"method": "chain", "chain": "dev", "asset": "USDC"}
    invoice = stack.api("POST", path, order, expect=201)
    assert stack.api("POST", path, order, expect=200)["id"] == invoice["id"]
    quote = invoice["quote"]
    outside.chain.transfer(quote["address"], int(quote["amount_units"]))
    outside.chain.mine(CONFIRMATIONS)
    began = time.monotonic()
    until(
        lambda: stack.api("GET", f"/invoices/{invoice['id']}")["status"] == "paid", within_s=30, what="paid"
    )
    until(lambda: mails(outside, "alice@example.com", "payment_confirmed"), within_s=30, what="mail")
    until(lambda: puts(outside, subscription["id"]), within_s=30, what="PUT")
    assert time.monotonic() - began < 30
    yield {"subscription": subscription["id"], "invoice": invoice["id"], "live": live}
    live.close()


def mails(outside: Outside, to: str, kind: str | None = None) -> list[dict[str, Any]]:
    found = []
    for mail in outside.mailbox.mails:
        headers = {name.lower(): value for name, value in dict(mail["headers"]).items()}
        if to in str(mail["to"]) and (kind is None or headers["x-tenure-kind"] == kind):
            found.append({**mail, "kind": headers["x-tenure-kind"]})
    return found


def puts(outside: Outside, subscription: str) -> list[dict[str, Any]]:
    return [call for call in outside.provisioner.journal if call["account"] == subscription]


def test_a_payment_on_the_chain_makes_the_subscription_active(
    stack: Stack, outside: Outside, paid: dict[str, Any]
) -> None:
    subscription = stack.api("GET", f"/subscriptions/{paid['subscription']}")
    assert subscription["status"] == "active"
    invoice = stack.api("GET", f"/invoices/{paid['invoice']}")
    assert invoice["status"] == "paid"
    assert invoice["confirmations"]["seen"] >= invoice["confirmations"]["required"] == CONFIRMATIONS


def test_access_is_switched_on_once_at_generation_one(
    stack: Stack, outside: Outside, paid: dict[str, Any]
) -> None:
    subscription = stack.api("GET", f"/subscriptions/{paid['subscription']}")
    (call,) = puts(outside, paid["subscription"])
    assert call["status"] == 200
    assert (call["enabled"], call["generation"], call["plan"]) == (True, 1, "pro")
    assert call["access_until"] == subscription["access_until"]
    until(
        lambda: (
            stack.api("GET", f"/subscriptions/{paid['subscription']}")["provisioning"]["state"] == "in_sync"
        ),
        what="in sync",
    )
    entitled = stack.api("GET", "/entitlements?customer=alice")
    assert entitled["entitled"] is True


def test_exactly_one_mail_confirms_the_payment(outside: Outside, paid: dict[str, Any]) -> None:
    assert len(mails(outside, "alice@example.com", "payment_confirmed")) == 1


def test_the_browser_hears_of_it_over_the_websocket(paid: dict[str, Any]) -> None:
    live: Live = paid["live"]
    live.saw("invoice.paid")
    live.saw("payment.confirmed")
    live.saw("subscription.activated")
    live.saw("iteration.ended", job="payment_watcher", outcome="ok")


def test_the_watchers_iterations_stand_in_api_command_log_and_flower(
    stack: Stack, paid: dict[str, Any]
) -> None:
    newest = stack.api("GET", "/iterations?job=payment_watcher&outcome=ok&limit=1")["items"][0]
    listed = stack.json("iterations", "--job", "payment_watcher", "--limit", "200")["items"]
    assert newest["id"] in {item["id"] for item in listed}
    until(
        lambda: [line for line in stack.log_lines("ITERATION_END") if line["iteration_id"] == newest["id"]],
        what="the log line",
    )
    flower = stack.json("status")["urls"]["flower"]
    assert flower == f"{stack.url}/flower/"


def test_the_timeline_tells_what_happened_and_which_worker_did_it(stack: Stack, paid: dict[str, Any]) -> None:
    timeline = stack.api("GET", f"/subscriptions/{paid['subscription']}/timeline")["items"]
    types = [entry["type"] for entry in timeline]
    assert "subscription.activated" in types
    activated = timeline[types.index("subscription.activated")]
    assert activated["iteration_id"].startswith("itr_")
    assert "worker" in activated["worker"]
    assert [entry["ts"] for entry in timeline] == sorted(entry["ts"] for entry in timeline)


def test_every_imported_account_is_provisioned(stack: Stack, outside: Outside, imported: Path) -> None:
    until(lambda: len(outside.provisioner.accounts) >= IMPORTED, within_s=500, what="10,000 accounts")
    assert all(account["enabled"] for account in outside.provisioner.accounts.values())


@pytest.mark.parametrize(
    ("scope", "outcome", "error_type"),
    [
        ("ok:0.2", "ok", None),
        ("raise", "failed", "AskedToFail"),
        ("ok:20", "timed_out", "SoftTimeLimitExceeded"),
        ("swallow:20", "timed_out", "TimeLimitExceeded"),
        ("kill", "killed", "WorkerLostError"),
        ("exit", "killed", "WorkerLostError"),
    ],
)
def test_a_run_on_request_ends_once_with_its_outcome(
    stack: Stack, scope: str, outcome: str, error_type: str | None
) -> None:
    live = Live(stack, "iterations")
    ack = live.ask(type="run", job="sleep", scope=scope, key=f"once-{scope}")
    assert ack["event"] == "ack", ack
    slot = ack["result"]["slot_id"]
    again = live.ask(type="run", job="sleep", scope=scope, key=f"once-{scope}")
    assert (again["result"]["slot_id"], again["duplicate"]) == (slot, True)
    ended = live.saw("iteration.ended", within=90, slot_id=slot)
    assert (ended["data"]["outcome"], ended["data"]["error_type"]) == (outcome, error_type)
    (iteration,) = stack.api("GET", f"/iterations?slot={slot}")["items"]
    assert (iteration["outcome"], iteration["error_type"]) == (outcome, error_type)
    live.close()


def test_a_skipped_run_prints_its_slot_and_exits_1(stack: Stack) -> None:
    for _ in range(3):
        killed = stack.json("run", "sleep", "--scope", "kill:thrice", "--wait", "60", exit_code=1)
        assert killed["outcome"] == "killed"
    skipped = stack.json("run", "sleep", "--scope", "kill:thrice", "--wait", "60", exit_code=1)
    assert (skipped["state"], skipped["reason"]) == ("skipped", "quarantined")
    assert skipped["iteration_ids"] == []


def test_time_brings_each_reminder_once_then_grace_then_the_end(
    stack: Stack, outside: Outside, paid: dict[str, Any]
) -> None:
    path = f"/subscriptions/{paid['subscription']}"

    def advance_to(moment: str, less_hours: int) -> None:
        now = datetime.fromisoformat(stack.json("clock", "show")["now"])
        seconds = int((datetime.fromisoformat(moment) - now).total_seconds()) - less_hours * 3600
        stack.json("clock", "advance", f"{seconds}s")

    end = stack.api("GET", path)["period_end"]
    for hours, kind in ((160, "period_ending/week"), (20, "period_ending/day")):
        advance_to(end, hours)
        until(lambda k=kind: mails(outside, "alice@example.com", k), within_s=120, what=kind)  # type: ignore[misc]
    advance_to(end, -1)
    until(lambda: stack.api("GET", path)["status"] == "past_due", within_s=120, what="past_due")
    assert stack.api("GET", "/entitlements?customer=alice")["entitled"] is True
    assert puts(outside, paid["subscription"])[-1]["enabled"] is True
    advance_to(end, -73)
    until(lambda: stack.api("GET", path)["status"] == "expired", within_s=120, what="expired")
    until(lambda: not puts(outside, paid["subscription"])[-1]["enabled"], within_s=120, what="off")
    until(lambda: mails(outside, "alice@example.com", "expired"), within_s=120, what="the last mail")
    for job in ("reminders", "expiry", "activation"):
        stack.json("run", job, "--wait", "60")
    sent = [mail["kind"] for mail in mails(outside, "alice@example.com")]
    assert sorted(sent) == ["expired", "payment_confirmed", "period_ending/day", "period_ending/week"]
    switched = [call["enabled"] for call in puts(outside, paid["subscription"])]
    assert switched.count(False) == 1
    assert stack.api("GET", "/entitlements?customer=alice")["entitled"] is False
