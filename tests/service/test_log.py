"""The log tells who asked what and what came of it, and nothing that should not be in a log."""

import logging

from tests.service.conftest import PASSWORD, send
from tests.service.stubs import tiff


def test_every_request_leaves_a_line_and_no_secret(house, caplog):
    caplog.set_level(logging.INFO, "bagscan.access")
    machine = house.machine()
    answer = send(machine, tiff("alarm"))
    house.anyone().get("/v1/scans")
    house.anyone().post("/v1/sessions", json={"name": "operator", "password": PASSWORD})
    house.person("operator").get("/v1/scans/no%0Asuch", params={"text": "private"})
    lines = [record.getMessage() for record in caplog.records if record.name == "bagscan.access"]
    assert any(line.startswith("scanner POST /v1/screen 200 ") and answer.headers["X-Request-Id"] in line for line in lines)
    assert any(line.startswith("- GET /v1/scans 401 ") for line in lines)
    assert any("/v1/scans/no%0Asuch 404" in line for line in lines)
    told = " ".join(lines)
    assert PASSWORD not in told
    assert "private" not in told
    assert machine.headers["Authorization"].split()[1] not in told


def test_what_is_asked_every_few_seconds_is_logged_where_it_fails_alone(house, caplog):
    caplog.set_level(logging.INFO, "bagscan.access")
    house.anyone().get("/v1/health/live")
    house.anyone().get("/v1/queue")
    lines = [record.getMessage() for record in caplog.records if record.name == "bagscan.access"]
    assert [line.split()[2:4] for line in lines] == [["/v1/queue", "401"]]
