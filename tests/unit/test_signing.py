"""Signatures: the vectors were made with the openssl command, not with this code."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.errors import Invalid
from tenure.kit import signing

# secret="whsec_" + base64 of the bytes 0x00..0x1f; made with
#   printf 'msg_1.1700000000.{"type":"x"}' |
#   openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f -binary | base64
WHSEC = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY = b'{"type":"x"}'
WHSEC_SIGNATURE = "v1,Lb2lGY1NwLU374cIn8s002qG1XvdHK6XToSjcNFDuCg="
# printf ... | openssl dgst -sha256 -hmac 'grüße, plain secret' -binary | base64
PLAIN = "grüße, plain secret"
PLAIN_SIGNATURE = "v1,mO8VfuRNcr/pITpnVA+1RgYhLL09zPBGmGL4VNx56gg="
NOW = 1_700_000_000


def headers(signature: str, *, message_id: str = "msg_1", timestamp: str = str(NOW)) -> dict[str, str]:
    return {"Webhook-Id": message_id, "WEBHOOK-TIMESTAMP": timestamp, "webhook-signature": signature}


@pytest.mark.parametrize(("secret", "expected"), [(WHSEC, WHSEC_SIGNATURE), (PLAIN, PLAIN_SIGNATURE)])
def test_signatures_are_those_that_openssl_makes(secret: str, expected: str):
    assert signing.signature(secret, message_id="msg_1", timestamp=NOW, body=BODY) == expected
    assert signing.verify([secret], headers=headers(expected), body=BODY, now=NOW) == "msg_1"


@pytest.mark.parametrize("drift", [-300, -1, 0, 1, 300])
def test_the_time_may_be_off_by_five_minutes_either_way(drift: int):
    signing.verify([WHSEC], headers=headers(WHSEC_SIGNATURE), body=BODY, now=NOW + drift)


@pytest.mark.parametrize("drift", [-301, 301, 10_000_000])
def test_older_and_future_signatures_are_refused(drift: int):
    with pytest.raises(signing.BadSignature):
        signing.verify([WHSEC], headers=headers(WHSEC_SIGNATURE), body=BODY, now=NOW + drift)


def test_any_of_several_secrets_and_any_of_several_signatures_will_do():
    both = signing.signed_headers([PLAIN, WHSEC], message_id="msg_1", timestamp=NOW, body=BODY)
    assert both["webhook-signature"] == f"{PLAIN_SIGNATURE} {WHSEC_SIGNATURE}"
    for known in ([PLAIN], [WHSEC], ["other", WHSEC]):
        assert signing.verify(known, headers=both, body=BODY, now=NOW) == "msg_1"
    with pytest.raises(signing.BadSignature):
        signing.verify(["other"], headers=both, body=BODY, now=NOW)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"webhook-id": "msg_1", "webhook-timestamp": str(NOW)},
        headers(""),
        headers("v1,"),
        headers("v1,AAAA"),
        headers("v1a," + WHSEC_SIGNATURE.removeprefix("v1,")),
        headers(WHSEC_SIGNATURE.removeprefix("v1,")),
        headers(WHSEC_SIGNATURE, message_id=""),
        headers(WHSEC_SIGNATURE, message_id="msg_2"),
        headers(WHSEC_SIGNATURE, timestamp=str(NOW + 1)),
        headers(WHSEC_SIGNATURE, timestamp=f"{NOW}.0"),
        headers(WHSEC_SIGNATURE, timestamp=f"+{NOW}"),
        headers(WHSEC_SIGNATURE, timestamp="1" * 5000),
        headers(WHSEC_SIGNATURE, timestamp="\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660"),
        headers("v1,\udcff\udcfe"),
    ],
)
def test_missing_malformed_and_changed_headers_are_refused(bad: dict[str, str]):
    with pytest.raises(signing.BadSignature):
        signing.verify([WHSEC], headers=bad, body=BODY, now=NOW)


@given(bit=st.integers(min_value=0, max_value=len(BODY) * 8 - 1))
def test_a_body_with_one_bit_flipped_is_refused(bit: int):
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(signing.BadSignature):
        signing.verify([WHSEC], headers=headers(WHSEC_SIGNATURE), body=bytes(changed), now=NOW)


@given(place=st.integers(min_value=3, max_value=45), letter=st.sampled_from(string.ascii_letters))
def test_a_signature_with_one_letter_changed_is_refused(place: int, letter: str):
    changed = WHSEC_SIGNATURE[:place] + letter + WHSEC_SIGNATURE[place + 1 :]
    if base64.b64decode(changed[3:]) == base64.b64decode(WHSEC_SIGNATURE[3:]):
        return
    with pytest.raises(signing.BadSignature):
        signing.verify([WHSEC], headers=headers(changed), body=BODY, now=NOW)


def test_a_secret_that_claims_to_be_base64_and_is_not_is_refused():
    with pytest.raises(Invalid):
        signing.signature("whsec_not base64!", message_id="m", timestamp=1, body=b"")
