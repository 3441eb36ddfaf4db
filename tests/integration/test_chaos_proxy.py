"""The fault proxy: each kind of weather does what it says, and counts it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg
import pytest

from tenure.chaos.proxy import Mode, Proxy, Weather
from tests.support.waiting import until


class Echo:
    """A server that says back what it hears, and counts what it heard."""

    def __init__(self) -> None:
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a thread that waits in accept keeps it open otherwise
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while heard := connection.recv(4096):
                self.heard += heard
                connection.sendall(heard)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as made:
        yield made


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.address) as made:
        yield made


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as made:
        assert said(made, b"hello") == b"hello"
        yield made


def said(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    return client.recv(4096)


def test_in_clear_weather_everything_passes_and_a_polite_end_stays_polite(client: socket.socket):
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b""


def hello_is_reset(port: int) -> None:
    """The reset may strike while the client connects, or when it listens."""
    with (
        pytest.raises(OSError, match="reset"),
        socket.create_connection(("127.0.0.1", port), timeout=10) as late,
    ):
        late.recv(10)


def test_refused_are_new_connections_alone(proxy: Proxy, client: socket.socket):
    proxy.set(Weather(Mode.REFUSE))
    hello_is_reset(proxy.port)
    assert said(client, b"still here") == b"still here"
    assert proxy.counts["refuse"] == 1


def test_a_reset_ends_what_stands(proxy: Proxy, client: socket.socket):
    proxy.set(Weather(Mode.RESET))
    with pytest.raises(OSError, match="reset"):
        client.recv(10)
    assert proxy.counts["reset"] >= 1


def test_a_black_hole_holds_both_directions_and_loses_nothing(
    proxy: Proxy, client: socket.socket, echo: Echo
):
    proxy.set(Weather(Mode.HOLE))
    client.sendall(b"?")
    until(lambda: proxy.counts.get("hole"), what="the hole has something")
    assert echo.heard == b"hello"
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(10)
    proxy.set(Weather())
    client.settimeout(10)
    assert client.recv(10) == b"?"


def test_in_a_partition_of_one_direction_the_server_hears_and_the_client_does_not(
    proxy: Proxy, client: socket.socket, echo: Echo
):
    proxy.set(Weather(Mode.DEAF))
    client.sendall(b"?")
    until(lambda: echo.heard == b"hello?", what="the server has heard it")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(10)
    proxy.set(Weather())
    client.settimeout(10)
    assert client.recv(10) == b"?"


def test_an_answer_with_the_mark_is_cut_as_often_as_said(proxy: Proxy, client: socket.socket, echo: Echo):
    proxy.set(Weather(Mode.CUT, mark=b"MARK", cuts=1))
    assert said(client, b"other") == b"other"
    client.sendall(b"MARK")
    with pytest.raises(OSError, match="reset"):
        client.recv(10)
    assert echo.heard.endswith(b"MARK")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as again:
        assert said(again, b"MARK") == b"MARK"
    assert proxy.counts["cut"] == 1


def test_a_slow_answer_still_comes(proxy: Proxy, client: socket.socket):
    proxy.set(Weather(Mode.SLOW, delay_s=0.05))
    assert said(client, b"slowly") == b"slowly"
    assert proxy.counts["slow"] >= 1


def test_a_server_that_is_away_looks_like_a_reset(proxy: Proxy, echo: Echo):
    echo.close()
    hello_is_reset(proxy.port)
    assert proxy.counts["upstream_away"] == 1


def test_nothing_stands_after_the_proxy_has_stopped(echo: Echo):
    with Proxy(echo.address) as made:
        client = socket.create_connection(("127.0.0.1", made.port), timeout=10)
        assert said(client, b"hello") == b"hello"
    with closing(client), pytest.raises(OSError, match="reset"):
        client.recv(10)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", made.port), timeout=10)


def test_a_lost_answer_to_commit_leaves_a_row_that_its_writer_does_not_know_of(database_url: str):
    """The fault that the runs are about, with a real PostgreSQL behind the proxy."""
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    with psycopg.connect(database_url, autocommit=True) as direct:
        direct.execute("CREATE TABLE cut (n int)")
        with Proxy((str(parts["host"]), int(str(parts["port"])))) as proxy:
            through = psycopg.conninfo.make_conninfo(database_url, port=proxy.port)
            with closing(psycopg.connect(through)) as writer:
                writer.execute("INSERT INTO cut VALUES (1)")
                proxy.set(Weather(Mode.CUT, mark=b"COMMIT\x00", cuts=1))
                with pytest.raises(psycopg.OperationalError):
                    writer.commit()
            assert proxy.counts["cut"] == 1
        rows = direct.execute("SELECT n FROM cut").fetchall()
    assert rows == [(1,)]
