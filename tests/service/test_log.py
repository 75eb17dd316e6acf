"""The log names every request, its user and its result, and holds no secrets."""

import json
import logging

from tests.service.conftest import PASSWORD, send
from tests.service.stubs import tiff


def logged(caplog):
    return [
        json.loads(record.getMessage())
        for record in caplog.records
        if record.name == "bagscan.access"
    ]


def test_every_request_leaves_a_line_and_no_secret(house, caplog):
    caplog.set_level(logging.INFO, "bagscan.access")
    machine = house.machine()
    answer = send(machine, tiff("alarm"))
    house.anyone().get("/v1/scans")
    house.anyone().post("/v1/sessions", json={"name": "operator", "password": PASSWORD})
    house.person("operator").get("/v1/scans/no%0Asuch", params={"text": "private"})
    lines = logged(caplog)
    sent = next(line for line in lines if line["path"] == "/v1/screen")
    assert (sent["who"], sent["method"], sent["status"], sent["request_id"]) == (
        "scanner",
        "POST",
        200,
        answer.headers["X-Request-Id"],
    )
    assert [line["who"] for line in lines if line["status"] == 401] == ["-"]
    assert [line["status"] for line in lines if line["path"] == "/v1/scans/no%0Asuch"] == [404]
    outcome = json.dumps(lines)
    assert PASSWORD not in outcome
    assert "private" not in outcome
    assert machine.headers["Authorization"].split()[1] not in outcome


def test_what_is_asked_every_few_seconds_is_logged_where_it_fails_alone(house, caplog):
    caplog.set_level(logging.INFO, "bagscan.access")
    house.anyone().get("/v1/health/live")
    house.anyone().get("/v1/queue")
    assert [(line["path"], line["status"]) for line in logged(caplog)] == [("/v1/queue", 401)]
