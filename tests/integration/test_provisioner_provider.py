"""The provisioner's adapter against the stand-in provisioner, over real HTTP."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tenure.errors import BrokenRule
from tenure.kit.http import Bounds, HttpDoor
from tenure.providers.provisioner import HttpProvisioner
from tenure.provisioning.ports import Account, Applied, Blocked, Retry, Superseded
from tenure.standins.faults import Fault, FaultKind
from tenure.standins.provisioner import ProvisionerStandIn
from tests.support.rawserver import raw_server
from tests.support.waiting import until

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ACCOUNT = Account(
    subscription_id="sub_1",
    generation=1,
    enabled=True,
    access_until=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    plan="pro",
    external_id="cust-1",
    email="a@example.com",
)


@pytest.fixture
def standin():
    with ProvisionerStandIn(secrets=[SECRET]) as standin:
        yield standin


@pytest.fixture
def door():
    door = HttpDoor(allow_private=True)
    yield door
    door.close()


@pytest.fixture
def provisioner(door, standin):
    return HttpProvisioner(door, url=standin.url + "/", secrets=[SECRET])


def at(generation: int, **changes) -> Account:
    return replace(ACCOUNT, generation=generation, **changes)


def test_an_account_is_put_with_the_body_and_headers_of_the_contract(provisioner, standin, door):
    assert provisioner.put_account(ACCOUNT) == Applied(1)
    state = {
        "id": "sub_1",
        "enabled": True,
        "access_until": "2026-03-01T12:00:00Z",
        "generation": 1,
        "plan": "pro",
        "customer": {"external_id": "cust-1", "email": "a@example.com"},
    }
    assert door.request("GET", standin.url + "/accounts/sub_1").json() == state
    assert door.request("GET", standin.url + "/accounts").json() == {"items": [state]}
    (entry,) = door.request("GET", standin.url + "/journal").json()["items"]
    assert (entry["idempotency_key"], entry["status"], entry["effect"]) == ("prov:sub_1:1", 200, True)


def test_the_same_again_is_applied_without_a_second_effect(provisioner, standin):
    assert provisioner.put_account(ACCOUNT) == Applied(1)
    assert provisioner.put_account(ACCOUNT) == Applied(1)
    assert [entry["effect"] for entry in standin.journal] == [True, False]


def test_a_late_lower_generation_is_superseded_and_changes_nothing(provisioner, standin):
    provisioner.put_account(at(3))
    assert provisioner.put_account(at(2, enabled=False)) == Superseded(3)
    assert standin.accounts["sub_1"]["enabled"] is True
    assert [entry["status"] for entry in standin.journal] == [200, 409]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_throttling_and_server_errors_are_retried_when_the_other_side_wishes(provisioner, standin, status):
    standin.faults.plan(Fault(FaultKind.STATUS, status=status, retry_after_s=7))
    assert provisioner.put_account(ACCOUNT) == Retry(f"status {status}", 7)
    assert standin.faults.hits == {"status": 1}
    assert standin.accounts == {}
    assert provisioner.put_account(ACCOUNT) == Applied(1)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 422])
def test_other_refusals_block_and_say_why(provisioner, standin, status):
    standin.faults.plan(Fault(FaultKind.STATUS, status=status))
    assert provisioner.put_account(ACCOUNT) == Blocked(status, '{"error": "planned fault"}')
    assert standin.faults.hits == {"status": 1}


def test_a_dropped_connection_is_retried_and_had_no_effect(provisioner, standin):
    standin.faults.plan(Fault(FaultKind.DROP))
    assert provisioner.put_account(ACCOUNT) == Retry("cut")
    assert standin.faults.hits == {"drop": 1}
    assert standin.accounts == {}


def test_a_cut_after_the_effect_is_retried_into_the_same_state(provisioner, standin):
    standin.faults.plan(Fault(FaultKind.CUT))
    assert provisioner.put_account(ACCOUNT) == Retry("cut")
    assert standin.faults.hits == {"cut": 1}
    assert standin.accounts["sub_1"]["generation"] == 1
    assert provisioner.put_account(ACCOUNT) == Applied(1)
    assert [(entry["status"], entry["effect"]) for entry in standin.journal] == [(None, True), (200, False)]


def test_a_slow_answer_is_retried(door, standin):
    hasty = HttpProvisioner(door, url=standin.url, secrets=[SECRET], bounds=Bounds(total_s=2))
    standin.faults.plan(Fault(FaultKind.DELAY, delay_s=600))
    assert hasty.put_account(ACCOUNT) == Retry("timeout")
    until(lambda: standin.faults.hits == {"delay": 1}, what="the call arrived")


def test_a_provisioner_that_is_down_is_retried(provisioner, standin):
    standin.stop()
    assert provisioner.put_account(ACCOUNT) == Retry("refused")


def test_a_success_whose_body_never_ends_is_applied(door):
    def endless(server, connection) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
        server.closing.wait(60)

    with raw_server(endless) as server:
        provisioner = HttpProvisioner(door, url=server.url, secrets=[SECRET], bounds=Bounds(total_s=5))
        assert provisioner.put_account(ACCOUNT) == Applied(1)


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[1]", b'{"generation":"5"}', b'{"generation":1}', b'{"generation":true}']
)
def test_a_conflict_that_names_no_higher_generation_blocks(door, body):
    def conflict(server, connection) -> None:
        while server.read_request(connection):
            connection.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with raw_server(conflict) as server:
        provisioner = HttpProvisioner(door, url=server.url, secrets=[SECRET])
        assert provisioner.put_account(ACCOUNT) == Blocked(409, body.decode())


def test_a_private_provisioner_is_blocked_unless_allowed(standin):
    provisioner = HttpProvisioner(HttpDoor(allow_private=False), url=standin.url, secrets=[SECRET])
    outcome = provisioner.put_account(ACCOUNT)
    assert isinstance(outcome, Blocked)
    assert outcome.status is None
    assert standin.journal == []


def test_a_wrong_secret_is_refused_and_one_of_two_live_secrets_is_enough(door, standin):
    wrong = HttpProvisioner(door, url=standin.url, secrets=["other"])
    assert wrong.put_account(ACCOUNT) == Blocked(401, '{"error": "the signature is wrong"}')
    assert standin.accounts == {}
    both = HttpProvisioner(door, url=standin.url, secrets=["other", SECRET])
    assert both.put_account(ACCOUNT) == Applied(1)


def test_a_generation_used_for_two_states_is_refused(provisioner, standin):
    provisioner.put_account(ACCOUNT)
    outcome = provisioner.put_account(replace(ACCOUNT, enabled=False))
    assert isinstance(outcome, Blocked)
    assert outcome.status == 422
    assert standin.accounts["sub_1"]["enabled"] is True


def test_nothing_is_called_while_a_transaction_is_open(provisioner, standin, database_url):
    from tenure.kit.db import Database

    database = Database(database_url, pool_size=1, application="test")
    with database.transaction(), pytest.raises(BrokenRule):
        provisioner.put_account(ACCOUNT)
    database.close()
    assert standin.journal == []


def test_a_call_whose_caller_died_while_it_sent_was_none(provisioner, standin):
    with socket.create_connection(("127.0.0.1", standin.port)) as dying:
        dying.sendall(b"PUT /accounts/sub_1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        dying.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert dying.recv(100) == b""
    assert isinstance(provisioner.put_account(ACCOUNT), Applied)
    assert [entry["status"] for entry in standin.journal] == [200]


def test_faults_are_planned_and_counted_over_http(provisioner, standin, door):
    plan = {"kind": "status", "status": 503, "times": 2, "target": "sub_1"}
    door.request("POST", standin.url + "/faults", json=plan)
    assert provisioner.put_account(replace(ACCOUNT, subscription_id="sub_2")) == Applied(1)
    assert [type(provisioner.put_account(ACCOUNT)) for _ in range(3)] == [Retry, Retry, Applied]
    told = door.request("GET", standin.url + "/faults").json()
    assert told == {"planned": [], "hits": {"status": 2}}


def test_the_page_escapes_what_customers_wrote(provisioner, standin, door):
    provisioner.put_account(replace(ACCOUNT, plan="<script>alert(1)</script>"))
    page = door.request("GET", standin.url + "/").body.decode()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_as_a_process_it_serves_keeps_its_journal_and_remembers_it(tmp_path: Path, door):
    (tmp_path / "secret").write_text(SECRET + "\n")
    journal = tmp_path / "journal.jsonl"
    command = [sys.executable, "-m", "tenure.standins.provisioner", "--secret-file", str(tmp_path / "secret")]
    for generation, expected in ((2, Applied(2)), (1, Superseded(2))):
        with subprocess.Popen(
            [*command, "--journal", str(journal)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]
            url = lines[-1].removeprefix("READY ").strip()
            provisioner = HttpProvisioner(door, url=url, secrets=[SECRET])
            assert provisioner.put_account(at(generation)) == expected
            process.terminate()
            assert process.wait(30) == 0
    assert len(journal.read_text().splitlines()) == 2
