"""A stand-in mailbox: takes every mail by SMTP, shows them as JSON and as a page for people."""

from __future__ import annotations

import email
import email.policy
import html
import threading
from email.message import EmailMessage
from typing import Any, Final
from weakref import WeakSet

import click
from aiosmtpd.controller import Controller

from tenure.kit import clock
from tenure.kit.times import rfc3339
from tenure.standins.faults import Fault, FaultKind, Faults
from tenure.standins.httpserver import HttpStandIn, Reply, Request, run_until_stopped

_KEPT: Final = 20_000
_PAGE_ROWS: Final = 200
_SIZE_CAP: Final = 5_000_000
_READY_S: Final = 60.0  # the library gives up after five seconds, which a busy machine may take
_PERMANENT: Final = 500


class MailboxStandIn(HttpStandIn):
    """SMTP at `smtp_url`; `GET`/`DELETE /mails` and a page at `/` over HTTP.

    A fault of kind `status` refuses the recipient (5xx, or 4xx for a while) at RCPT; `drop` ends the
    connection at the end of DATA without storing, `cut` after storing; neither gives an answer.
    """

    def __init__(self, *, port: int = 0, smtp_port: int = 0, host: str = "127.0.0.1") -> None:
        """Port 0 takes a free one; both are known after `start()`."""
        super().__init__(port=port, host=host)
        self._lock = threading.Lock()
        self._mails: list[dict[str, Any]] = []
        self._count = 0
        self._host = host
        self._smtp_port = smtp_port
        self._controller: _Controller | None = None

    @property
    def smtp_url(self) -> str:
        """For `TENURE_SMTP_URL`; the port is known once it was started."""
        return f"smtp://{self._host}:{self._smtp_port}"

    @property
    def mails(self) -> list[dict[str, Any]]:
        """What was taken, oldest first: `id, at, mail_from, to, subject, headers, body`."""
        with self._lock:
            return list(self._mails)

    @property
    def connections(self) -> int:
        """How many SMTP connections were made."""
        return self._controller.connections if self._controller else 0

    def urls(self) -> dict[str, str]:
        return {"smtp": self.smtp_url, **super().urls()}

    def start(self) -> MailboxStandIn:
        """Take mail and serve HTTP."""
        controller = _Controller(
            _Receiver(self),
            hostname=self._host,
            port=self._smtp_port,
            server_hostname="mailbox.localhost",
            data_size_limit=_SIZE_CAP,
            ready_timeout=_READY_S,
        )
        controller.start()
        self._controller, self._smtp_port = controller, controller.port
        super().start()
        return self

    def stop(self) -> None:
        """Neither port listens after this."""
        super().stop()
        if self._controller is not None:
            self._controller.end_connections()
            self._controller.stop()
            self._controller = None

    def store(self, raw: bytes, mail_from: str, to: list[str]) -> None:
        """Keep one mail; the oldest is forgotten when there are too many."""
        message = email.message_from_bytes(raw, _class=EmailMessage, policy=email.policy.default)
        part = message.get_body(("plain", "html"))
        with self._lock:
            self._count += 1
            self._mails.append(
                {
                    "id": self._count,
                    "at": rfc3339(clock.utc_now()),
                    "mail_from": mail_from,
                    "to": to,
                    "subject": str(message.get("subject", "")),
                    "headers": {name: str(value) for name, value in message.items()},
                    "body": part.get_content().replace("\r\n", "\n") if part is not None else "",
                }
            )
            del self._mails[:-_KEPT]

    def answer(self, request: Request) -> Reply:
        if request.path == "/mails":
            if request.method == "DELETE":
                with self._lock:
                    self._mails.clear()
            return Reply(200, {"items": self._selected(request)})
        if request.path == "/":
            return Reply(200, html=self._page())
        return Reply(404, {"error": "GET /mails, or / for a page"})

    def _selected(self, request: Request) -> list[dict[str, Any]]:
        to = request.query.get("to")
        return [mail for mail in self.mails if to is None or to in mail["to"]]

    def _page(self) -> str:
        mails = "".join(
            f"<details><summary>{html.escape(mail['at'])} &rarr; {html.escape(', '.join(mail['to']))}: "
            f"<b>{html.escape(mail['subject'])}</b></summary><pre>{html.escape(mail['body'])}</pre></details>"
            for mail in reversed(self.mails[-_PAGE_ROWS:])
        )
        return (
            "<!doctype html><html lang=en><meta charset=utf-8><title>Mailbox (stand-in)</title>"
            f"<h1>Mailbox (stand-in)</h1><p>{len(self.mails)} mails, the newest first. "
            f"As JSON: <a href=/mails>/mails</a>.</p>{mails or '<p>No mail yet.</p>'}</html>"
        )


class _Controller(Controller):
    """Knows the port it got, and its connections."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Nothing listens before `start()`."""
        self.connections = 0
        self._sessions: WeakSet[Any] = WeakSet()
        super().__init__(*arguments, **options)

    def factory(self) -> Any:
        session: Any = super().factory()  # type: ignore[no-untyped-call]
        self.connections += 1
        self._sessions.add(session)
        return session

    def end_connections(self) -> None:
        """Reset every connection that a client keeps."""
        for session in list(self._sessions):
            if session.transport is not None:
                self.loop.call_soon_threadsafe(session.transport.abort)

    def _trigger_server(self) -> None:
        # Called once when the server listens: with port 0, only now is the port known. The base class then
        # connects once to see that it is served; that connection is not a client's.
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]
        self.connections = 0


class _Receiver:
    """What aiosmtpd asks: these run in its event loop, one at a time."""

    def __init__(self, mailbox: MailboxStandIn) -> None:
        """Mails go to the mailbox."""
        self._mailbox = mailbox
        self._faults: Faults = mailbox.faults
        self._for_data: Fault | None = None

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Where a recipient is refused."""
        fault = self._faults.take(address)
        if fault is not None and fault.kind is FaultKind.STATUS:
            if fault.status >= _PERMANENT:
                return f"{fault.status} 5.1.1 no such mailbox (planned fault)"
            return f"{fault.status} 4.3.0 try again later (planned fault)"
        self._for_data = fault
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Where a mail is taken."""
        fault, self._for_data = self._for_data, None
        if fault is not None and fault.kind is FaultKind.DELAY:
            self._mailbox.stopping.wait(fault.delay_s)
        if fault is None or fault.kind is not FaultKind.DROP:
            self._mailbox.store(envelope.content, envelope.mail_from, list(envelope.rcpt_tos))
        if fault is not None and fault.kind in {FaultKind.DROP, FaultKind.CUT}:
            server.transport.abort()
        return "250 OK"


@click.command()
@click.option("--port", type=int, default=0, help="HTTP; 0 takes a free port.")
@click.option("--smtp-port", type=int, default=0, help="SMTP; 0 takes a free port.")
@click.option("--host", default="127.0.0.1")
def main(port: int, smtp_port: int, host: str) -> None:
    """Run the stand-in mailbox until it is stopped."""
    run_until_stopped(MailboxStandIn(port=port, smtp_port=smtp_port, host=host))


if __name__ == "__main__":
    main()
