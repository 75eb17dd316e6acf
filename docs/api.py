"""Write docs/api.md from the service's own OpenAPI description: python docs/api.py [--check]."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from bagscan.service.accounts import ROLES
from bagscan.service.http.app import create_app, describe_api
from bagscan.service.http.security import PUBLIC, permission_of
from bagscan.service.service import Service
from bagscan.service.settings import ServiceConfig

PAGE = Path(__file__).parent / "api.md"
HEAD = """# API

`docs/api.py` writes this page from the OpenAPI description of the service.
A running service returns the description at `/v1/openapi.json`.

- **Authentication.** Send an API key as `Authorization: Bearer KEY`.
- **Sessions.** `POST /v1/sessions` sets a cookie and returns a `csrf` token.
  `/v1/me` returns the token again. Send it as `X-CSRF-Token` with every change.
  API keys need no token.
- **Errors.** Errors are problem documents (RFC 9457, `application/problem+json`).
  Their fields are `type`, `title`, `status`, `detail`, `instance` and `request_id`.
- **Retries.** Responses 429 and 503 have the header `Retry-After`.
- **Response headers.** Every response has `X-Request-Id`, `X-Model-Id` and `X-Threshold`.
- **Times.** Times are seconds since 1970, UTC.
- **Jobs.** A job is `queued`, `running` or `done`.
- **Repeated jobs.** A job with a known `Idempotency-Key` (1 to 128 characters) returns 200,
  not 202.
  If the key belongs to another scan, it returns 409.

```console
$ URL=http://127.0.0.1:8765/v1
$ AUTH="Authorization: Bearer $KEY"
$ curl -H "$AUTH" -F files=@7_below.tif -F files=@7_side.tif $URL/screen
$ curl -H "$AUTH" -H "Idempotency-Key: bag-7" -F files=@7_below.tif $URL/jobs
```

```python
from bagscan.service.client import Client

with Client("http://127.0.0.1:8765", key) as client:
    row = client.screen(["7_below.tif", "7_side.tif"])  # the row of findings.json
    job = client.submit(["8_below.tif"])  # repeated requests create a single job
    row = client.wait(job["job_id"])
```

The client repeats a request that gets no response, 429 or 503, for `patience_s` (60 s).

**Packed pixels and regions** (`.../pixels`, `.../regions`) are binary:

- the bytes `BSP1`, the length of a JSON header (uint32), and the header;
- then, for pixels, the planes: (channels, height, width) counts, uint8 or little-endian uint16,
  with effective Z in thousandths;
- for regions, the region of every pixel (uint16, 65535 outside all regions), then the score of
  every region (float32), both little-endian.
"""


def page() -> str:
    """Return the page."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(ServiceConfig(folder=Path(folder)))
        app = create_app(service)
        description = describe_api(app)
        routes = {
            (method, route.path): route
            for route in app.routes
            if isinstance(route, APIRoute)
            for method in route.methods
        }
        service.stop()
    lines = [HEAD]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            permission = permission_of(routes[method.upper(), path]) or ""
            lines += _operation(method.upper(), path, operation, permission)
    lines += ["## Bodies", ""]
    for name, schema in sorted(description["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    rows = []
    for name_of_field, field in schema.get("properties", {}).items():
        required = "yes" if name_of_field in schema.get("required", []) else ""
        meaning = field.get("description", "")
        rows.append(f"| `{name_of_field}` | {_kind(field)} | {required} | {meaning} |")
    if not rows:
        return []
    return [
        f"### {name}",
        "",
        schema.get("description", ""),
        "",
        "| field | kind | required | meaning |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    kind = schema["$ref"].rpartition("/")[2] if "$ref" in schema else schema.get("type", "anything")
    items = f" of {_kind(schema['items'])}" if "items" in schema else ""
    limit = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return f"{kind}{items}{limit}"


def _operation(method: str, path: str, operation: dict[str, Any], permission: str) -> list[str]:
    if permission == PUBLIC:
        roles = "everyone"
    else:
        roles = ", ".join(role for role, held in ROLES.items() if permission in held)
    lines = [
        f"## `{method} {path}`",
        "",
        operation.get("description", operation["summary"]),
        "",
        f"For: {roles}.",
        "",
    ]
    parameters = [p for p in operation.get("parameters", []) if p["in"] in ("query", "header")]
    if parameters:
        lines += ["| parameter | in | meaning |", "|---|---|---|"]
        for p in parameters:
            lines.append(f"| `{p['name']}` | {p['in']} | {p.get('description', '')}{_default(p)} |")
        lines.append("")
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        kinds = [f"`{kind}`{_schema_names([content])}" for kind, content in body.items()]
        lines += [f"Body: {'; '.join(kinds)}.", ""]
    responses = ", ".join(
        status + _schema_names(response.get("content", {}).values())
        for status, response in operation["responses"].items()
        if status != "default"
    )
    return [*lines, f"Responses: {responses}; otherwise a problem document.", ""]


def _schema_names(contents: Iterable[dict[str, Any]]) -> str:
    names = [
        content["schema"]["$ref"].rpartition("/")[2]
        for content in contents
        if "$ref" in content.get("schema", {})
    ]
    return f" {', '.join(names)}" if names else ""


def _default(parameter: dict[str, Any]) -> str:
    default = parameter.get("schema", {}).get("default")
    return "" if default in (None, "") else f" (default {default})"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == text else "docs/api.md is stale; run python docs/api.py")
    PAGE.write_text(text)
