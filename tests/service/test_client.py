"""The Python client, over a real connection."""

import threading

import pytest

from bagscan.core.errors import BagscanError
from bagscan.service.client import Client, ServiceError
from tests.service.stubs import tiff


@pytest.fixture
def served(make_house, listening):
    house = make_house(max_waiting=4)
    return listening(house), house.machine().headers["Authorization"].split()[1]


def test_screen_submit_and_wait(served, tmp_path):
    files = [tmp_path / "7_below.tif", tmp_path / "7_side.tif"]
    for number, path in enumerate(files):
        path.write_bytes(tiff("alarm", number))
    with Client(*served) as client:
        row = client.screen(files)
        assert row["decision"] == "ALARM"
        assert sorted(row["views"]) == ["below", "side"]
        job = client.submit(files)
        assert client.wait(job["job_id"])["id"] == row["id"]  # the same files are one job
        assert sorted(client.scan(row["id"])["views"]) == ["below", "side"]


def test_it_comes_back_when_the_service_is_busy(served, tmp_path):
    url, key = served
    rows = []

    def one(number):
        path = tmp_path / f"{number}.tif"
        path.write_bytes(tiff("slow alarm", number))
        with Client(url, key) as client:
            rows.append(client.screen([path])["decision"])

    threads = [threading.Thread(target=one, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert rows == ["ALARM"] * 10


def test_refusals_are_told(served, tmp_path):
    url, key = served
    bad = tmp_path / "a.tif"
    bad.write_bytes(tiff("refuse"))
    with (
        Client(url, key) as client,
        pytest.raises(ServiceError, match="not a readable TIFF") as result,
    ):
        client.screen([bad])
    assert result.value.status == 422
    with Client(url, "wrong") as client, pytest.raises(ServiceError, match="unknown or revoked"):
        client.screen([bad])
    with (
        Client("http://127.0.0.1:9", key, patience_s=0.1) as client,
        pytest.raises(BagscanError, match="no answer"),
    ):
        client.job("x")
