"""Every route and every role, in a table that is independent of the service's own."""

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from bagscan.service.http.app import create_app
from bagscan.service.http.security import permission_of, refuse_open_routes
from bagscan.service.service import Service
from bagscan.service.settings import ServiceConfig
from tests.service.conftest import ROLES
from tests.service.stubs import stub_worker

EVERYBODY = {*ROLES, "anonymous"}
PEOPLE = set(ROLES)
READERS = {"operator", "supervisor", "admin"}
SENDERS = {"scanner", "admin"}
OVERSIGHT = {"supervisor", "admin"}
ADMIN = {"admin"}

WHO = {
    "GET /": EVERYBODY,
    "GET /v1/openapi.json": EVERYBODY,
    "GET /v1/health/live": EVERYBODY,
    "GET /v1/health/ready": EVERYBODY,
    "GET /metrics": {"scanner", "supervisor", "admin"},
    "POST /v1/setup": EVERYBODY,
    "POST /v1/sessions": EVERYBODY,
    "GET /v1/me": EVERYBODY,
    "DELETE /v1/sessions": PEOPLE,
    "PUT /v1/me/password": PEOPLE,
    "POST /v1/screen": SENDERS,
    "POST /v1/jobs": SENDERS,
    "GET /v1/jobs/{job_id}": PEOPLE,
    "GET /v1/scans": OVERSIGHT,
    "GET /v1/scans/{scan_id}": PEOPLE,
    "GET /v1/scans/{scan_id}/views/{view_id}/pixels": PEOPLE,
    "GET /v1/scans/{scan_id}/views/{view_id}/regions": PEOPLE,
    "GET /v1/scans/{scan_id}/views/{view_id}/image.png": PEOPLE,
    "GET /v1/scans/{scan_id}/views/{view_id}/overlay.svg": PEOPLE,
    "GET /v1/scans/{scan_id}/decisions": READERS,
    "POST /v1/scans/{scan_id}/decisions": READERS,
    "DELETE /v1/scans/{scan_id}/decisions/{number}": READERS,
    "GET /v1/queue": READERS,
    "POST /v1/queue/claim": READERS,
    "POST /v1/queue/{scan_id}/release": READERS,
    "GET /v1/models": OVERSIGHT,
    "PUT /v1/models/{model_id}/threshold": OVERSIGHT,
    "POST /v1/models": ADMIN,
    "POST /v1/models/{model_id}/activate": ADMIN,
    "POST /v1/models/{model_id}/shadow": ADMIN,
    "POST /v1/models/end-shadow": ADMIN,
    "POST /v1/models/rollback": ADMIN,
    "GET /v1/audit": OVERSIGHT,
    "GET /v1/audit/verify": OVERSIGHT,
    "GET /v1/statistics": OVERSIGHT,
    "GET /v1/accounts": ADMIN,
    "POST /v1/accounts": ADMIN,
    "PATCH /v1/accounts/{account_id}": ADMIN,
    "POST /v1/accounts/{account_id}/keys": ADMIN,
    "DELETE /v1/keys/{number}": ADMIN,
}
# Valid bodies, for routes that read one before anything else could refuse it.
BODIES = {
    "POST /v1/setup": {"token": "x", "name": "x", "password": "long enough"},
    "POST /v1/sessions": {"name": "x", "password": "x"},
    "PUT /v1/me/password": {"old": "wrong", "new": "long enough"},
    "POST /v1/scans/{scan_id}/decisions": {"value": "clear", "reason": "clutter"},
    "POST /v1/queue/claim": {"scan_id": "0"},
    "PUT /v1/models/{model_id}/threshold": {"threshold": 0.5},
    "POST /v1/models/end-shadow": {"channels": "none"},
    "POST /v1/models/rollback": {"channels": "none"},
    "POST /v1/accounts": {"name": "!", "role": "operator"},
    "PATCH /v1/accounts/{account_id}": {},
    "POST /v1/accounts/{account_id}/keys": {"name": "x"},
}


def routes(app):
    return {
        f"{method} {route.path}": route
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }


