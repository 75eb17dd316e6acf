"""Write docs/api.md from the service's own OpenAPI description: python docs/api.py [--check]."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from bagscan.service.accounts import ROLES
from bagscan.service.http.app import create_app, described
from bagscan.service.http.security import PUBLIC, permission_of
from bagscan.service.service import Service
from bagscan.service.settings import ServiceConfig

PAGE = Path(__file__).parent / "api.md"
HEAD = """# API

Written by `docs/api.py` from the service's own description, which a running service gives at `/v1/openapi.json`.

Send an API key as `Authorization: Bearer KEY`. Errors are problem documents (RFC 9457, `application/problem+json`) with `type`,
`title`, `status`, `detail`, `instance` and `request_id`; 429 and 503 carry `Retry-After`. Every answer carries `X-Request-Id`, `X-Model-Id` and
`X-Threshold`. Times are seconds since 1970, UTC. A job is `queued`, `running` or `done`; handed in a second time with the same `Idempotency-Key` (1 to 128 characters) it
answers 200 in place of 202, and 409 where the key belongs to another scan. A session (the cookie that `POST /v1/sessions` sets) sends its own `csrf` token, which that answer and
`/v1/me` hold, as `X-CSRF-Token` with every change; API keys need none.

```console
$ curl -H "Authorization: Bearer $KEY" -F files=@7_below.tif -F files=@7_side.tif http://127.0.0.1:8765/v1/screen
$ curl -H "Authorization: Bearer $KEY" -H "Idempotency-Key: bag-7" -F files=@7_below.tif http://127.0.0.1:8765/v1/jobs
```

```python
from bagscan.service.client import Client

with Client("http://127.0.0.1:8765", key) as client:
    row = client.screen(["7_below.tif", "7_side.tif"])  # the row of findings.json
    job = client.submit(["8_below.tif"])  # however often it is sent, one job
    row = client.wait(job["job_id"])
```

The client sends again what comes back as busy, or gets no answer, for `patience_s` (60 s).

**Packed pixels and regions** (`.../pixels`, `.../regions`): the bytes `BSP1`, the length of a JSON header (uint32), the header, then little-endian
planes: (channels, height, width) uint8 or uint16 counts; or the region of every pixel (uint16, 65535 for none) and after it the
score of every region (float32). Effective Z is in thousandths.
"""


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(ServiceConfig(folder=Path(folder)))
        app = create_app(service)
        told = described(app)
        routes = {
            (method, route.path): route
            for route in app.routes
            if isinstance(route, APIRoute)
            for method in route.methods
        }
        service.stop()
    lines = [HEAD]
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            lines += _operation(
                method.upper(), path, operation, permission_of(routes[method.upper(), path]) or ""
            )
    lines += ["## Bodies", ""]
    for name, schema in sorted(told["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    rows = [
        f"| `{field}` | {_kind(told)} | {'yes' if field in schema.get('required', []) else ''} | {told.get('description', '')} |"
        for field, told in schema.get("properties", {}).items()
    ]
    return (
        [
            f"### {name}",
            "",
            schema.get("description", ""),
            "",
            "| field | kind | required | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
        if rows
        else []
    )


def _kind(told: dict[str, Any]) -> str:
    if "enum" in told:
        return ", ".join(map(str, told["enum"]))
    if "anyOf" in told:
        return " or ".join(map(_kind, told["anyOf"]))
    kind = told["$ref"].rpartition("/")[2] if "$ref" in told else told.get("type", "anything")
    return (
        kind
        + (f" of {_kind(told['items'])}" if "items" in told else "")
        + (f", at most {told['maxLength']} characters" if "maxLength" in told else "")
    )


def _operation(method: str, path: str, operation: dict[str, Any], permission: str) -> list[str]:
    who = (
        "anybody"
        if permission == PUBLIC
        else ", ".join(role for role, held in ROLES.items() if permission in held)
    )
    lines = [
        f"## `{method} {path}`",
        "",
        operation.get("description", operation["summary"]),
        "",
        f"For: {who}.",
        "",
    ]
    given = [p for p in operation.get("parameters", []) if p["in"] in ("query", "header")]
    if given:
        lines += ["| parameter | in | meaning |", "|---|---|---|"]
        lines += [
            f"| `{p['name']}` | {p['in']} | {p.get('description', '')}{_default(p)} |"
            for p in given
        ] + [""]
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        lines += [
            "Body: "
            + "; ".join(
                f"`{kind}`"
                + (
                    f" {content['schema']['$ref'].rpartition('/')[2]}"
                    if "$ref" in content["schema"]
                    else ""
                )
                for kind, content in body.items()
            )
            + ".",
            "",
        ]
    answers = ", ".join(
        status + _names(told)
        for status, told in operation["responses"].items()
        if status != "default"
    )
    return [*lines, f"Answers: {answers}; a problem document otherwise.", ""]


def _names(answer: dict[str, Any]) -> str:
    kinds = [
        content["schema"]["$ref"].rpartition("/")[2]
        for content in answer.get("content", {}).values()
        if "$ref" in content.get("schema", {})
    ]
    return f" {', '.join(kinds)}" if kinds else ""


def _default(parameter: dict[str, Any]) -> str:
    default = parameter.get("schema", {}).get("default")
    return "" if default in (None, "") else f" (default {default})"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == text else "docs/api.md is stale: python docs/api.py")
    PAGE.write_text(text)
