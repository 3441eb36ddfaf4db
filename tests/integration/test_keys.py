"""The key ring: rotation under live sessions, sealed secrets sealed anew, and a changed master."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tenure import wiring
from tenure.audit.record import SYSTEM
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.kit import clock, signing
from tenure.kit.db import Database
from tenure.kit.sealing import Sealer, Unreadable
from tenure.settings import Settings, load
from tenure.webhooks import deliver
from tenure.webhooks.create_endpoint import create_endpoint
from tenure.webhooks.rotate_secret import rotate_secret
from tests.support import builders as build
from tests.support import services
from tests.support.receiver import Receiver
from tests.support.waiting import until
from tests.support.web import EMAIL, PASSWORD, Web

KEY = "a key for tests that is long enough"
OTHER = "another key for tests, long enough too"
OLD_ENOUGH = (
    "UPDATE signing_key SET retired_at = retired_at - interval '17 minutes' WHERE retired_at IS NOT NULL"
)


def tenure(*words: str, database_url: str, folder: Path, key: str = KEY, **more: str) -> tuple[int, dict]:
    """Run the command as an operator does; exit code and its JSON."""
    environment = services.environment(
        TENURE_DATABASE_URL=database_url, TENURE_SECRET_KEY=key, TENURE_DATA_DIR=str(folder), **more
    )
    done = subprocess.run(
        [sys.executable, "-m", "tenure", *words, "--json"],
        cwd=services.ROOT, env=dict(environment), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    assert key not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def of_web(web: Web, *words: str) -> dict:
    code, told = tenure(*words, database_url=web.db.url, folder=web.folder)
    assert code == 0, told
    return told


@pytest.fixture
def unrotated(web: Web) -> Iterator[None]:
    """Before and after the test the web process has its first key alone."""
    # It may still sign with the key of the test before, which is gone: it looks every few seconds.
    until(lambda: kid_of(signed_in(web)["access_token"]) == "k0", what="the web process has the first key")
    yield
    with web.db.transaction() as session:
        session.execute(text("DELETE FROM signing_key"))


def signed_in(web: Web) -> dict:
    given = {"email": EMAIL, "password": PASSWORD, "transport": "body"}
    answer = web.call("POST", "/auth/login", role=None, json=given)
    assert answer.status == 200, answer.body
    return answer.json


def me(web: Web, token: str) -> int:
    return web.call("GET", "/me", role=None, headers={"Authorization": f"Bearer {token}"}).status


def refresh(web: Web, token: str) -> dict | None:
    answer = web.call("POST", "/auth/refresh", role=None, json={"refresh_token": token})
    return answer.json if answer.status == 200 else None


def kid_of(token: str) -> str:
    import jwt

    return jwt.get_unverified_header(token)["kid"]


@pytest.mark.usefixtures("unrotated")
def test_tokens_of_the_key_before_are_believed_until_they_expire_and_then_not(web: Web):
    assert [one["state"] for one in of_web(web, "keys", "list")["items"]] == ["current"]
    before = signed_in(web)
    assert kid_of(before["access_token"]) == "k0"
    assert of_web(web, "keys", "rotate")["kid"] == "k1"
    listed = {one["kid"]: one["state"] for one in of_web(web, "keys", "list")["items"]}
    assert listed == {"k1": "current", "k0": "previous"}
    until(
        lambda: kid_of(signed_in(web)["access_token"]) == "k1", what="the web process signs with the new key"
    )
    assert me(web, before["access_token"]) == 200
    with web.db.transaction() as session:
        session.execute(text(OLD_ENOUGH))
    until(lambda: me(web, before["access_token"]) == 401, what="the key before is believed no more")
    assert refresh(web, before["refresh_token"]) is None, "a session that was not used meanwhile is over"
    listed = {one["kid"]: one["state"] for one in of_web(web, "keys", "list")["items"]}
    assert listed == {"k1": "current", "k0": "retired"}


@pytest.mark.usefixtures("unrotated")
def test_a_session_that_is_used_goes_on_under_the_new_key(web: Web):
    before = signed_in(web)
    of_web(web, "keys", "rotate")
    until(lambda: kid_of(signed_in(web)["access_token"]) == "k1")
    after = refresh(web, before["refresh_token"])
    assert after is not None
    with web.db.transaction() as session:  # ten seconds are no time on a machine that stalls
        session.execute(text("UPDATE session SET rotated_at = rotated_at + interval '5 minutes'"))
    again = refresh(web, before["refresh_token"])
    assert again is not None, "a lost answer can be asked for again, across a rotation too"
    with web.db.transaction() as session:
        session.execute(text(OLD_ENOUGH))
    until(lambda: me(web, before["access_token"]) == 401)
    assert me(web, after["access_token"]) == 200
    assert refresh(web, after["refresh_token"]) is not None


@pytest.mark.usefixtures("unrotated")
def test_a_key_that_another_process_made_is_believed_at_once(web: Web):
    of_web(web, "keys", "rotate")
    environment = {
        "TENURE_DATABASE_URL": web.db.url,
        "TENURE_SECRET_KEY": KEY,
        "TENURE_DATA_DIR": str(web.folder),
    }
    from tenure.accounts.sign_in import sign_in
    from tenure.accounts.tokens import Tokens
    from tenure.keys.live_ring import LiveRing

    elsewhere = Tokens(LiveRing(load(environment), web.db))
    there = sign_in(web.db, elsewhere, email=EMAIL, password=PASSWORD)
    assert kid_of(there.access_token) == "k1"
    until(lambda: me(web, there.access_token) == 200)


@pytest.mark.usefixtures("unrotated")
def test_tokens_that_name_a_key_of_their_own_choice_are_refused(web: Web):
    import jwt

    of_web(web, "keys", "rotate")
    good = signed_in(web)["access_token"]
    claims = jwt.decode(good, options={"verify_signature": False})
    for kid, secret in (("k0", ""), ("k1", "k1"), ("k9", KEY), ("../../dev/null", ""), ("k1' OR 1=1", KEY)):
        forged = jwt.encode(claims, secret.encode().ljust(32, b"x"), algorithm="HS256", headers={"kid": kid})
        assert me(web, forged) == 401, kid
    for header in ({"kid": None}, {"kid": 7}, {"kid": ["k1"]}):
        head = json.dumps({"alg": "HS256", "typ": "JWT", **header}).encode()
        import base64

        forged = base64.urlsafe_b64encode(head).rstrip(b"=").decode() + "." + good.split(".", 1)[1]
        assert me(web, forged) == 401, header


# -- what is kept sealed --


@pytest.fixture
def given(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "TENURE_DATABASE_URL": database_url,
        "TENURE_SECRET_KEY": KEY,
        "TENURE_DATA_DIR": str(tmp_path),
    }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def settings(given: dict[str, str], **more: str) -> Settings:
    return load({**given, **more})


def endpoint(deps: wiring.Deps, url: str) -> dict:
    with deps.db.transaction() as session:
        deps.keys.load(session)
        return create_endpoint(
            session, url=url, types=["*"], allow_private=True, sealer=deps.webhook_sealer, actor=SYSTEM
        )


def told(deps: wiring.Deps) -> None:
    """Something happened, and the endpoints were told."""
    with deps.db.transaction() as session:
        append(session, [NewEvent("subscription.renewed", "subscription:sub_1", (), {})])
        assert order.lead(session, holder="test", lease_s=60)
        order.number_pending(session)
    deliver.run(build.run(deps.db, "webhooks"), deps.post_webhook, deps.webhook_sealer)
    deps.guarded_door.close()


def sealed(db: Database) -> list[bytes]:
    rows = build.rows(db, "SELECT secret_sealed FROM webhook_endpoint ORDER BY id")
    return [bytes(row.secret_sealed) for row in rows]


def test_a_rotation_seals_everything_anew_and_the_secrets_stay(db, given, tmp_path, database_url, receiver):
    made = endpoint(wiring.Deps(settings(given), db), receiver.url)
    (first,) = sealed(db)
    assert first[0] == 1, "the version before can read it"
    assert tenure("keys", "rotate", database_url=database_url, folder=tmp_path) == (
        0,
        {"kid": "k1", "resealed": 1, "unreadable": 0},
    )
    (second,) = sealed(db)
    assert second.startswith(b"\x02\x02k1")
    with pytest.raises(Unreadable):
        Sealer(KEY, purpose="webhook endpoint secrets").open(second, about=made["id"])
    deps = wiring.Deps(settings(given), db)
    told(deps)
    assert len(receiver.messages(made["secret"])) == 1
    assert tenure("keys", "rotate", database_url=database_url, folder=tmp_path)[1]["kid"] == "k2"
    told(deps)
    assert len(receiver.messages(made["secret"])) == 2, "a process that knew the ring before goes on"
    (entry, *_) = build.rows(db, "SELECT action, after FROM audit WHERE action = 'keys.rotated' ORDER BY id")
    assert entry.after == {"kid": "k1", "resealed": 1, "unreadable": 0}
    everything = build.rows(db, "SELECT sealed FROM signing_key WHERE sealed IS NOT NULL")
    assert len(everything) == 2
    assert all(KEY.encode() not in bytes(row.sealed) for row in everything)


@pytest.mark.parametrize("rotations_before", [0, 1])
def test_the_master_itself_can_be_changed(db, given, tmp_path, database_url, receiver, rotations_before):
    made = endpoint(wiring.Deps(settings(given), db), receiver.url)
    for _ in range(rotations_before):
        tenure("keys", "rotate", database_url=database_url, folder=tmp_path)
    both = {"TENURE_SECRET_KEY_PREVIOUS": KEY}
    told(wiring.Deps(settings(given, TENURE_SECRET_KEY=OTHER, **both), db))
    assert len(receiver.messages(made["secret"])) == 1, "while both are set everything can be read"
    code, done = tenure("keys", "rotate", database_url=database_url, folder=tmp_path, key=OTHER, **both)
    assert (code, done["resealed"], done["unreadable"]) == (0, 1, 0)
    told(wiring.Deps(settings(given, TENURE_SECRET_KEY=OTHER), db))
    assert len(receiver.messages(made["secret"])) == 2, "the old one is not needed any more"


def test_without_the_old_master_a_rotation_says_what_is_lost(db, given, tmp_path, database_url):
    endpoint(wiring.Deps(settings(given), db), "http://127.0.0.1:1/")
    code, done = tenure("keys", "rotate", database_url=database_url, folder=tmp_path, key=OTHER)
    assert (code, done["unreadable"]) == (1, 1)


def test_two_rotations_at_once_leave_one_current_key(db, tmp_path, database_url):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(tenure, "keys", "rotate", database_url=database_url, folder=tmp_path)
            for _ in range(3)
        ]
        assert [job.result()[0] for job in jobs] == [0, 0, 0]
    rows = build.rows(db, "SELECT kid, retired_at FROM signing_key ORDER BY kid")
    assert [row.kid for row in rows] == ["k0", "k1", "k2", "k3"]
    assert [row.kid for row in rows if row.retired_at is None] == ["k3"]


def test_while_an_endpoints_secret_is_changed_both_sign(db, given, receiver):
    deps = wiring.Deps(settings(given), db)
    made = endpoint(deps, receiver.url)
    with db.transaction() as session:
        deps.keys.load(session)
        changed = rotate_secret(session, made["id"], sealer=deps.webhook_sealer, actor=SYSTEM)
    assert changed["secret"] != made["secret"]
    assert changed["previous_secret_until"] is not None
    told(deps)
    (request,) = receiver.requests
    assert len(request.headers[signing.SIGNATURE_HEADER].split()) == 2
    assert len(receiver.messages(made["secret"])) == 1
    assert len(receiver.messages(changed["secret"])) == 1
    build.rows(db, "UPDATE webhook_endpoint SET previous_until = clock_timestamp() RETURNING 1")
    told(deps)
    last = receiver.requests[-1]
    assert len(last.headers[signing.SIGNATURE_HEADER].split()) == 1
    with pytest.raises(signing.BadSignature):
        signing.verify([made["secret"]], headers=last.headers, body=last.body, now=clock.unix_seconds())
    actions = build.rows(db, "SELECT 1 FROM audit WHERE action = 'webhook_endpoint.rotate_secret'")
    assert len(actions) == 1


def test_an_endpoints_secret_is_changed_over_http_by_admins_alone(web: Web):
    made = web.call("POST", "/webhook-endpoints", json={"url": "https://example.com/h", "types": ["*"]}).json
    path = f"/webhook-endpoints/{made['id']}/rotate-secret"
    assert web.call("POST", path, role="operator", json={}).status == 403
    changed = web.call("POST", path, json={})
    assert changed.status == 200, changed.body
    assert changed.json["secret"].startswith("whsec_")
    assert changed.json["secret"] != made["secret"]
    shown = web.call("GET", f"/webhook-endpoints/{made['id']}").body.decode()
    assert changed.json["secret"] not in shown
    assert web.call("POST", "/webhook-endpoints/whe_none/rotate-secret", json={}).status == 404
