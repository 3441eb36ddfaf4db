"""Integrations over HTTP: how they stand, a test of each, and breakers that an operator forces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.integrations.alerting import alert_open_breakers
from tenure.kit.breaker import Breakers, Told
from tenure.kit.valkey import connect
from tenure.settings import load
from tenure.standins.chain import ChainStandIn
from tenure.standins.mailbox import MailboxStandIn
from tenure.standins.provisioner import ProvisionerStandIn
from tenure.standins.telegram import TelegramStandIn
from tests.support import builders as build
from tests.support import services
from tests.support import web as web_support
from tests.support.receiver import Receiver
from tests.support.web import Web

TOKEN = "123456:BOT-TOKEN-OF-THE-TEST"
_TOLD = text("SELECT type, channels, data FROM event WHERE subject = :subject ORDER BY n")
TOKEN_CHAIN = {"symbol": "USDC", "contract": "0x" + "2" * 40, "decimals": 6}


class Outside:
    """Everything that the install is connected to."""

    def __init__(self) -> None:
        self.provisioner = ProvisionerStandIn(secrets=["s" * 20])
        self.telegram = TelegramStandIn(token=TOKEN)
        self.node = ChainStandIn()
        self.endpoint = Receiver()
        self.mailbox = MailboxStandIn()


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    made = Outside()
    with made.provisioner, made.telegram, made.node, made.endpoint, made.mailbox:
        yield made


@pytest.fixture(scope="module")
def wired(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
    outside: Outside,
) -> Iterator[Web]:
    chain = {
        "name": "dev", "kind": "evm", "chain_id": 31_337, "confirmations": 2, "assets": [TOKEN_CHAIN],
        "addresses": ["0x" + "1" * 40], "rpc_urls": [outside.node.url, "http://127.0.0.1:1"],
    }  # fmt: skip
    folder: Path = tmp_path_factory.mktemp("wired")
    with (
        services.fresh_database(postgres, template=template_database) as database_url,
        web_support.running(
            folder,
            database_url=database_url,
            broker_url=valkey_server.url(7),
            live_url=valkey_server.url(8),
            TENURE_PROVISIONER_URL=outside.provisioner.url,
            TENURE_PROVISIONER_SECRET="s" * 20,
            TENURE_TELEGRAM_TOKEN=TOKEN,
            TENURE_TELEGRAM_API_URL=outside.telegram.url,
            TENURE_SMTP_URL=outside.mailbox.smtp_url,
            TENURE_CHAINS=json.dumps([chain]),
            TENURE_PAYMENT_PROVIDERS=json.dumps([{"name": "bank", "kind": "hmac", "secret": "x" * 20}]),
        ) as running,
    ):
        yield running


@pytest.fixture
def breakers(wired: Web, valkey_server: Valkey) -> Iterator[Breakers]:
    client = connect(valkey_server.url(8))
    for key in client.scan_iter("tenure:breaker:*"):
        client.delete(key)
    yield Breakers(client)
    client.close()


def item(web: Web, name: str) -> dict:
    items = web.call("GET", "/integrations", role="viewer").json["items"]
    return next(one for one in items if one["name"] == name)


def opened(breakers: Breakers, name: str) -> None:
    for _ in range(5):
        breakers.tell(name, Told.FAIL, retry=False, ticket="")


def test_every_connection_is_asked_for_real_and_without_effect(wired: Web, outside: Outside):
    made = wired.call("POST", "/webhook-endpoints", json={"url": outside.endpoint.url, "types": ["*"]}).json
    names = [one["name"] for one in wired.call("GET", "/integrations").json["items"]]
    assert names == ["provisioner", "mail", "telegram", "chain:dev", "provider:bank", "webhook:" + made["id"]]
    for name in names:
        answer = wired.call("POST", f"/integrations/{name}/test", role="operator", json={})
        assert answer.status == 200, (name, answer.body)
        assert answer.json["ok"] is True, (name, answer.json)
        assert answer.json["took_ms"] >= 0
        assert TOKEN not in answer.body.decode()
    assert outside.telegram.messages == []
    assert outside.mailbox.mails == []
    assert [request.method for request in outside.endpoint.requests] == ["HEAD"]
    assert wired.call("DELETE", f"/webhook-endpoints/{made['id']}").status == 204


def test_a_connection_that_does_not_work_says_why(wired: Web):
    chain = wired.call("POST", "/integrations/chain:dev/test", role="operator", json={}).json
    assert "node 1 is at block" in chain["detail"]
    assert "node 2" in chain["detail"]
    bad = wired.call("POST", "/webhook-endpoints", json={"url": "http://127.0.0.1:1/x", "types": ["*"]}).json
    answer = wired.call("POST", f"/integrations/webhook:{bad['id']}/test", role="operator", json={})
    assert (answer.status, answer.json["ok"]) == (200, False)
    assert "refused" in answer.json["detail"]
    assert wired.call("POST", "/integrations/nothing/test", role="operator", json={}).status == 404


def test_what_is_not_set_up_cannot_be_tested(web: Web):
    answer = web.call("POST", "/integrations/provisioner/test", role="operator", json={})
    assert (answer.status, answer.json["code"]) == (409, "not_configured")


def test_an_open_breaker_is_shown_measured_and_alerted(wired: Web, breakers: Breakers):
    assert item(wired, "mail")["breaker"]["state"] == "closed"
    opened(breakers, "mail")
    shown = item(wired, "mail")
    assert (shown["state"], shown["breaker"]["state"], shown["breaker"]["opens"]) == ("degraded", "open", 1)
    assert 0 < shown["breaker"]["retry_after_s"] <= 30
    metrics = wired.call("GET", "/metrics").body.decode()
    assert 'tenure_breaker_state{breaker="mail",state="open"} 1.0' in metrics
    assert 'tenure_breaker_opens_total{breaker="mail"} 1.0' in metrics
    run = build.run(wired.db, "alerting")
    settings = load({"TENURE_SMTP_URL": "smtp://x"}, data_dir=wired.folder)
    assert alert_open_breakers(run.transaction, settings, breakers) == 1
    alerts = wired.call("GET", "/alerts?state=open").json["items"]
    assert [one["subject"] for one in alerts if one["rule"] == "breaker_open"] == ["mail"]
    breakers._live.delete("tenure:breaker:mail")
    assert alert_open_breakers(run.transaction, settings, breakers) == 0
    alerts = wired.call("GET", "/alerts?state=open").json["items"]
    assert not [one for one in alerts if one["rule"] == "breaker_open"]


def test_a_chain_is_as_well_as_its_healthiest_node(wired: Web, breakers: Breakers):
    opened(breakers, "chain:dev:2")
    shown = item(wired, "chain:dev")["breaker"]
    assert shown["state"] == "closed"
    assert shown["nodes"] == [
        {"name": "chain:dev:1", "state": "closed"},
        {"name": "chain:dev:2", "state": "open"},
    ]


def test_an_admin_forces_a_breaker_and_releases_it(wired: Web, breakers: Breakers):
    path = "/integrations/provisioner/breaker"
    given = {"state": "open", "for_s": 60, "reason": "maintenance there"}
    assert wired.call("POST", path, role="operator", json=given).status == 403
    forced = wired.call("POST", path, json=given)
    assert forced.status == 200, forced.body
    assert forced.json["state"] == "open"
    shown = item(wired, "provisioner")
    assert shown["breaker"]["state"] == "open"
    assert shown["breaker"]["automatic"] == "closed"
    assert shown["breaker"]["forced"]["reason"] == "maintenance there"
    by = shown["breaker"]["forced"]
    assert by["set_by"].startswith(("user:", "key:"))
    assert by["set_by_name"] not in {"", by["set_by"]}
    assert (
        'tenure_breaker_forced{breaker="provisioner",state="open"} 1.0'
        in wired.call("GET", "/metrics").body.decode()
    )
    assert wired.call("POST", path, json={"state": "auto"}).json["state"] == "auto"
    assert item(wired, "provisioner")["breaker"]["forced"] is None
    actions = [one["action"] for one in wired.call("GET", "/audit").json["items"]]
    assert {"breaker.forced", "breaker.released"} <= set(actions)
    with wired.db.transaction() as session:
        told = session.execute(_TOLD, {"subject": "integration:provisioner"}).all()
    assert [(row.type, row.channels, row.data["state"]) for row in told] == [
        ("breaker.forced", ["system"], "open"),
        ("breaker.released", ["system"], "auto"),
    ]
    assert told[0].data["reason"] == "maintenance there"


def test_a_wrong_order_is_refused(wired: Web):
    path = "/integrations/provisioner/breaker"
    for given in (
        {"state": "open", "for_s": 60},
        {"state": "half"},
        {"state": "open", "for_s": 0, "reason": "x"},
    ):
        assert wired.call("POST", path, json=given).status == 422, given
    given = {"state": "open", "reason": "x"}
    assert wired.call("POST", "/integrations/provider:bank/breaker", json=given).status == 409
    assert wired.call("POST", "/integrations/chain:none/breaker", json=given).status == 404
    with wired.db.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM breaker_override")).scalar_one() == 0
