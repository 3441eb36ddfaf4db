"""Bad input gets a clear answer and changes nothing; roles, idempotency and headers hold on every route."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tests.support import services
from tests.support.web import Answer, Web, running


def keys(web: Web) -> int:
    with web.db.transaction() as session:
        return session.execute(text("SELECT count(*) FROM api_key")).scalar_one()


def raw(web: Web, body: bytes, content_type: str = "application/json", path: str = "/api-keys") -> Answer:
    return web.call("POST", path, body=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"name": "a", "role": "viewer"', 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"name": "a", "name": "b", "role": "viewer"}', 400, "duplicate_key"),
        (b'{"name": NaN, "role": "viewer"}', 400, "non_finite_number"),
        (b'{"name": -Infinity, "role": "viewer"}', 400, "non_finite_number"),
        (b'{"name": 1e999, "role": "viewer"}', 400, "non_finite_number"),
        (b"[" * 10_000, 400, "malformed_json"),
        (b"[" * 100 + b"]" * 100, 400, "malformed_json"),
        (b"[]", 422, "invalid"),
        (b'"text"', 422, "invalid"),
        (b'{"name": "a", "role": "viewer", "extra": 1}', 422, "invalid"),
        (b'{"name": 1, "role": "viewer"}', 422, "invalid"),
        (b'{"name": "a", "role": "king"}', 422, "invalid"),
        (b'{"role": "viewer"}', 422, "invalid"),
        (b'{"name": "a\\u0000b", "role": "viewer"}', 422, "invalid"),
        (b'{"name": "\\ud800", "role": "viewer"}', 422, "invalid"),
    ],
)
def test_a_body_that_is_not_right_is_refused_and_changes_nothing(web: Web, body, status, code):
    before = keys(web)
    answer = raw(web, body)
    assert (answer.status, answer.json["code"]) == (status, code), answer.json
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert keys(web) == before


def test_every_wrong_field_is_named_at_once(web: Web):
    answer = raw(web, b'{"name": 1, "role": "king", "more": true}')
    problems = {item["field"]: item["code"] for item in answer.json["errors"]}
    assert problems.keys() == {"name", "role", "more"}
    assert problems["more"] == "unknown_field"
    assert raw(web, b"{}").json["errors"][0]["code"] == "missing"


def test_other_content_types_are_refused(web: Web):
    body = b'{"name": "a", "role": "viewer"}'
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert raw(web, body, content_type).status == 415
    assert raw(web, body, "application/json; charset=utf-8").status == 201


def test_a_body_over_one_megabyte_is_refused(web: Web):
    assert raw(web, b'{"name": "' + b"a" * 1_000_001 + b'"}').status == 413


def test_a_method_that_is_not_there_names_those_that_are(web: Web):
    answer = web.call("PUT", "/api-keys", json={})
    assert answer.status == 405
    assert {"GET", "POST"} <= {method.strip() for method in answer.headers["Allow"].split(",")}
    assert web.call("GET", "/auth/login", role=None).status == 405


def test_unknown_addresses_and_parameters_are_errors(web: Web):
    assert web.call("GET", "/nothing").status == 404
    assert web.call("POST", "/nothing", json={}).status == 404
    assert web.call("GET", "/iterations/itr_unknown").status == 404
    assert web.call("GET", "/iterations?colour=red").status == 422
    assert web.call("GET", "/iterations?limit=0").status == 422
    assert web.call("GET", "/iterations?limit=1&limit=2").status == 422
    assert web.call("GET", "/iterations?since=yesterday").json["errors"][0]["field"] == "since"
    assert web.call("GET", "/iterations?cursor=%00").status == 422
    assert web.call("GET", "/iterations/%00").status == 404


def routes(web: Web) -> list[tuple[str, str, str]]:
    spec = web.call("GET", "/openapi.json", role=None).json
    return [
        (method.upper(), path, operation["x-tenure-role"])
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
    ]


RANK = {"public": -1, "viewer": 0, "operator": 1, "admin": 2}


def test_every_route_asks_for_a_credential_and_for_its_role(web: Web):
    found = routes(web)
    assert len(found) > 30
    for method, path, needed in found:
        if needed == "public":
            continue
        address = path.replace("{", "").replace("}", "")
        assert web.call(method, address, role=None).status == 401, (method, path)
        for role in ("viewer", "operator", "admin"):
            # A body that no route takes: the role is judged before it, and nothing is changed by it.
            answer = web.call(method, address, role=role, json={"nobody expects this": 1})
            refused = answer.status == 403
            assert refused == (RANK[role] < RANK[needed]), (method, path, role, answer.status)
            if refused:
                assert answer.json["code"] == "forbidden"


def test_the_roles_are_those_of_the_contract(web: Web):
    needed = {(method, path): role for method, path, role in routes(web)}
    reads = {role for (method, path), role in needed.items() if method == "GET" and "/audit" not in path}
    assert reads <= {"viewer", "public"}
    api = "/api/v1"
    for method, path, role in (
        ("GET", "/audit", "operator"),
        ("POST", "/users", "admin"),
        ("POST", "/api-keys", "admin"),
        ("POST", "/jobs/{job}/runs", "operator"),
        ("PATCH", "/schedules/{job}", "operator"),
    ):
        assert needed[method, api + path] == role


def run(web: Web, key: str | None, scope: str = "", role: str = "operator") -> Answer:
    headers = {"Idempotency-Key": key} if key else {}
    return web.call("POST", "/jobs/expiry/runs", role=role, json={"scope": scope}, headers=headers)


def slots(web: Web, scope: str) -> int:
    with web.db.transaction() as session:
        return session.execute(text("SELECT count(*) FROM slot WHERE scope = :s"), {"s": scope}).scalar_one()


def test_a_repeat_with_the_same_key_gets_the_same_answer_and_nothing_happens_twice(web: Web):
    first, second = run(web, "k1", "idem-1"), run(web, "k1", "idem-1")
    assert first.status == second.status == 202
    assert first.json == second.json
    assert first.headers["Idempotent-Replay"] is None
    assert second.headers["Idempotent-Replay"] == "true"
    assert slots(web, "idem-1") == 1


def test_the_same_key_with_another_body_is_a_conflict(web: Web):
    assert run(web, "k2", "idem-2").status == 202
    other = run(web, "k2", "idem-2-other")
    assert (other.status, other.json["code"]) == (409, "idempotency_mismatch")
    assert slots(web, "idem-2-other") == 0


def test_keys_belong_to_who_sent_them(web: Web):
    assert run(web, "k3", "idem-3", role="operator").status == 202
    assert run(web, "k3", "idem-3", role="admin").headers["Idempotent-Replay"] is None
    assert slots(web, "idem-3") == 2


def test_repeats_at_the_same_moment_do_the_work_once(web: Web):
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(run(web, "k4", "idem-4"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["slot_id"] for answer in answers}) == 1
    assert sum(answer.headers["Idempotent-Replay"] is None for answer in answers) == 1
    assert slots(web, "idem-4") == 1


def test_a_refused_request_does_not_use_its_key_up(web: Web):
    headers = {"Idempotency-Key": "k5"}
    assert web.call("POST", "/jobs/nothing/runs", json={}, headers=headers).status == 404
    assert web.call("POST", "/jobs/nothing/runs", json={}, headers=headers).status == 404


def test_a_key_that_cannot_be_read_is_refused(web: Web):
    assert run(web, "with space", "idem-6").status == 400
    assert run(web, "x" * 256, "idem-6").status == 400
    assert slots(web, "idem-6") == 0


def test_secrets_are_not_kept_for_repeats(web: Web):
    headers = {"Idempotency-Key": "k7"}
    body = {"name": "once", "role": "viewer"}
    made = web.call("POST", "/api-keys", json=body, headers=headers)
    again = web.call("POST", "/api-keys", json=body, headers=headers)
    assert (made.status, again.status, again.json["code"]) == (201, 409, "already_answered")
    with web.db.transaction() as session:
        kept = session.execute(text("SELECT string_agg(coalesce(response, ''), '') FROM idempotency_key"))
        assert made.json["key"] not in kept.scalar_one()


def test_security_headers_are_on_every_answer(web: Web):
    for path in ("/", "/api/v1/docs", "/api/v1/me", "/readyz", "/nothing.js", "/api/v1/nothing"):
        answer = web.call("GET", path, role=None)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Server"] != "Werkzeug"


SECURE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def assert_secure(answer: Answer, what: object) -> None:
    """The headers of every answer, whatever kind it is."""
    for name, value in SECURE.items():
        assert answer.headers[name] == value, (what, name)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy, what
    assert "base-uri 'none'" in policy, what
    assert "'unsafe" not in policy, what
    assert answer.headers["X-Frame-Options"] == "DENY", what
    assert "geolocation=()" in answer.headers["Permissions-Policy"], what
    assert answer.headers["Cache-Control"] in {"no-store", "no-cache"}, what
    assert answer.headers["X-Request-Id"], what
    assert answer.headers["Access-Control-Allow-Origin"] is None, what


def test_every_route_and_every_kind_of_answer_has_the_security_headers(web: Web):
    for method, path, _ in routes(web):
        address = path.replace("{", "").replace("}", "")
        for role in (None, "admin"):
            answer = web.call(method, address, role=role, json={"nobody expects this": 1})
            assert answer.status < 500, (method, path, answer.body)
            assert_secure(answer, (method, path, role, answer.status))
    kinds = {
        401: web.call("GET", "/me", role=None),
        404: web.call("GET", "/nothing"),
        405: web.call("PUT", "/plans", json={}),
        413: raw(web, b'{"name": "' + b"a" * 1_000_001 + b'"}'),
        415: raw(web, b"{}", "text/plain"),
        422: raw(web, b"{}"),
        431: web.call("GET", "/me", headers={f"X-Padding-{n}": "x" * 8000 for n in range(9)}),
    }
    for status, answer in kinds.items():
        assert answer.status == status
        assert_secure(answer, status)
    for path in ("/", "/some/page", "/livez", "/readyz", "/metrics", "/pay/nothing", "/ws", "/assets/x.js"):
        assert_secure(web.call("GET", path, role=None), path)


@pytest.fixture
def own_web(postgres, template_database, valkey_server, tmp_path) -> Iterator[Web]:
    """A web process behind a proxy on this machine."""
    with (
        services.fresh_database(postgres, template=template_database) as url,
        running(
            tmp_path,
            database_url=url,
            broker_url=valkey_server.url(7),
            live_url=valkey_server.url(8),
            TENURE_TRUSTED_PROXIES="127.0.0.1",
        ) as made,
    ):
        yield made


def test_over_https_browsers_are_told_to_stay_there(own_web: Web):
    through = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    answer = own_web.call("GET", "/livez", role=None, headers=through)
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert own_web.call("GET", "/livez", role=None).headers["Strict-Transport-Security"] is None


def test_forwarded_headers_of_strangers_are_not_believed(web: Web):
    answer = web.call("GET", "/livez", role=None, headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["Strict-Transport-Security"] is None


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": ""}, True),
    ],
)
@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/auth/logout"])
def test_another_sites_page_makes_no_browser_use_its_cookie(web: Web, path, headers, refused):
    answer = web.call("POST", path, role=None, json={}, headers={"Cookie": "tenure_session=x", **headers})
    if path == "/auth/login":
        given = {"email": "nobody@example.com", "password": "x"}
        answer = web.call("POST", path, role=None, json=given, headers=headers)
    assert (answer.status == 403) == refused, (answer.status, answer.body)
    if refused:
        assert answer.json["code"] == "cross_site"


def test_headers_beyond_any_measure_are_refused(web: Web):
    answer = web.call("GET", "/livez", role=None, headers={f"X-Padding-{n}": "x" * 8000 for n in range(9)})
    assert (answer.status, answer.json["code"]) == (431, "headers_too_large")
    assert web.call("GET", "/livez", role=None, headers={"X-Padding": "x" * 60_000}).status in {400, 431}
    many = {f"X-Padding-{n}": "x" for n in range(200)}
    assert web.call("GET", "/livez", role=None, headers=many).status in {400, 431}
    assert web.call("GET", "/livez", role=None).status == 200


def test_the_docs_need_no_script_and_no_foreign_host(web: Web):
    page = web.call("GET", "/api/v1/docs", role=None).body.decode()
    assert "<script" not in page
    assert "style=" not in page
    assert "https://" not in page
    assert "/api/v1/iterations" in page
    assert web.call("GET", "/api/v1/docs.css", role=None).headers["Content-Type"].startswith("text/css")


def test_no_foreign_origin_is_let_in(web: Web):
    answer = web.call("GET", "/me", headers={"Origin": "https://evil.example"})
    assert answer.headers["Access-Control-Allow-Origin"] is None
    preflight = web.call(
        "OPTIONS",
        "/me",
        role=None,
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
    )
    assert preflight.headers["Access-Control-Allow-Origin"] is None


def test_probes_tell_the_state_of_each_part(web: Web):
    assert web.call("GET", "/livez", role=None).json == {"status": "ok"}
    ready = web.call("GET", "/readyz", role=None)
    assert ready.status == 200
    assert ready.json["status"] == "degraded", "no worker, beat or relay runs here"
    parts = ready.json["parts"]
    assert (parts["database"], parts["broker"], parts["live"]) == ("ok", "ok", "ok")
    assert (parts["worker"], parts["provisioner"], parts["mail"]) == ("down", "off", "off")


def test_metrics_come_from_the_record(web: Web):
    page = web.call("GET", "/metrics", role=None).body.decode()
    assert 'tenure_up{part="database"} 1.0' in page
    assert "tenure_slots_pending" in page
    from_afar = {"X-Forwarded-For": "203.0.113.9"}
    assert web.call("GET", "/metrics", role=None, headers=from_afar).status == 401
    assert web.call("GET", "/metrics", role="viewer", headers=from_afar).status == 200


def test_reads_of_the_overview_answer(web: Web):
    for path in (
        "/jobs", "/slots", "/iterations", "/schedules", "/queues", "/workers", "/integrations", "/events",
        "/audit", "/alerts", "/stats", "/forecast?days=3", "/users", "/api-keys", "/auth/sessions",
    ):  # fmt: skip
        answer = web.call("GET", path)
        assert answer.status == 200, (path, answer.json)
    assert len(web.call("GET", "/forecast?days=3").json["items"]) == 3
    assert {"name": "provisioner", "state": "off"}.items() <= web.call("GET", "/integrations").json["items"][
        0
    ].items()


def test_log_lines_are_json_and_hold_no_secret(web: Web):
    web.call("GET", "/me", headers={"X-Request-Id": "find-me"})
    lines = web.log()
    mine = [line for line in lines if line.get("request_id") == "find-me"]
    assert mine
    assert {"event": "http.request", "path": "/api/v1/me", "status": 200}.items() <= mine[-1].items()
    assert any(line["event"] == "db.pool" and line["max_size"] == 25 for line in lines)
    everything = json.dumps(lines)
    assert not [key for key in web.keys.values() if key in everything]
