"""The embedded Valkey: two characters, private, and gone when its owner is."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import redis

from tenure.embedded import ports, valkey


def _server(kind: str, folder: Path) -> valkey.Valkey:
    make = valkey.Valkey.broker if kind == "broker" else valkey.Valkey.live
    return make(folder, ports.any_free(), 'pass "word" \\ 1')


def test_the_broker_keeps_its_data_over_a_restart_in_a_path_with_spaces(tmp_path: Path):
    server = _server("broker", tmp_path / "a b")
    with valkey.running(server, log=tmp_path / "log"), contextlib.closing(server.connect()) as client:
        client.set("kept", "yes")
        settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "bind")
        assert settings == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "bind": "127.0.0.1",
        }
    with valkey.running(server, log=tmp_path / "log"), contextlib.closing(server.connect()) as client:
        assert client.get("kept") == "yes"


def test_the_live_store_forgets_and_makes_room(tmp_path: Path):
    server = _server("live", tmp_path / "live")
    with valkey.running(server, log=tmp_path / "log"), contextlib.closing(server.connect()) as client:
        settings = client.config_get("appendonly", "maxmemory", "maxmemory-policy", "save")
        assert settings == {
            "appendonly": "no",
            "maxmemory": str(256 * 1024 * 1024),
            "maxmemory-policy": "allkeys-lru",
            "save": "",
        }


def test_it_refuses_a_client_without_the_password(valkey_server: valkey.Valkey):
    with (
        contextlib.closing(redis.Redis(port=valkey_server.port, socket_timeout=60)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_its_password_is_readable_by_us_alone(tmp_path: Path):
    server = _server("live", tmp_path / "live")
    server.prepare()
    assert (tmp_path / "live" / "valkey.conf").stat().st_mode & 0o777 == 0o600
    assert not any(server.password in word for word in server.command())


def test_each_test_gets_empty_databases(broker_url: str, live_url: str):
    for url in (broker_url, live_url):
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            assert client.dbsize() == 0
            client.set("left", "behind")
