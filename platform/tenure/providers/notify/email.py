"""Notices by SMTP.

The conversation is driven step by step, because only the steps tell what became of a mail: every error before
the end of DATA, and every error answer, means that nothing was taken; silence after it means nobody knows.
"""

from __future__ import annotations

import re
import smtplib
import ssl
import threading
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import parseaddr
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tenure.errors import BadSettings, FieldError
from tenure.kit import clock
from tenure.kit.breaker import Held, Told
from tenure.kit.guarded_door import Guard
from tenure.kit.logging import masked
from tenure.kit.sockets import Bounds, Unsent, bounded, connect, current_call, tls_context
from tenure.notices.ports import Message, NotTried, Outcome, Refused, Sent, Unknown
from tenure.notices.ports import Unsent as NotSent

_POSITIVE: Final = range(200, 300)
_GO_AHEAD: Final = 354
_PERMANENT: Final = 500
_KEEP_IDLE_S: Final = 20.0
_KEPT: Final = 16
_LONE_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_MAIL_BOUNDS: Final = Bounds(connect_s=5, read_s=10, total_s=20)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in.

    `starttls`: `auto` uses TLS when it is offered (not over loopback), `require` insists, `off` never does.
    """

    host: str
    port: int
    implicit_tls: bool
    user: str | None
    password: str | None
    starttls: str

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """From `smtp://user:password@host:587?starttls=require` or `smtps://…`. Raises BadSettings."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _bad("malformed") from None
        starttls = parse_qs(parts.query).get("starttls", ["auto"])[-1]
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise _bad("must be smtp://host:port or smtps://host:port")
        if starttls not in {"auto", "require", "off"}:
            raise _bad("starttls must be auto, require or off")
        implicit = parts.scheme == "smtps"
        return cls(
            host=parts.hostname,
            port=port or (465 if implicit else 25),
            implicit_tls=implicit,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            starttls=starttls,
        )


def _bad(message: str) -> BadSettings:
    return BadSettings(
        f"TENURE_SMTP_URL: {message}", errors=[FieldError("TENURE_SMTP_URL", "malformed", message)]
    )


