"""Listening: messages if a port is not available."""

import socket

import pytest
from sqlalchemy import update

from bagscan.core.errors import ConfigError
from bagscan.service import accounts
from bagscan.service.demo import PASSWORD, load_truths, refuse_demo_accounts
from bagscan.service.run import _bind
from bagscan.service.store import tables
from tests.service.conftest import send
from tests.service.stubs import tiff


def test_a_port_that_is_taken_is_told_once_and_in_plain_words(caplog, capfd):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"{port}.*in use"):
            _bind("127.0.0.1", port)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_an_address_that_is_none_of_this_machines_is_not_called_taken():
    with pytest.raises(ConfigError, match=r"cannot listen .*192\.0\.2\.1"):
        _bind("192.0.2.1", 8000)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_is_bound(host):
    with _bind(host, 0) as listening:
        assert listening.getsockname()[1] > 0


def test_a_store_of_the_demonstration_is_not_started_as_a_real_one(make_house, tmp_path):
    """Anybody could be its admin."""
    service = make_house(folder=tmp_path / "demo", start=False).service
    refuse_demo_accounts(service)
    number = service.store.write(
        lambda c: accounts.create_account(
            c, service.auditor, "test", "ada", "admin", accounts.hash_password(PASSWORD)
        )
    )
    with pytest.raises(ConfigError, match="ada"):
        refuse_demo_accounts(service)
    service.store.write(
        lambda c: c.execute(
            update(tables.accounts).where(tables.accounts.c.id == number).values(disabled=True)
        )
    )
    refuse_demo_accounts(service)


def test_the_demonstration_tells_the_truth_after_a_decision_alone(make_house, simulated_root):
    truths = load_truths(simulated_root)
    assert {result == "Nothing is hidden in it." for result in truths.values()} == {True, False}
    house = make_house(second_reader="none", reviewed="all")
    reader = house.person("operator")
    for name, result in (("demo_1", "Hidden in it: powder."), ("real", None)):
        scan = send(house.machine(), tiff("alarm", name), name=f"{name}.tif").json()["id"]
        if result:
            house.service.truths[name] = result
        assert "truth" not in reader.get(f"/v1/scans/{scan}").json()
        reader.post("/v1/queue/claim", json={"scan_id": scan})
        made = reader.post(
            f"/v1/scans/{scan}/decisions", json={"value": "suspect", "reason": "foreign part"}
        ).json()
        assert made.get("truth") == result
