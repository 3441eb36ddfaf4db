"""Two figures of webhooks: when any came in last, and when a proved one did."""

from __future__ import annotations

import json
from pathlib import Path

from tenure.kit import clock, signing
from tests.support import web as web_support
from tests.support.waiting import until

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1wcm92aWRlci1vZi10aGUtdGVzdHM="
RECEIVED = "tenure_webhook_last_received_timestamp_seconds"
AUTHENTICATED = "tenure_webhook_last_authenticated_timestamp_seconds"


def test_a_stranger_moves_only_the_figure_of_what_was_received(
    database_url: str, broker_url: str, live_url: str, tmp_path: Path
) -> None:
    providers = json.dumps([{"name": "bank", "kind": "hmac", "secret": SECRET}])
    with web_support.running(
        tmp_path,
        database_url=database_url,
        broker_url=broker_url,
        live_url=live_url,
        TENURE_PAYMENT_PROVIDERS=providers,
    ) as web:

        def shown() -> str:
            return web.call("GET", "/metrics").body.decode()

        def post(headers: dict[str, str]) -> int:
            headers = {**headers, "Content-Type": "application/json"}
            return web.call("POST", "/hooks/payments/bank", role=None, body=body, headers=headers).status

        body = json.dumps({"type": "payment.confirmed", "invoice_id": "inv_none"}).encode()
        assert f"{RECEIVED}{{" not in shown()
        assert post({}) == 401
        until(lambda: f'{RECEIVED}{{hook="payments"}}' in shown(), 30, what="it was noted")
        assert f"{AUTHENTICATED}{{" not in shown()
        signed = signing.signed_headers(
            [SECRET], message_id="msg_1", timestamp=clock.unix_seconds(), body=body
        )
        assert post(dict(signed)) == 200
        until(lambda: f'{AUTHENTICATED}{{hook="payments"}}' in shown(), 30, what="it was noted too")
