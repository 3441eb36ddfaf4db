"""The checkout page: what to pay, where, and how far it is. Its address is its only key."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from flask import Response
from markupsafe import Markup, escape

from tenure.errors import NotFound
from tenure.kit.money import Money
from tenure.payments import queries
from web.route import Call, Routes

routes = Routes("Checkout", prefix="")

_REFRESH_S: Final = 4
_STYLE: Final = """
:root{color-scheme:light dark;--line:#d5d9e0;--soft:#5b6472;--good:#13795b;--bad:#a4262c}
body{font:16px/1.5 system-ui,sans-serif;margin:0;padding:2rem 1rem}
main{max-width:34rem;margin:0 auto}
h1{font-size:1.3rem;margin:0 0 .2rem}
p{margin:.3rem 0}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}
dl{border-top:1px solid var(--line);margin:1.2rem 0}
dt{color:var(--soft);font-size:.85rem;margin-top:.8rem}
dd{margin:0;font-family:ui-monospace,monospace;overflow-wrap:anywhere;user-select:all}
.big{font-size:1.5rem}
a.pay{display:inline-block;padding:.6rem 1.1rem;border:1px solid currentColor;border-radius:.4rem}
@media(prefers-color-scheme:dark){:root{--line:#39414d;--soft:#9aa4b2;--good:#4cc9a0;--bad:#ff8a8a}}
"""
# The style is the page's only active part, and allowed by its hash.
_CSP: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAID: Final = {
    "open": ("", "Waiting for your payment"),
    "paid": ("good", "Paid. Thank you."),
    "expired": ("bad", "This invoice has expired"),
    "void": ("bad", "This invoice is void: please do not pay it"),
    "draft": ("", "This invoice is not open yet"),
}


@routes.get("/pay/{token}", role=None, summary="The checkout page of an invoice")
def page(call: Call, token: str) -> Response:
    try:
        invoice = queries.invoice_by_token(call.session, call.services.settings, token)
    except NotFound:
        return _html("Not found", Markup("<h1>There is no such page</h1>"), 404, refresh=False)
    return _html(
        f"Invoice {invoice['number']}", _body(invoice), 200, refresh=invoice["status"] in {"open", "expired"}
    )


def _html(title: str, body: Markup, status: int, *, refresh: bool) -> Response:
    again = Markup('<meta http-equiv="refresh" content="{}">').format(_REFRESH_S) if refresh else Markup("")
    text = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="robots" content="noindex">{again}<title>{title}</title><style>{style}</style></head>'
        "<body><main>{body}</main></body></html>"
    ).format(again=again, title=title, style=Markup(_STYLE), body=body)  # noqa: S704 - our own constant
    answer = Response(str(text), status=status, content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = _CSP
    return answer


def _body(invoice: dict[str, Any]) -> Markup:
    tone, said = _said(invoice)
    price = Money(invoice["amount"]["amount_minor"], invoice["amount"]["currency"])
    parts = [
        Markup("<h1>Invoice {}</h1>").format(invoice["number"]),
        Markup('<p class="soft">{}</p>').format(str(price)),
        Markup('<p class="{}" role="status"><strong>{}</strong></p>').format(tone, said),
    ]
    if invoice["status"] == "open" and "quote" in invoice:
        parts.append(_quote(invoice["quote"]))
    elif invoice["status"] == "open" and "pay_url" in invoice:
        parts.append(Markup('<p><a class="pay" href="{}">Pay</a></p>').format(invoice["pay_url"]))
    elif invoice["status"] == "open":
        parts.append(Markup("<p>Please ask the seller how to pay this invoice.</p>"))
    return Markup("").join(parts)


def _said(invoice: dict[str, Any]) -> tuple[str, str]:
    seen, required = invoice["confirmations"]["seen"], invoice["confirmations"]["required"]
    if invoice["status"] == "open" and seen:
        return "good", f"Payment seen: {seen} of {required} confirmations"
    if invoice["status"] == "open" and invoice["exception"] == "underpaid":
        paid = Money(invoice["paid"]["amount_minor"], invoice["paid"]["currency"])
        return "bad", f"{paid} arrived; please pay the rest"
    return _SAID[invoice["status"]]


def _quote(quote: dict[str, Any]) -> Markup:
    return Markup(
        "<dl><dt>Send exactly</dt><dd class=big>{amount} {asset}</dd>"
        "<dt>To the address</dt><dd>{address}</dd>"
        "<dt>On</dt><dd>{chain} (chain id {chain_id})</dd>"
        "<dt>Token contract</dt><dd>{contract}</dd>"
        "<dt>Until</dt><dd>{until}</dd></dl>"
        '<p class="soft">The exact amount tells which invoice you pay: send neither more nor less.</p>'
        '<p><a class="pay" href="{uri}">Open in a wallet</a></p>'
        "<dl><dt>For a QR code or another device</dt><dd>{uri}</dd></dl>"
    ).format(
        amount=quote["amount"],
        asset=quote["asset"],
        address=quote["address"],
        chain=quote["chain"],
        chain_id=quote["chain_id"],
        contract=quote["contract"],
        until=quote["expires_at"],
        uri=escape(quote["uri"]),
    )
