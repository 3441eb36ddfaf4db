"""What an endpoint may be, and how its secret is sealed."""

from __future__ import annotations

import base64

import pytest

from tenure.kit import signing
from tenure.kit.sealing import Sealer, Unreadable
from tenure.webhooks.rules import is_known, problems
from tenure.webhooks.secret import new_secret

PRIVATE = [
    "http://example.com/hook",
    "https://127.0.0.1/hook",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://10.0.0.8/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[fd00::1]/",
    "https://0.0.0.0/",
    "https://localhost/",
    "https://localhost./",
    "https://db.internal/",
    "https://printer.local/",
    "https://intranet/",
]
MALFORMED = [
    "",
    "ftp://example.com/",
    "//example.com/",
    "https://",
    "https://user:secret@example.com/",
    "https://example.com/#part",
    "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com:99999/",
    "https://[::1/",
    "https://éxample.com/",
    "javascript:alert(1)",
    "https://example.com/" + "a" * 3000,
]


@pytest.mark.parametrize("url", [*PRIVATE, *MALFORMED])
def test_a_production_install_refuses_urls_that_lead_inside_or_nowhere(url: str):
    assert [error.field for error in problems(url, ["*"], allow_private=False)] == ["url"]


@pytest.mark.parametrize(
    "url", ["https://example.com/hook?a=b", "https://8.8.8.8:8443/", "https://hooks.example.org"]
)
def test_public_https_urls_are_taken(url: str):
    assert problems(url, ["*"], allow_private=False) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "http://localhost/", "https://[::1]:1/"])
def test_a_development_install_takes_addresses_of_its_own_machine(url: str):
    assert problems(url, ["*"], allow_private=True) == []


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_malformed_is_refused_everywhere(url: str):
    assert [error.field for error in problems(url, ["*"], allow_private=True)] == ["url"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("subscription.*", True),
        ("invoice.paid", True),
        ("payment.confirmed", True),
        ("entitlement.changed", True),
        ("iteration.failed", True),
        ("*", True),
        ("iteration.*", False),
        ("iteration.ended", False),
        ("subscription", False),
        ("subscription.", False),
        ("subscription.**", False),
        ("Invoice.paid", False),
        ("invoice.paid\n", False),
        ("", False),
    ],
)
def test_only_types_that_are_told_can_be_asked_for(name: str, known: bool):
    assert is_known(name) is known


def test_every_unknown_type_is_named():
    types = ["invoice.*", "nonsense.*", "iteration.ended", "invoice.*"]
    found = {
        (error.field, error.code) for error in problems("https://example.com", types, allow_private=False)
    }
    assert found == {("types", "duplicate"), ("types.1", "unknown_type"), ("types.2", "unknown_type")}
    assert [error.code for error in problems("https://example.com", [], allow_private=False)] == ["length"]


def test_a_new_secret_is_what_standard_webhooks_asks_for():
    secret = new_secret()
    assert len(signing.key_bytes(secret)) == 32
    assert base64.b64decode(secret.removeprefix("whsec_"), validate=True) == signing.key_bytes(secret)
    assert secret != new_secret()


def test_a_sealed_secret_opens_only_with_its_key_its_purpose_and_its_owner():
    sealer = Sealer("key", purpose="a")
    sealed = sealer.seal("whsec_x", about="whe_1")
    assert sealer.open(sealed, about="whe_1") == "whsec_x"
    assert b"whsec" not in sealed
    assert sealed != sealer.seal("whsec_x", about="whe_1")
    for other, about, changed in [
        (Sealer("another", purpose="a"), "whe_1", sealed),
        (Sealer("key", purpose="b"), "whe_1", sealed),
        (sealer, "whe_2", sealed),
        (sealer, "whe_1", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (sealer, "whe_1", b"\x02" + sealed[1:]),
        (sealer, "whe_1", b"\x01"),
        (sealer, "whe_1", b""),
    ]:
        with pytest.raises(Unreadable):
            other.open(changed, about=about)