def refused(client, route):
    """Status 401 or 403 because of the account's role; a wrong log-in does not count."""
    method, path = route.split()
    for name in ("job_id", "scan_id", "view_id", "model_id"):
        path = path.replace(f"{{{name}}}", "0")
    path = path.replace("{number}", "999").replace("{account_id}", "999")
    body = {"json": BODIES[route]} if route in BODIES else {}
    answer = client.request(method, path, **body)
    log_in = (
        answer.status_code == 401
        and route in ("POST /v1/setup", "POST /v1/sessions", "PUT /v1/me/password")
        and ("wrong name" in answer.text or "link" in answer.text)
    )
    log_in = log_in or (answer.status_code == 401 and "setup link" in answer.text)
    return answer.status_code in (401, 403) and not log_in


def test_the_table_knows_every_route_and_no_other(house):
    assert set(routes(house.app)) == set(WHO)


def test_every_route_for_every_role(house):
    wrong = []
    for who in [*ROLES, "anonymous"]:
        client = house.anyone() if who == "anonymous" else house.machine(who)
        for route, allowed in WHO.items():
            if refused(client, route) != (who not in allowed):
                wrong.append((who, route, "let through" if who not in allowed else "refused"))
    assert wrong == []


def test_a_route_that_names_no_permission_keeps_the_service_from_starting(house):
    app = create_app(house.service)

    @app.get("/forgotten")
    def forgotten():
        return {}

    with pytest.raises(RuntimeError, match="/forgotten"):
        refuse_open_routes(app)
    nested = create_app(house.service)
    router = APIRouter()
    router.get("/hidden")(forgotten)
    nested.include_router(router)
    with pytest.raises(RuntimeError, match="permission"):
        refuse_open_routes(nested)
    assert all(permission_of(route) for path, route in routes(house.app).items())


def test_a_session_needs_its_token_for_changes_and_only_for_these(house):
    client = house.person("operator")
    token = client.headers.pop("X-CSRF-Token")
    assert client.get("/v1/queue").status_code == 200
    assert client.post("/v1/queue/claim", json={}).status_code == 403
    client.headers["X-CSRF-Token"] = token[:-1] + "?"
    assert client.post("/v1/queue/claim", json={}).status_code == 403
    client.headers["X-CSRF-Token"] = token
    assert client.post("/v1/queue/claim", json={}).status_code == 404  # let through: nothing waits


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(house):
    answer = house.anyone().post(
        "/v1/sessions", json={"name": "operator", "password": "correct horse"}
    )
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_every_answer_keeps_the_page_to_itself(house):
    for path in ("/", "/static/app.js", "/v1/me", "/v1/nothing"):
        headers = house.anyone().get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == ("no-store" if path.startswith("/v1") else "no-cache"), (
            "scripts of two versions must not meet"
        )


def test_a_session_survives_a_restart_and_ends_when_the_account_does(make_house, tmp_path):
    house = make_house(folder=tmp_path / "s")
    client = house.person("operator")
    cookies = dict(client.cookies)
    house.service.stop()
    again = make_house(folder=tmp_path / "s")
    there = again.anyone()
    there.cookies.update(cookies)
    assert there.get("/v1/me").json()["name"] == "operator"
    with again.service.store.read() as connection:
        from sqlalchemy import select

        from bagscan.service.store.tables import accounts

        number = connection.execute(
            select(accounts.c.id).where(accounts.c.name == "operator")
        ).scalar_one()
    again.person("admin").patch(f"/v1/accounts/{number}", json={"disabled": True})
    assert there.get("/v1/queue").status_code == 401


def test_settings_are_checked():
    with pytest.raises(ValueError, match="second_reader"):
        ServiceConfig(second_reader="maybe")
    with pytest.raises(ValueError, match="port"):
        ServiceConfig(port=0)
    assert Service.__init__.__defaults__[0].__name__ == "serve_tasks"
    assert stub_worker.__name__ != "serve_tasks"


def test_the_description_is_complete(house):
    """Every operation states its response (schema or media type) and its problem documents."""
    result = house.anyone().get("/v1/openapi.json").json()
    bare = []
    for path, methods in result["paths"].items():
        for method, operation in methods.items():
            content = next(
                answer
                for status, answer in operation["responses"].items()
                if status.startswith("2")
            )["content"]
            schemas = [
                kind
                for kind, one in content.items()
                if kind != "application/json" or one.get("schema", {}).get("$ref")
            ]
            if (
                not schemas
                or "application/problem+json" not in operation["responses"]["default"]["content"]
                or not operation.get("description")
            ):
                bare.append(f"{method} {path}")
    assert bare == []
