"""The mail sender against the stand-in mailbox and misbehaving servers, over real SMTP."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from tenure.errors import BadSettings, BrokenRule
from tenure.kit.db import Database
from tenure.kit.http import Bounds, HttpDoor
from tenure.notices.ports import Message, Refused, Sent, Unknown, Unsent
from tenure.providers.notify.email import EmailSender, MailServer
from tenure.standins.faults import Fault, FaultKind
from tenure.standins.mailbox import MailboxStandIn
from tests.support.rawserver import RawServer, raw_server

MESSAGE = Message("ntc_1", "period_ending", "d3", "ann@example.com", "Bald ist Schluß", "Hallo\n.\n..Grüße\n")
# Time is no part of most of these: a machine that stalls must not look like a server that is silent.
PATIENT = Bounds(connect_s=60, read_s=60, total_s=60)


@pytest.fixture
def mailbox():
    with MailboxStandIn() as mailbox:
        yield mailbox


@pytest.fixture
def sender(mailbox):
    sender = EmailSender(url=mailbox.smtp_url, mail_from="Tenure <billing@shop.example>", bounds=PATIENT)
    yield sender
    sender.close()


def test_a_mail_arrives_whole_with_the_headers_of_the_contract(sender, mailbox):
    assert isinstance(sender.send(MESSAGE), Sent)
    (mail,) = mailbox.mails
    assert (mail["to"], mail["mail_from"]) == (["ann@example.com"], "billing@shop.example")
    assert (mail["subject"], mail["body"]) == ("Bald ist Schluß", "Hallo\n.\n..Grüße\n")
    headers = mail["headers"]
    assert headers["From"] == "Tenure <billing@shop.example>"
    assert headers["To"] == "ann@example.com"
    assert headers["Message-ID"] == "<ntc_1@shop.example>"
    assert headers["X-Tenure-Notice"] == "ntc_1"
    assert headers["X-Tenure-Kind"] == "period_ending/d3"


def test_a_kind_without_a_stage_stands_alone(sender, mailbox):
    sender.send(replace(MESSAGE, kind="payment_confirmed", stage=None))
    assert mailbox.mails[0]["headers"]["X-Tenure-Kind"] == "payment_confirmed"


def test_a_second_try_has_the_same_message_id(sender, mailbox):
    sender.send(MESSAGE)
    sender.send(MESSAGE)
    assert len({mail["headers"]["Message-ID"] for mail in mailbox.mails}) == 1


def test_one_connection_carries_many_mails_also_after_a_refused_one(sender, mailbox):
    for number in range(5):
        assert isinstance(sender.send(replace(MESSAGE, notice_id=f"ntc_{number}")), Sent)
    mailbox.faults.plan(Fault(FaultKind.STATUS, status=550))
    assert isinstance(sender.send(MESSAGE), Refused)
    assert isinstance(sender.send(MESSAGE), Sent)
    assert (len(mailbox.mails), mailbox.connections) == (6, 1)
    sender.close()
    assert isinstance(sender.send(MESSAGE), Sent)
    assert mailbox.connections == 2


def test_threads_have_a_connection_each(sender, mailbox):
    def send_some(first: int) -> None:
        outcomes.extend(sender.send(replace(MESSAGE, notice_id=f"ntc_{n}")) for n in range(first, first + 10))

    outcomes: list[object] = []
    threads = [threading.Thread(target=send_some, args=(first,)) for first in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert len({mail["headers"]["X-Tenure-Notice"] for mail in mailbox.mails}) == 40
    assert mailbox.connections <= 4


def test_a_mailbox_that_is_full_for_now_is_unsent(sender, mailbox):
    mailbox.faults.plan(Fault(FaultKind.STATUS, status=451))
    assert sender.send(MESSAGE) == Unsent("451 4.3.0 try again later (planned fault)")
    assert (mailbox.faults.hits, mailbox.mails) == ({"status": 1}, [])


def test_a_mailbox_that_does_not_exist_is_refused_for_good(sender, mailbox):
    mailbox.faults.plan(Fault(FaultKind.STATUS, status=550, target="ann@example.com"))
    assert sender.send(MESSAGE) == Refused("550 5.1.1 no such mailbox (planned fault)", "550")
    assert (mailbox.faults.hits, mailbox.mails) == ({"status": 1}, [])


@pytest.mark.parametrize(("kind", "arrived"), [(FaultKind.DROP, 0), (FaultKind.CUT, 1)])
def test_a_cut_after_data_is_unknown_whether_or_not_it_arrived(sender, mailbox, kind, arrived):
    mailbox.faults.plan(Fault(kind))
    assert sender.send(MESSAGE) == Unknown("cut")
    assert (mailbox.faults.hits, len(mailbox.mails)) == ({kind: 1}, arrived)
    assert isinstance(sender.send(MESSAGE), Sent)


def test_a_server_that_answers_data_too_late_is_unknown(mailbox):
    # Long enough for the conversation up to DATA; the server's silence after it would last twelve times that.
    bounds = Bounds(connect_s=5, read_s=5, total_s=5)
    mailbox.faults.plan(Fault(FaultKind.DELAY, delay_s=60))
    sender = EmailSender(url=mailbox.smtp_url, mail_from="Tenure <billing@shop.example>", bounds=bounds)
    assert sender.send(MESSAGE) == Unknown("timeout")
    assert mailbox.faults.hits == {"delay": 1}


def test_a_server_that_is_down_is_unsent(sender, mailbox):
    sender.send(MESSAGE)
    mailbox.stop()
    assert sender.send(MESSAGE) == Unsent("refused")


def test_a_kept_connection_that_died_is_replaced(sender, mailbox):
    sender.send(MESSAGE)
    url = mailbox.smtp_url
    mailbox.stop()
    with MailboxStandIn(smtp_port=int(url.rpartition(":")[2])) as second:
        assert isinstance(sender.send(MESSAGE), Sent)
        assert len(second.mails) == 1


def scripted(*answers: bytes):
    """A server that greets and then gives one answer a line, whatever it is told."""

    def behave(_server: RawServer, connection) -> None:
        with connection.makefile("rb") as lines:
            for answer in answers:
                connection.sendall(answer + b"\r\n")
                lines.readline()

    return behave


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([b"554 go away"], Unsent("greeting 554")),
        ([b"HTTP/1.1 400 Bad Request"], Unsent("greeting -1")),
        ([b"220 hi", b"250 ok", b"550 bad sender"], Refused("550 bad sender", "550")),
        ([b"220 hi", b"250 ok", b"421 closing"], Unsent("421 closing")),
        ([b"220 hi", b"250 ok", b"250 ok"], Unsent("cut")),
        ([b"220 hi", b"250 ok", b"250 ok", b"250 ok"], Unsent("cut")),
        ([b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"452 later"], Unsent("452 later")),
    ],
)
def test_every_end_before_data_is_certainly_unsent(answers, outcome):
    with raw_server(scripted(*answers)) as server:
        sender = EmailSender(url=f"smtp://127.0.0.1:{server.port}", mail_from="a@b.example", bounds=PATIENT)
        assert sender.send(MESSAGE) == outcome
        assert server.connections == 1


def test_a_refusal_after_the_whole_mail_is_no_unknown():
    def behave(_server: RawServer, connection) -> None:
        with connection.makefile("rb") as lines:
            for answer in (b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go"):
                connection.sendall(answer + b"\r\n")
                lines.readline()
            while lines.readline() not in {b".\r\n", b""}:
                pass
            connection.sendall(b"554 looks like spam\r\n")
            lines.readline()

    with raw_server(behave) as server:
        sender = EmailSender(url=f"smtp://127.0.0.1:{server.port}", mail_from="a@b.example", bounds=PATIENT)
        assert sender.send(MESSAGE) == Refused("554 looks like spam", "554")


def test_a_server_that_drips_its_greeting_is_cut_at_the_deadline():
    def drip(server: RawServer, connection) -> None:
        while not server.closing.wait(0.05):
            connection.sendall(b"2")

    with raw_server(drip) as server:
        bounds = Bounds(connect_s=60, read_s=60, total_s=0.5)  # no silence is long: only the total ends it
        sender = EmailSender(url=f"smtp://127.0.0.1:{server.port}", mail_from="a@b.example", bounds=bounds)
        began = time.monotonic()
        assert isinstance(sender.send(MESSAGE), Unsent)
        assert time.monotonic() - began < 50
        assert server.connections == 1


def test_required_tls_that_is_not_offered_is_unsent(mailbox):
    sender = EmailSender(url=mailbox.smtp_url + "?starttls=require", mail_from="a@b.example", bounds=PATIENT)
    assert sender.send(MESSAGE) == Unsent("tls")
    assert mailbox.mails == []


@pytest.mark.parametrize(
    "to",
    ["", "no address", "a@b\r\nBcc: x@y.example", "a@b.example, c@d.example", "grüße@example.com", "<a@b.c>"],
)
def test_an_address_that_is_none_is_refused_before_anything_is_opened(sender, mailbox, to):
    assert isinstance(sender.send(replace(MESSAGE, to=to)), Refused)
    assert mailbox.connections == 0


def test_a_subject_cannot_smuggle_headers(sender, mailbox):
    assert isinstance(sender.send(replace(MESSAGE, subject="x\r\nBcc: y@z.example")), Refused)
    assert mailbox.connections == 0


def test_no_mail_leaves_while_a_transaction_is_open(sender, mailbox, database_url):
    database = Database(database_url, pool_size=1, application="test")
    with database.transaction(), pytest.raises(BrokenRule):
        sender.send(MESSAGE)
    database.close()
    assert mailbox.connections == 0


def test_the_servers_url_is_read_in_all_its_parts():
    assert MailServer.parse("smtps://us%40er:p%3Aw@mail.example?starttls=off") == MailServer(
        "mail.example", 465, True, "us@er", "p:w", "off"
    )
    assert MailServer.parse("smtp://mail.example:2525").port == 2525


@pytest.mark.parametrize("url", ["smtp://", "http://x", "smtp://x:nan", "smtp://x?starttls=maybe"])
def test_a_bad_url_is_a_settings_error_that_shows_no_password(url):
    with pytest.raises(BadSettings):
        EmailSender(url=url, mail_from="a@b.example")
    with pytest.raises(BadSettings):
        EmailSender(url="smtp://x", mail_from="nobody")


def test_the_page_and_the_list_show_the_mails_escaped(sender, mailbox):
    sender.send(replace(MESSAGE, subject="<script>alert(1)</script>"))
    sender.send(replace(MESSAGE, to="bob@example.com"))
    door = HttpDoor(allow_private=True)
    page = door.request("GET", mailbox.url + "/").body.decode()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert len(door.request("GET", mailbox.url + "/mails?to=bob@example.com").json()["items"]) == 1
    door.request("DELETE", mailbox.url + "/mails")
    assert mailbox.mails == []
    door.close()
