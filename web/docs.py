"""The API's documentation as plain HTML made from its OpenAPI document: no script, no foreign host."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, render_template_string
from flask_openapi.openapi import OpenAPI

from web.route import PREFIX

_CSS: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8884; }
details { border: 1px solid #8884; border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
code { font: 13px/1.4 ui-monospace, monospace; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
.role { float: right; opacity: .7; }
td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top; }
"""
_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{ info.title }} API</title>
<link rel="stylesheet" href="{{ prefix }}/docs.css"></head><body>
<h1>{{ info.title }} API</h1>
<p>{{ info.description }} The machine-readable form is
<a href="{{ prefix }}/openapi.json"><code>{{ prefix }}/openapi.json</code></a>.</p>
{% for tag, operations in tags.items() %}<h2>{{ tag }}</h2>
{% for op in operations %}<details><summary><span class="method">{{ op.method }}</span>
<code>{{ op.path }}</code> {{ op.summary }}<span class="role">{{ op.role }}</span></summary>
{% if op.key_required %}<p>Needs the header <code>Idempotency-Key</code>.</p>{% endif %}
{% if op.fields %}<table><tr><th>where</th><th>field</th><th>type</th><th></th></tr>
{% for f in op.fields %}<tr><td>{{ f.where }}</td><td><code>{{ f.name }}</code></td><td>{{ f.type }}</td>
<td>{{ 'required' if f.required }}</td></tr>{% endfor %}</table>{% endif %}
<p>Answers: {{ op.answers }}</p></details>{% endfor %}{% endfor %}</body></html>"""


def install(app: OpenAPI) -> None:
    """Serve `/api/v1/openapi.json`, `/api/v1/docs` and its style sheet."""
    app.add_url_rule(f"{PREFIX}/openapi.json", "openapi_json", lambda: app.api_doc)
    app.add_url_rule(f"{PREFIX}/docs", "docs", lambda: page(app.api_doc))
    app.add_url_rule(f"{PREFIX}/docs.css", "docs_css", lambda: Response(_CSS, content_type="text/css"))


def page(spec: dict[str, Any]) -> str:
    """The document as HTML."""
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, operations in sorted(spec["paths"].items()):
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append(_shown(spec, path, method, operation))
    return render_template_string(_PAGE, info=spec["info"], tags=dict(sorted(tags.items())), prefix=PREFIX)


def _shown(spec: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    fields = [
        {
            "where": given["in"],
            "name": given["name"],
            "type": _type(given["schema"]),
            "required": given.get("required"),
        }
        for given in operation.get("parameters", [])
    ]
    content = (operation.get("requestBody") or {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
    schema = spec["components"]["schemas"].get(reference, {})
    for name, given in schema.get("properties", {}).items():
        required = name in schema.get("required", [])
        fields.append({"where": "body", "name": name, "type": _type(given), "required": required})
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation.get("summary", ""),
        "role": operation.get("x-tenure-role", ""),
        "key_required": operation.get("x-idempotency-key") == "required",
        "fields": fields,
        "answers": ", ".join(sorted(operation["responses"])),
    }


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " | ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return str(schema.get("format") or schema.get("type") or "any")
