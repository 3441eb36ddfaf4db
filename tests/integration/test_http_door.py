"""The one door to the network: what it promises when the other side does not behave."""

from __future__ import annotations

import multiprocessing
import socket
import ssl
import struct
import subprocess
import threading
import time
import traceback

import pytest

from tenure.errors import BrokenRule
from tenure.kit import sockets
from tenure.kit.db import Database
from tenure.kit.http import AddressRefused, Bounds, ErrorAnswer, HttpDoor, Unanswered, Unsent
from tests.support.rawserver import RawServer, raw_server
from tests.support.waiting import until

TOKEN = "/bot123456:SECRET-TOKEN/sendMessage"


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """A connection is kept however long the machine stalls between two requests."""
    monkeypatch.setattr("tenure.kit.http._TRUST_IDLE_S", 600.0)


@pytest.fixture
def door():
    door = HttpDoor(allow_private=True)
    yield door
    door.close()


def answering(answer: bytes):
    """Answers every request of a kept-alive connection the same way."""

    def behave(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(answer)

    return behave


def ok(body: bytes = b"{}", *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def is_cut_while_it_drips(door: HttpDoor, url: str, dripped: list[int], *, status: int | None) -> bool:
    """Whether a call is cut at its deadline although the server drips, and tells this status.

    No silence is long enough to end such a call. On a stalled machine the deadline may pass before the
    request is written, or before any of the answer is read: such a call shows nothing, and another is made.
    """

    def cut() -> bool:
        dripped.clear()
        began = time.monotonic()
        with pytest.raises((Unsent, Unanswered)) as caught:
            door.request("GET", url, bounds=Bounds(connect_s=60, read_s=60, total_s=0.6))
        assert time.monotonic() - began < 40
        if not isinstance(caught.value, Unanswered):
            return False
        assert caught.value.reason == "timeout"
        return len(dripped) > 5 and caught.value.answered_status == status

    return until(cut, 60, what="a call is cut while the server drips")


def test_one_connection_serves_many_requests_and_a_body_arrives_whole(door):
    with raw_server(answering(ok(b'{"a":1}', "Content-Type: application/json"))) as server:
        for _ in range(5):
            answer = door.request("PUT", server.url + "/x", json={"n": "ä"}, headers={"x-one": "1"})
        assert (answer.status, answer.json(), answer.headers["content-type"]) == (
            200,
            {"a": 1},
            "application/json",
        )
        assert server.connections == 1
        assert len(server.requests) == 5
        assert server.requests[0].endswith(b'{"n":"\\u00e4"}')
        assert b"x-one: 1\r\n" in server.requests[0]


def test_a_server_that_drips_its_body_is_cut_at_the_deadline(door):
    dripped: list[int] = []

    def drip(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not server.closing.wait(0.05):
            connection.sendall(b".")
            dripped.append(1)

    with raw_server(drip) as server:
        assert is_cut_while_it_drips(door, server.url, dripped, status=200)


def test_a_server_that_drips_its_headers_is_cut_at_the_deadline(door):
    dripped: list[int] = []

    def drip(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not server.closing.wait(0.05):
            connection.sendall(b"X")
            dripped.append(1)

    with raw_server(drip) as server:
        assert is_cut_while_it_drips(door, server.url, dripped, status=None)


def test_a_client_that_cannot_write_its_body_is_cut_at_the_deadline(door):
    def never_read(server: RawServer, connection: socket.socket) -> None:
        server.closing.wait(600)

    with raw_server(never_read) as server:
        began = time.monotonic()
        bounds = Bounds(connect_s=60, read_s=60, total_s=3)
        with pytest.raises(Unanswered) as caught:
            door.request("POST", server.url, body=b"x" * 50_000_000, bounds=bounds)
        assert time.monotonic() - began < 50
    assert caught.value.reason == "timeout"


def test_an_answer_over_the_cap_is_cut(door):
    with raw_server(answering(ok(b"x" * 300_000))) as server:
        with pytest.raises(Unanswered) as caught:
            door.request("GET", server.url, max_bytes=100_000)
        assert len(door.request("GET", server.url, max_bytes=300_000).body) == 300_000
    assert (caught.value.reason, caught.value.answered_status) == ("too_large", 200)


def test_refused_connections_are_certainly_unsent(door):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # it does not listen, and nobody else is given the port meanwhile
        with pytest.raises(Unsent) as caught:
            door.request("POST", f"http://127.0.0.1:{closed.getsockname()[1]}/", body=b"x")
    assert caught.value.reason == "refused"


def test_names_that_do_not_resolve_are_certainly_unsent(door, monkeypatch):
    def fails(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(Unsent) as caught:
        door.request("POST", "http://nowhere.invalid/", body=b"x")
    assert caught.value.reason == "dns"


def test_a_connection_that_is_never_accepted_is_certainly_unsent(door):
    # A full backlog: the kernel drops further SYNs, so connecting hangs.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            with pytest.raises(Unsent) as caught:
                door.request("POST", f"http://127.0.0.1:{address[1]}/", bounds=Bounds(connect_s=0.3))
        finally:
            for filler in fillers:
                filler.close()
    assert caught.value.reason == "connect_timeout"


def test_a_request_that_was_written_and_cut_is_unanswered(door):
    def cut(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw_server(cut) as server:
        with pytest.raises(Unanswered) as caught:
            door.request("POST", server.url, body=b"x")
        assert len(server.requests) == 1
    assert (caught.value.reason, caught.value.answered_status) == ("cut", None)


def test_a_success_whose_body_was_cut_tells_its_status(door):
    def cut(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nhalf")

    with raw_server(cut) as server, pytest.raises(Unanswered) as caught:
        door.request("POST", server.url, body=b"x")
    assert (caught.value.reason, caught.value.answered_status) == ("cut", 201)


def test_garbage_instead_of_http_is_unanswered(door):
    with raw_server(answering(b"220 mail.example ESMTP\r\n\r\n")) as server, pytest.raises(Unanswered):
        door.request("POST", server.url, body=b"x")


def test_an_error_answer_carries_status_excerpt_and_retry_after(door):
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2000\r\n\r\n" + b"b" * 2000
    with raw_server(answering(answer)) as server, pytest.raises(ErrorAnswer) as caught:
        door.request("GET", server.url)
    assert (caught.value.answered_status, caught.value.retry_after_s) == (503, 7)
    assert caught.value.excerpt == "b" * 300


def test_redirects_are_not_followed(door):
    with raw_server(answering(ok())) as target:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {target.url}/\r\nContent-Length: 0\r\n\r\n".encode()
        with raw_server(answering(answer)) as server, pytest.raises(ErrorAnswer) as caught:
            door.request("GET", server.url)
        assert target.connections == 0
    assert caught.value.answered_status == 302


def test_cookies_are_neither_kept_nor_sent(door):
    with raw_server(answering(ok(b"{}", "Set-Cookie: session=1; Path=/"))) as server:
        door.request("GET", server.url)
        door.request("GET", server.url)
        assert b"ookie" not in server.requests[1]


def test_the_environments_proxy_is_not_used(door, monkeypatch):
    with raw_server(answering(ok(b"proxy"))) as proxy, raw_server(answering(ok(b"direct"))) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert door.request("GET", server.url).body == b"direct"
        assert proxy.connections == 0


def test_no_request_leaves_while_a_transaction_is_open(door, database_url):
    database = Database(database_url, pool_size=1, application="test")
    with raw_server(answering(ok())) as server:
        with database.transaction(), pytest.raises(BrokenRule):
            door.request("GET", server.url)
        assert server.connections == 0
        assert door.request("GET", server.url).status == 200
    database.close()


@pytest.mark.parametrize("failure", ["refused", "cut", "status", "slow"])
def test_errors_never_show_the_path(door, failure):
    def behave(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        if failure == "status":
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        if failure == "slow":
            server.closing.wait(10)

    with raw_server(behave) as server:
        base = server.url
        if failure == "refused":
            with socket.create_server(("127.0.0.1", 0)) as closed:
                base = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises((Unsent, Unanswered, ErrorAnswer)) as caught:
            door.request("POST", base + TOKEN, bounds=Bounds(total_s=0.5))
    shown = "".join(traceback.format_exception(caught.value))
    assert "SECRET-TOKEN" not in shown
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


PRIVATE_URLS = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://[fc00::1]/",
    "https://[ff02::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[::ffff:7f00:1]/",
    "https://[2001:db8::1]/",
    "https://user:password@93.184.216.34/",
    "http://93.184.216.34/",
    "https://017700000001/",
    "https://0177.1/",
    "https://0x7f.1/",
    "https://127.0.0.1:443/",
    "https://127.0.0.1./",
    "https://127.255.255.254/",
    "https://10.0.258/",
    "https://192.168.257/",
    "https://0300.0250.0001.0001/",
    "https://0xc0.0xa8.1.1/",
    "https://3232235777/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.254.169.254:80/",
    "https://192.0.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://240.0.0.1/",
    "https://[::127.0.0.1]/",
    "https://[::a9fe:a9fe]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[0:0:0:0:0:ffff:c0a8:101]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[fe80::1%25lo]/",
    "https://[fec0::1]/",
    "https://[ff01::1]/",
    "https://[100::1]/",
    "https://[2001:0:7f00:1::]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[4000::1]/",
    "https://metadata@169.254.169.254/",
    "https://93.184.216.34@127.0.0.1/",
    "https://127.0.0.1\\@93.184.216.34/",
    "https://localhost%00.example.com/",
    "https://ip6-localhost/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
]


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::808:808"]
)
def test_public_addresses_are_public(address):
    assert sockets.is_public(address)


@pytest.mark.parametrize("url", PRIVATE_URLS)
def test_private_addresses_are_refused_in_every_spelling(url, monkeypatch):
    tried = []
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: tried.append(address))
    door = HttpDoor(allow_private=False)
    with pytest.raises(Unsent) as caught:
        door.request("GET", url)
    assert caught.value.reason in {"address", "dns", "url"}
    assert tried == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://x/",
        "https://",
        "https:///x",
        "//x",
        "",
        "https://[::1/",
    ],
)
def test_other_schemes_and_malformed_urls_are_refused(door, url):
    with pytest.raises(Unsent) as caught:
        door.request("GET", url)
    assert caught.value.reason == "url"


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(monkeypatch):
    public, private = "93.184.216.34", "127.0.0.1"
    asked, tried = [], []

    def rebinding(host, port, *_args, **_kwargs):
        asked.append(host)
        address = public if len(asked) == 1 else private
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(_self, address):
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(sockets.BoundedSocket, "connect", connect, raising=False)
    with pytest.raises(Unsent) as caught:
        HttpDoor(allow_private=False).request("GET", "https://rebinding.example/")
    assert caught.value.reason == "refused"
    assert (asked, tried) == (["rebinding.example"], [(public, 443)])


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    def mixed(_host, port, *_args, **_kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("93.184.216.34", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    with pytest.raises(AddressRefused):
        HttpDoor(allow_private=False).request("GET", "https://mixed.example/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, and its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def test_certificates_are_verified_and_an_unknown_one_is_certainly_unsent(door, tls_server_context):
    with raw_server(answering(ok()), tls=tls_server_context) as server:
        with pytest.raises(Unsent) as caught:
            door.request("POST", f"https://localhost:{server.port}/", body=b"x")
        assert server.requests == []
    assert caught.value.reason == "tls"


def test_a_known_authority_is_trusted_but_only_for_its_name(certificate, tls_server_context):
    door = HttpDoor(allow_private=True, ca_file=str(certificate / "cert.pem"))
    with raw_server(answering(ok(b"tls")), tls=tls_server_context) as server:
        assert door.request("GET", f"https://localhost:{server.port}/").body == b"tls"
        assert door.request("GET", f"https://localhost:{server.port}/").body == b"tls"
        assert server.connections == 1
        with pytest.raises(Unsent) as caught:
            door.request("GET", f"https://127.0.0.1:{server.port}/")
        assert len(server.requests) == 2
    assert caught.value.reason == "tls"
    door.close()


def test_a_tls_server_that_drips_is_cut_at_the_deadline(certificate, tls_server_context):
    dripped: list[int] = []

    def drip(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not server.closing.wait(0.05):
            connection.sendall(b".")
            dripped.append(1)

    door = HttpDoor(allow_private=True, ca_file=str(certificate / "cert.pem"))
    with raw_server(drip, tls=tls_server_context) as server:
        assert is_cut_while_it_drips(door, f"https://localhost:{server.port}/", dripped, status=200)


def test_a_tls_handshake_that_never_ends_is_certainly_unsent(door):
    def mute(server: RawServer, _connection: socket.socket) -> None:
        server.closing.wait(600)

    with raw_server(mute) as server:
        began = time.monotonic()
        bounds = Bounds(connect_s=0.4, read_s=600, total_s=600)
        with pytest.raises(Unsent):
            door.request("GET", f"https://127.0.0.1:{server.port}/", bounds=bounds)
        assert time.monotonic() - began < 50


def test_many_threads_share_the_door(door):
    with raw_server(answering(ok())) as server:
        failures: list[BaseException] = []

        def ask() -> None:
            try:
                for _ in range(20):
                    door.request("GET", server.url)
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(server.requests) == 160
        assert server.connections <= 16


def _ask_in_child(door: HttpDoor, url: str, answers) -> None:
    answers.put(door.request("GET", url).status)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(door):
    with raw_server(answering(ok())) as server:
        door.request("GET", server.url)
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        child = context.Process(target=_ask_in_child, args=(door, server.url, answers))
        child.start()
        assert answers.get(timeout=120) == 200
        child.join(120)
        assert door.request("GET", server.url).status == 200
        assert (server.connections, len(server.requests)) == (2, 3)


def test_a_connection_that_rested_long_is_not_trusted_again(door, monkeypatch):
    monkeypatch.setattr("tenure.kit.http._TRUST_IDLE_S", -1.0)
    with raw_server(answering(ok())) as server:
        door.request("GET", server.url)
        door.request("GET", server.url)
        assert server.connections == 2