class EmailSender:
    """Keeps a few connections for the next mails. Safe to share between threads, not across a fork."""

    channel: Final = "email"

    def __init__(
        self,
        *,
        url: str,
        mail_from: str,
        bounds: Bounds | None = None,
        ca_file: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Opens nothing yet. Raises BadSettings for a URL that is none."""
        self._guard = guard
        self._server = MailServer.parse(url)
        self._from = mail_from
        self._from_address = parseaddr(mail_from)[1]
        if "@" not in self._from_address:
            message = f"{mail_from!r} holds no address"
            raise BadSettings(message, errors=[FieldError("TENURE_MAIL_FROM", "malformed", message)])
        self._domain = self._from_address.rpartition("@")[2]
        self._bounds = bounds or _MAIL_BOUNDS
        self._tls = tls_context(ca_file)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, smtplib.SMTP]] = []

    def send(self, message: Message) -> Outcome:
        if not message.to.isascii():
            return Refused("addresses outside of ASCII are not supported", "malformed")
        try:
            mail = self._composed(message)
        except (ValueError, IndexError, MessageError) as error:
            return Refused(f"the mail cannot be written: {error}", "malformed")
        if self._guard is None:
            return self._carried(message.to, mail)[0]
        try:
            leave = self._guard.enter()
        except Held as held:
            return NotTried(held.reason, held.retry_after_s)
        told = Told.NONE
        try:
            outcome, told = self._carried(message.to, mail)
        finally:
            leave.tell(told)
        return outcome

    def probe(self) -> str | None:
        """Connect, greet and log in without handing over a mail: None, or why that did not work."""
        with bounded(self._bounds):
            opened = self._opened()
            if isinstance(opened, smtplib.SMTP):
                _quit(opened)
                return None
        return opened.reason if isinstance(opened, NotSent) else type(opened).__name__

    def _carried(self, to: str, mail: bytes) -> tuple[Outcome, Told]:
        """What became of the mail, and what that says of the server's health."""
        with bounded(self._bounds):
            connection = self._kept()
            if connection is None:
                opened = self._opened()
                if not isinstance(opened, smtplib.SMTP):
                    return opened, Told.FAIL
                connection = opened
            outcome, usable = _hand_over(connection, self._from_address, to, mail)
            if usable:
                self._keep(connection)
            else:
                connection.close()
        # Whoever answered, also with a refusal, is alive; silence and a cut are not.
        silent = isinstance(outcome, NotSent | Unknown) and outcome.reason in {"timeout", "cut"}
        return outcome, Told.FAIL if silent else Told.OK

    def close(self) -> None:
        """End the kept connections politely."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            with bounded(Bounds(read_s=1, total_s=2)):
                _quit(connection)

    def _composed(self, message: Message) -> bytes:
        mail = EmailMessage(policy=SMTP_POLICY)
        mail["From"] = self._from
        mail["To"] = Address(addr_spec=message.to)
        mail["Subject"] = message.subject
        mail["Date"] = clock.utc_now()
        # The same for every try of this notice: a receiver's store can tell a repeat by it.
        mail["Message-ID"] = f"<{message.notice_id}@{self._domain}>"
        mail["X-Tenure-Notice"] = message.notice_id
        mail["X-Tenure-Kind"] = message.label
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail.as_bytes()

    def _kept(self) -> smtplib.SMTP | None:
        """A kept connection that just answered NOOP, or None."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if clock.monotonic() - since < _KEEP_IDLE_S:
                try:
                    if connection.noop()[0] in _POSITIVE:
                        return connection
                except (smtplib.SMTPException, OSError):
                    connection.close()
                    continue
            connection.close()

    def _keep(self, connection: smtplib.SMTP) -> None:
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append((clock.monotonic(), connection))
                return
        _quit(connection)

    def _opened(self) -> smtplib.SMTP | Outcome:
        """A connection that is ready for MAIL, or why there is none: nothing was sent in any case."""
        server = self._server
        connection = _Smtp(self._domain, self._tls if server.implicit_tls else None)
        try:
            _expect(connection.connect(server.host, server.port))
            connection.ehlo_or_helo_if_needed()
            self._secure(connection)
            if server.user is not None:
                connection.login(server.user, server.password or "")
        except Unsent as error:
            outcome: Outcome = NotSent(error.reason)
        except _Told as told:
            outcome = NotSent(f"greeting {told.code}")
        except smtplib.SMTPResponseException as error:
            outcome = NotSent(f"{'login' if server.user else 'greeting'} {error.smtp_code}")
        except (ssl.SSLError, ssl.CertificateError):
            outcome = NotSent("tls")
        except TimeoutError:
            outcome = NotSent("connect_timeout")
        except (smtplib.SMTPException, OSError, ValueError):
            outcome = NotSent("greeting")
        else:
            return connection
        connection.close()
        return outcome

    def _secure(self, connection: smtplib.SMTP) -> None:
        server = self._server
        if server.implicit_tls or server.starttls == "off":
            return
        local = server.host in {"localhost", "127.0.0.1", "::1"}
        if connection.has_extn("starttls") and not (local and server.starttls == "auto"):
            connection.starttls(context=self._tls)
            connection.ehlo()
        elif server.starttls == "require" or (server.user is not None and not local):
            # A password is never sent in the clear over a network.
            raise Unsent("tls", f"{server.host} offers no TLS")


class _Told(Exception):
    """The server answered something else than the wanted."""

    def __init__(self, code: int, text: bytes) -> None:
        """The answer's code and words."""
        self.code = code
        self.text = masked(text.decode("utf-8", "replace"))[:200]
        super().__init__(code)


def _expect(answer: tuple[int, bytes], wanted: range = _POSITIVE) -> None:
    if answer[0] not in wanted:
        raise _Told(*answer)


def _hand_over(connection: smtplib.SMTP, sender: str, to: str, mail: bytes) -> tuple[Outcome, bool]:
    """The outcome, and whether the connection can carry another mail."""
    written = False
    try:
        _expect(connection.mail(sender))
        _expect(connection.rcpt(to))
        _expect(connection.docmd("DATA"), range(_GO_AHEAD, _GO_AHEAD + 1))
        written = True
        connection.send(_dotted(mail))
        answer = connection.getreply()
        _expect(answer)
    except _Told as told:
        # An answer, also one after the end of DATA, says that the mail was not taken.
        reason = f"{told.code} {told.text}"
        outcome: Outcome = Refused(reason, str(told.code)) if told.code >= _PERMANENT else NotSent(reason)
        return outcome, _reset(connection)
    except (smtplib.SMTPException, OSError) as error:
        late = isinstance(error, TimeoutError) or current_call().is_over
        reason = "timeout" if late or "timed out" in str(error) else "cut"
        return (Unknown(reason) if written else NotSent(reason)), False
    return Sent(answer[1].decode("utf-8", "replace")[:200] or None), True


def _dotted(mail: bytes) -> bytes:
    """CRLF line ends, doubled leading dots, and the lone dot that ends DATA (RFC 5321 4.5.2)."""
    lines = _LONE_LINE_END.split(mail.removesuffix(b"\r\n"))
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def _reset(connection: smtplib.SMTP) -> bool:
    try:
        return connection.rset()[0] in _POSITIVE
    except (smtplib.SMTPException, OSError):
        return False


def _quit(connection: smtplib.SMTP) -> None:
    try:
        connection.quit()
    except (smtplib.SMTPException, OSError):
        connection.close()  # it was ended from the other side: that is what we wanted


class _Smtp(smtplib.SMTP):
    """Connects through our bounded sockets. The mail server is the operator's: it may be private."""

    def __init__(self, own_name: str, implicit_tls: ssl.SSLContext | None) -> None:
        """Does not connect. Our own name is given: the default would ask the resolver for it."""
        self._implicit_tls = implicit_tls
        super().__init__(local_hostname=own_name)

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:  # noqa: ARG002 - the call's bounds rule
        plain = connect(host, port, allow_private=True)
        self._host = host  # smtplib's own: the name that STARTTLS verifies
        if self._implicit_tls is None:
            return plain
        try:
            return self._implicit_tls.wrap_socket(plain, server_hostname=host)
        except OSError:
            plain.close()
            raise
