"""Signing in and out, sessions, users and keys, against a real web process."""

from __future__ import annotations

import threading
import time

from sqlalchemy import text

from tests.support.web import EMAIL, PASSWORD, Answer, Web


def login(web: Web, email: str = EMAIL, password: str = PASSWORD, **headers: str) -> Answer:
    return web.call(
        "POST", "/auth/login", role=None, json={"email": email, "password": password}, headers=headers
    )


def body_login(web: Web) -> dict:
    given = {"email": EMAIL, "password": PASSWORD, "transport": "body"}
    return web.call("POST", "/auth/login", role=None, json=given).json


def with_token(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refresh(web: Web, token: str) -> Answer:
    return web.call("POST", "/auth/refresh", role=None, json={"refresh_token": token})


def test_signing_in_gives_an_access_token_and_a_strict_cookie(web: Web):
    answer = login(web)
    assert answer.status == 200
    assert answer.json["expires_in"] == 900
    assert answer.json["user"] == {"id": web.ids["admin"], "email": EMAIL, "role": "admin"}
    assert "refresh_token" not in answer.json
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("tenure_session=tnr_ses_")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    me = web.call("GET", "/me", role=None, headers=with_token(answer.json["access_token"]))
    assert me.json["email"] == EMAIL


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(web: Web):
    wrong = login(web, password="not the password").json
    unknown = login(web, email="nobody@example.com", password="not the password").json
    assert wrong.pop("request_id") != unknown.pop("request_id")
    assert wrong == unknown
    assert wrong["status"] == 401
    assert wrong["code"] == "bad_credentials"


def test_failures_delay_the_next_try_and_nobody_is_locked_out(web: Web):
    address = "viewer@example.com"
    for _ in range(5):
        assert login(web, email=address, password="wrong").status == 401
    with web.db.transaction() as session:
        wait = session.execute(
            text("SELECT not_before - clock_timestamp() FROM app_user WHERE email = :e"), {"e": address}
        ).scalar_one()
        assert wait.total_seconds() <= 1
        session.execute(text("UPDATE app_user SET not_before = NULL WHERE email = :e"), {"e": address})
    assert login(web, email=address).status == 200
    with web.db.transaction() as session:
        assert (
            session.execute(
                text("SELECT failures FROM app_user WHERE email = :e"), {"e": address}
            ).scalar_one()
            == 0
        )


def failures(web: Web, email: str) -> tuple[int, float]:
    """How many, and for how many seconds the account rests."""
    with web.db.transaction() as session:
        row = session.execute(
            text("""
                SELECT failures,
                       coalesce(extract(epoch FROM not_before - clock_timestamp()), 0)::float8 AS wait
                FROM app_user WHERE email = :e
            """),
            {"e": email},
        ).one()
        return row.failures, row.wait


def set_failures(web: Web, email: str, number: int, *, wait_s: float | None = None) -> None:
    with web.db.transaction() as session:
        session.execute(
            text("""
                UPDATE app_user SET failures = :n,
                    not_before = clock_timestamp() + CAST(:wait AS float8) * interval '1 second'
                WHERE email = :e
            """),
            {"e": email, "n": number, "wait": wait_s},
        )


def test_delays_double_from_one_second_to_five_minutes(web: Web):
    address = "operator@example.com"
    for before, longest in ((3, 0), (4, 1), (5, 2), (6, 4), (11, 128), (12, 256), (13, 300), (500, 300)):
        set_failures(web, address, before)
        assert login(web, email=address, password="wrong").status == 401
        number, wait = failures(web, address)
        assert number == before + 1
        # The clock went on since; a slow machine may have used up the short ones.
        assert longest - 60 < wait <= longest or (longest <= 60 and wait <= longest), (before, wait)
    set_failures(web, address, 0)
    assert login(web, email=address).status == 200


def test_while_a_delay_runs_the_right_password_is_refused_like_a_wrong_one(web: Web):
    address = "operator@example.com"
    set_failures(web, address, 8, wait_s=60)
    right, wrong = login(web, email=address).json, login(web, email=address, password="wrong").json
    right.pop("request_id"), wrong.pop("request_id")
    assert right == wrong
    assert failures(web, address)[0] == 8, "tries that came too early do not make it longer"
    set_failures(web, address, 0)


def test_a_browser_with_a_session_of_its_own_is_not_kept_out_by_others(web: Web):
    address = "operator@example.com"
    cookie = login(web, email=address).headers["Set-Cookie"].split(";")[0]
    of_another = login(web).headers["Set-Cookie"].split(";")[0]
    set_failures(web, address, 8, wait_s=60)
    assert login(web, email=address).status == 401
    assert login(web, email=address, Cookie=of_another).status == 401
    assert login(web, email=address, Cookie=cookie[:-3] + "AAA").status == 401
    assert login(web, email=address, password="wrong", Cookie=cookie).status == 401
    assert login(web, email=address, Cookie=cookie).status == 200
    assert failures(web, address)[0] == 0


def test_guesses_side_by_side_gain_nothing(web: Web):
    address = "operator@example.com"
    set_failures(web, address, 0)
    answers: list[int] = []
    tries = ["wrong"] * 40

    def guess(password: str) -> None:
        answers.append(login(web, email=address, password=password).status)

    threads = [threading.Thread(target=guess, args=(password,)) for password in tries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert answers == [401] * 40
    number, _ = failures(web, address)
    assert number >= 5
    set_failures(web, address, number, wait_s=60)
    assert login(web, email=address).status == 401
    set_failures(web, address, 0)


def test_an_unknown_address_takes_as_long_as_a_known_one(web: Web):
    times: dict[str, list[float]] = {"operator@example.com": [], "nobody@example.com": []}
    for _ in range(9):
        for address, taken in times.items():
            set_failures(web, address, 0)
            began = time.monotonic()
            assert login(web, email=address, password="wrong").status == 401
            taken.append(time.monotonic() - began)
    known, unknown = (min(taken) for taken in times.values())
    # Without the dummy hash the unknown one would take a fraction.
    assert unknown > known / 2
    set_failures(web, "operator@example.com", 0)


def test_many_logins_at_once_leave_the_process_free_for_others(web: Web):
    done: list[int] = []
    threads = [threading.Thread(target=lambda: done.append(login(web).status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    answered = 0
    while any(thread.is_alive() for thread in threads):
        assert web.call("GET", "/livez", role=None).status == 200
        answered += 1
    assert done == [200] * 30
    assert answered >= 2, "others were served meanwhile"


def test_the_cookie_opens_no_api(web: Web):
    cookie = login(web).headers["Set-Cookie"].split(";")[0]
    assert web.call("GET", "/me", role=None, headers={"Cookie": cookie}).status == 401
    made = web.call("POST", "/users", role=None, json={}, headers={"Cookie": cookie})
    assert made.status == 401


def test_the_cookie_refreshes_and_logs_out(web: Web):
    cookie = login(web).headers["Set-Cookie"].split(";")[0]
    again = web.call("POST", "/auth/refresh", role=None, headers={"Cookie": cookie})
    assert again.status == 200
    renewed = again.headers["Set-Cookie"].split(";")[0]
    assert renewed != cookie
    out = web.call("POST", "/auth/logout", role=None, headers={"Cookie": renewed})
    assert out.status == 204
    assert "tenure_session=;" in out.headers["Set-Cookie"].replace('""', "")
    assert web.call("POST", "/auth/refresh", role=None, headers={"Cookie": renewed}).status == 401


def test_another_sites_page_cannot_use_the_cookie(web: Web):
    cookie = login(web).headers["Set-Cookie"].split(";")[0]
    for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = web.call("POST", "/auth/refresh", role=None, headers={"Cookie": cookie, **foreign})
        assert answer.status == 403, foreign
    own = web.call("POST", "/auth/refresh", role=None, headers={"Cookie": cookie, "Origin": web.url})
    assert own.status == 200


def test_a_refresh_token_may_be_repeated_at_once_but_not_later(web: Web):
    first = body_login(web)["refresh_token"]
    second = refresh(web, first).json["refresh_token"]
    assert refresh(web, first).json["refresh_token"] == second, "a lost answer can be asked for again"
    session_id = first.removeprefix("tnr_").split(".")[0]
    with web.db.transaction() as session:
        session.execute(
            text("UPDATE session SET rotated_at = rotated_at - interval '11 seconds' WHERE id = :id"),
            {"id": session_id},
        )
    stolen = refresh(web, first)
    assert stolen.status == 401
    assert stolen.json["code"] == "token_reused"
    assert refresh(web, second).status == 401, "the whole session is closed"


def test_ending_a_session_ends_its_access_token_at_once(web: Web):
    mine = body_login(web)
    headers = with_token(mine["access_token"])
    items = web.call("GET", "/auth/sessions", role=None, headers=headers).json["items"]
    current = next(item for item in items if item["current"])
    assert web.call("DELETE", f"/auth/sessions/{current['id']}", role=None, headers=headers).status == 204
    assert web.call("GET", "/me", role=None, headers=headers).status == 401


def test_nobody_ends_the_session_of_another(web: Web):
    body_login(web)
    with web.db.transaction() as session:
        of_admin = session.execute(text("SELECT max(id) FROM session")).scalar_one()
    assert web.call("DELETE", f"/auth/sessions/{of_admin}", role="viewer").status == 404


def test_tokens_that_were_tampered_with_are_refused(web: Web):
    good = body_login(web)["access_token"]
    head, claims, signature = good.split(".")
    for bad in (
        good[:-2],
        f"{head}.{claims}.",
        f"eyJhbGciOiJub25lIn0.{claims}.",
        f"{head}.{claims}A.{signature}",
        "x",
        "tnk_" + "a" * 43,
        "a" * 6000,
        body_login(web)["refresh_token"],
    ):
        answer = web.call("GET", "/me", role=None, headers=with_token(bad))
        assert answer.status == 401, bad
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_admin_adds_changes_and_disables_users(web: Web):
    made = web.call("POST", "/users", json={"email": "New@example.com", "role": "viewer"})
    assert made.status == 201
    user, password = made.json["id"], made.json["password"]
    assert web.call("POST", "/users", json={"email": "new@EXAMPLE.com", "role": "viewer"}).status == 409
    token = login(web, email="new@example.com", password=password).json["access_token"]
    assert web.call("PATCH", f"/users/{user}", json={"role": "operator"}).json["role"] == "operator"
    assert web.call("GET", "/me", role=None, headers=with_token(token)).status == 401, "sessions have ended"
    assert web.call("DELETE", f"/users/{user}").status == 204
    assert login(web, email="new@example.com", password=password).status == 401
    actions = [item["action"] for item in web.call("GET", "/audit").json["items"]]
    assert {"user.created", "user.changed", "user.disabled"} <= set(actions)


def test_the_last_admin_stays(web: Web):
    answer = web.call("PATCH", f"/users/{web.ids['admin']}", json={"role": "viewer"})
    assert (answer.status, answer.json["code"]) == (409, "last_admin")
    assert web.call("DELETE", f"/users/{web.ids['admin']}").status == 409
    assert login(web).status == 200


def test_a_key_is_shown_once_and_ends_when_revoked(web: Web):
    made = web.call("POST", "/api-keys", json={"name": "shop", "role": "viewer"})
    assert made.status == 201
    key, key_id = made.json["key"], made.json["id"]
    assert key.startswith("tnk_")
    assert made.json["created_by"].startswith("key:")
    assert made.json["created_by_name"] == "test admin"
    listed = web.call("GET", "/api-keys").body.decode()
    assert key not in listed
    assert key_id in listed
    assert web.call("GET", "/me", role=None, headers=with_token(key)).status == 200
    assert web.call("DELETE", f"/api-keys/{key_id}").status == 204
    assert web.call("GET", "/me", role=None, headers=with_token(key)).status == 401
    with web.db.transaction() as session:
        assert not session.execute(
            text("SELECT 1 FROM api_key WHERE key_hash = :key OR prefix = :key"), {"key": key}
        ).first()
