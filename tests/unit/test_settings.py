"""Settings: every problem at once, by its variable's name; secrets stay secret."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tenure import settings
from tenure.errors import BadSettings
from tenure.iterations.catalog import catalog
from tenure.kit.secret_key import read_or_make_key

CHAIN = {
    "name": "dev",
    "kind": "evm",
    "chain_id": 1,
    "rpc_urls": ["http://127.0.0.1:1"],
    "confirmations": 3,
    "assets": [{"symbol": "USDC", "contract": "0x" + "a" * 40, "decimals": 6}],
    "addresses": ["0x" + "b" * 40],
}


def load(tmp_path: Path, **given: str) -> settings.Settings:
    return settings.load({"TENURE_DATA_DIR": str(tmp_path), **given})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENURE_ENV", "staging"),
        ("TENURE_DATABASE_URL", "sqlite:///x.db"),
        ("TENURE_BROKER_URL", "amqp://localhost"),
        ("TENURE_SMTP_URL", "http://mail"),
        ("TENURE_PROVISIONER_URL", "ftp://service"),
        ("TENURE_ALLOWED_ORIGINS", "*"),
        ("TENURE_ALLOWED_ORIGINS", "https://*.example.com"),
        ("TENURE_DB_POOL_MAX_SIZE", "many"),
        ("TENURE_DB_POOL_MAX_SIZE", "0"),
        ("TENURE_ALLOW_PRIVATE_URLS", "yes"),
        ("TENURE_CHAINS", "[{"),
        ("TENURE_CHAINS", json.dumps([{**CHAIN, "kind": "bitcoin"}])),
        ("TENURE_CHAINS", json.dumps([{**CHAIN, "confirmation": 3}])),
        ("TENURE_CHAINS", json.dumps([CHAIN, CHAIN])),
        ("TENURE_RATES", '{"USDC": {"USD": "0"}}'),
        ("TENURE_JOBS", '{"expiry": {"every": 3}}'),
        ("TENURE_LIMITS", '{"ws_handshake_per_min": 3}'),
        ("TENURE_FLOWER_URL", "http://flower:5555"),
        ("TENURE_SENTRY_DSN", "https://sentry.example.com/7"),
        ("TENURE_CRASH_AT", "no.such.point"),
        ("TENURE_CRASH_AT", "end.before*0"),
        ("TENURE_CRASH_AT", "end.before=melt"),
        ("TENURE_DATABSE_URL", "postgresql://x"),
        ("TENURE_SECRET_KEY_FILE", "/nowhere/at/all"),
        ("TENURE_SECRET_KEY_FILE", "/dev/null"),
        ("TENURE_PAYMENT_PROVIDERS", '[{"name": "p", "kind": "hmac", "secret": ""}]'),
        ("TENURE_PAYMENT_PROVIDERS", '[{"name": "p", "kind": "hmac", "secret": "whsec_"}]'),
        ("TENURE_PAYMENT_PROVIDERS", '[{"name": "p", "kind": "hmac", "secret": "whsec_no base64"}]'),
        ("TENURE_PAYMENT_PROVIDERS", '[{"name": "p", "kind": "hmac", "secret": "a", "secret_previous": ""}]'),
        ("TENURE_PROVISIONER_SECRET", "whsec_"),
    ],
)
def test_a_wrong_value_is_refused_by_its_variables_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load(tmp_path, **{name: value})
    assert [problem.field for problem in refused.value.errors] == [name]
    assert name in refused.value.message
    assert refused.value.exit_code == 2


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as refused:
        load(tmp_path, TENURE_ENV="staging", TENURE_BROKER_URL="x", TENURE_NOPE="1")
    assert {problem.field for problem in refused.value.errors} == {
        "TENURE_ENV",
        "TENURE_BROKER_URL",
        "TENURE_NOPE",
    }


@pytest.mark.parametrize("key", ["", "too-short"])
def test_production_wants_a_key_of_its_own(tmp_path: Path, key: str) -> None:
    with pytest.raises(BadSettings, match="TENURE_SECRET_KEY"):
        load(tmp_path, TENURE_ENV="production", TENURE_SECRET_KEY=key)


@pytest.mark.parametrize(("name", "value"), [("TENURE_ALLOW_PRIVATE_URLS", "1"), ("TENURE_CRASH_AT", "x")])
def test_production_refuses_what_is_for_trying_out(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=name):
        load(tmp_path, TENURE_ENV="production", TENURE_SECRET_KEY="k" * 32, **{name: value})


def test_a_limit_that_cannot_work_is_refused(tmp_path: Path) -> None:
    given = load(tmp_path, TENURE_JOBS='{"expiry": {"soft_s": 200}, "nap": {"every_s": 1}}')
    with pytest.raises(BadSettings) as refused:
        catalog(given)
    assert {problem.code for problem in refused.value.errors} == {"limits", "unknown_job"}


def test_a_value_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@h/d\n")
    assert load(tmp_path, TENURE_DATABASE_URL_FILE=str(tmp_path / "url")).require_database_url() == (
        "postgresql://u:p@h/d"
    )


def test_the_environment_goes_before_the_running_stack(tmp_path: Path) -> None:
    (tmp_path / settings.STACK_FILE).write_text(
        json.dumps({"env": {"TENURE_DATABASE_URL": "postgresql://stack/d", "TENURE_BROKER_URL": "redis://s"}})
    )
    loaded = load(tmp_path, TENURE_DATABASE_URL="postgresql://mine/d")
    assert loaded.require_database_url() == "postgresql://mine/d"
    assert loaded.require_broker_url() == "redis://s"


def test_without_a_stack_a_missing_url_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="TENURE_DATABASE_URL is not set and no stack runs in"):
        load(tmp_path).require_database_url()


def test_no_secret_is_in_the_text_of_the_settings(tmp_path: Path) -> None:
    canary = "c4n4ry-secret"
    loaded = load(
        tmp_path,
        TENURE_DATABASE_URL=f"postgresql://u:{canary}@h/d",
        TENURE_SECRET_KEY=canary * 4,
        TENURE_TELEGRAM_TOKEN=canary,
        TENURE_PAYMENT_PROVIDERS=json.dumps(
            [{"name": "p", "kind": "hmac", "secret": canary, "secret_previous": f"{canary}-before"}]
        ),
    )
    assert canary not in repr(loaded)
    assert any(canary in secret for secret in loaded.secrets())
    assert f"{canary}-before" in loaded.secrets()


def test_many_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    for round_ in range(20):
        path = tmp_path / str(round_) / "secret.key"
        keys: list[str] = []
        barrier = threading.Barrier(4)

        def make(path: Path = path, keys: list[str] = keys, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            keys.append(read_or_make_key(path))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(keys)) == 1
        assert len(keys[0]) >= 32
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    read_or_make_key(path)
    path.chmod(0o644)
    with pytest.raises(BadSettings, match="can be read by others"):
        read_or_make_key(path)
