"""A folder that a scanner writes to."""

import hashlib
import json
import os
import time

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from bagscan.service import watch
from bagscan.service.store.tables import jobs, scans
from tests.service.conftest import count, until
from tests.service.stubs import tiff


@pytest.fixture
def watched(make_house, tmp_path):
    folder = tmp_path / "gate 1"
    folder.mkdir()
    return folder, lambda **more: make_house(
        **{"watch": (folder,), "settle_s": 0.3, "pair_s": 1.5, **more}
    )


def wait_for(path, seconds=15):
    until(path.exists, seconds, f"{path.name} did not come")
    return path


def test_both_views_of_a_bag_get_one_verdict(watched):
    folder, make = watched
    house = make()
    (folder / "7_below.tif").write_bytes(tiff("alarm", 1))
    (folder / "7_side.tif").write_bytes(tiff("clear", 2))
    answer = json.loads(wait_for(folder / "results" / "7.json").read_text())
    assert answer["decision"] == "ALARM"
    assert sorted(answer["views"]) == ["below", "side"]
    assert sorted(path.name for path in (folder / "accepted").iterdir()) == [
        "7_below.tif",
        "7_side.tif",
    ]
    assert count(house, scans) == 1


def test_a_file_that_still_grows_is_left_alone(watched):
    folder, make = watched
    house = make()
    with (folder / "8.tif").open("wb") as file:
        for n in range(10):
            file.write(tiff("clear") if n == 0 else b"more")
            file.flush()
            time.sleep(0.1)
            assert count(house, scans) == 0
    wait_for(folder / "results" / "8.json")


def test_what_cannot_be_taken_in_is_put_aside_and_is_review(watched):
    folder, make = watched
    make()
    (folder / "9.tif").write_bytes(b"no tiff")
    (folder / "empty.tif").touch()
    (folder / "dangling.tif").symlink_to(folder / "gone.tif")
    for name in ("9", "empty", "dangling"):
        answer = json.loads(wait_for(folder / "results" / f"{name}.json").read_text())
        assert (answer["decision"], answer["reason_codes"]) == ("REVIEW", ["unreadable"])
        assert "REVIEW" in wait_for(folder / "refused" / f"{name}.tif.txt").read_text()


def test_what_a_scanner_still_writes_under_another_name_is_never_touched(
    watched, monkeypatch, caplog
):
    folder, make = watched
    monkeypatch.setattr(watch, "REPORT_AFTER_S", 0.5)
    make()
    others = ["slow.tif.part", "7.tmp", "8.tif~", "9.xml", "Thumbs.db"]
    for name in others:
        (folder / name).write_bytes(tiff("clear"))
    until(
        lambda: sum("left where it is" in line for line in caplog.messages) == len(others),
        10,
        "nothing was said of them",
    )
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == sorted(others)
    (folder / "slow.tif.part").rename(folder / "slow.tif")
    wait_for(folder / "results" / "slow.json")


def test_endings_in_any_case_make_one_bag(watched):
    folder, make = watched
    make()
    (folder / "8_below.TIF").write_bytes(tiff("clear", 1))
    (folder / "8_side.tif").write_bytes(tiff("clear", 2))
    assert sorted(json.loads(wait_for(folder / "results" / "8.json").read_text())["views"]) == [
        "below",
        "side",
    ]


def test_a_watched_folder_that_was_made_anew_is_watched_again(watched):
    folder, make = watched
    house = make()
    folder.rename(folder.with_name("taken away"))
    until(
        lambda: TestClient(house.app).get("/v1/health/ready").status_code == 503,
        10,
        "it said that it was ready",
    )
    folder.mkdir()
    (folder / "2.tif").write_bytes(tiff("clear"))
    wait_for(folder / "results" / "2.json")
    assert TestClient(house.app).get("/v1/health/ready").status_code == 200


def test_a_kill_between_taking_in_and_moving_makes_no_second_job(watched, tmp_path):
    folder, make = watched
    house = make(folder=tmp_path / "store")
    (folder / "7.tif").write_bytes(tiff("alarm"))
    wait_for(folder / "results" / "7.json")
    house.service.stop()
    (folder / "accepted" / "7.tif").rename(
        folder / "7.tif"
    )  # as if the kill had come before the move
    again = make(folder=tmp_path / "store")
    wait_for(folder / "accepted" / "7.tif")
    assert count(again, scans) == 1


@pytest.mark.slow
def test_a_kill_between_the_moves_of_a_pair_makes_no_second_bag_of_what_is_left(watched, tmp_path):
    folder, make = watched
    house = make(folder=tmp_path / "store")
    for view, number in (("below", 1), ("side", 2)):
        (folder / f"7_{view}.tif").write_bytes(tiff("alarm", number))
    wait_for(folder / "results" / "7.json")
    house.service.store.write(
        lambda connection: connection.execute(update(jobs).values(answered_at=None)) and None
    )
    house.service.stop()
    (folder / "accepted" / "7_side.tif").rename(folder / "7_side.tif")
    (folder / "results" / "7.json").unlink()
    again = make(folder=tmp_path / "store")
    wait_for(folder / "results" / "7.json")
    wait_for(folder / "accepted" / "7_side.tif")
    time.sleep(2.5)  # longer than a single view waits for another
    assert count(again, scans) == 1


def test_a_scan_that_takes_the_place_of_one_that_is_taken_in_is_the_next(watched, monkeypatch):
    folder, make = watched
    house = make()
    take_in = type(house.service.intake).take_in

    def slowly(self, upload, *more):
        if (folder / "belt.tif").read_bytes() == tiff("alarm", 1):
            (folder / "belt.tif").write_bytes(tiff("clear", 2) + b"a little longer")
        return take_in(self, upload, *more)

    monkeypatch.setattr(type(house.service.intake), "take_in", slowly)
    (folder / "belt.tif").write_bytes(tiff("alarm", 1))
    wait_for(folder / "results" / "belt.json")
    wait_for(folder / "accepted" / "belt.tif")
    assert count(house, scans) == 2


@pytest.mark.slow
def test_a_verdict_that_a_kill_held_up_is_laid_out_at_the_next_start_once(watched, tmp_path):
    folder, make = watched
    house = make(folder=tmp_path / "store")
    (folder / "7.tif").write_bytes(tiff("alarm"))
    result = wait_for(folder / "results" / "7.json")
    time.sleep(0.7)
    house.service.stop()
    result.unlink()  # a reader took it away: it must not come again
    again = make(folder=tmp_path / "store")
    time.sleep(1.5)
    assert not result.exists()
    again.service.store.write(
        lambda c: c.execute(update(jobs).values(answered_at=None)) and None
    )  # as if the kill had come before
    again.service.stop()
    make(folder=tmp_path / "store")
    assert json.loads(wait_for(result).read_text())["decision"] == "ALARM"


def test_a_view_waits_for_another_that_comes_later(watched):
    folder, make = watched
    house = make()
    (folder / "7_below.tif").write_bytes(tiff("alarm", 1))
    time.sleep(0.9)
    (folder / "7_side.tif").write_bytes(tiff("clear", 2))
    assert sorted(json.loads(wait_for(folder / "results" / "7.json").read_text())["views"]) == [
        "below",
        "side",
    ]
    (folder / "8_below.tif").write_bytes(tiff("alarm", 1))  # but not for ever
    wait_for(folder / "results" / "8_below.json")
    assert count(house, scans) == 2


def test_views_in_capitals_wait_for_each_other_too(watched):
    folder, make = watched
    make()
    (folder / "U_BELOW.TIF").write_bytes(tiff("clear", 1))
    time.sleep(0.8)  # longer than settle_s, shorter than pair_s
    (folder / "U_SIDE.TIF").write_bytes(tiff("clear", 2))
    assert len(json.loads(wait_for(folder / "results" / "U.json").read_text())["views"]) == 2


def test_a_name_that_is_no_text_is_refused_and_told(watched):
    folder, make = watched
    make()
    (folder / os.fsdecode(b"b\xe9.tif")).write_bytes(tiff("clear"))
    answer = json.loads(wait_for(folder / "results" / "b\\xe9.json").read_text())
    assert answer["decision"] == "REVIEW"
    until(lambda: len(list((folder / "refused").iterdir())) == 2)


def test_verdicts_come_while_the_queue_is_full_and_none_is_overwritten(watched):
    folder, make = watched
    make(max_waiting=2)
    for n in range(12):
        (folder / f"{n}.tif").write_bytes(tiff("slow alarm", n))
    for n in range(12):
        wait_for(folder / "results" / f"{n}.json", 30)
    assert len(list((folder / "results").iterdir())) == 12
    (folder / "3.tif").write_bytes(tiff("clear", "again"))
    second = lambda: list((folder / "results").glob("3_*.json"))  # noqa: E731 — by name: that of the temporary file comes first
    until(second, 10)
    assert [
        json.loads(path.read_text())["decision"]
        for path in (folder / "results" / "3.json", *second())
    ] == ["ALARM", "CLEAR"]


def test_two_gates_may_call_their_folders_alike(make_house, tmp_path):
    gates = [tmp_path / f"gate-{n}" / "in" for n in (1, 2)]
    for n, gate in enumerate(gates):
        gate.mkdir(parents=True)
        (gate / f"{n}.tif").write_bytes(tiff("alarm"))
    make_house(watch=tuple(gates), settle_s=0.3)
    for n, gate in enumerate(gates):
        wait_for(gate / "results" / f"{n}.json")
        assert len(list((gate / "results").iterdir())) == 1


def test_a_verdict_that_cannot_be_laid_down_keeps_no_other(watched):
    folder, make = watched
    make()
    blocked = (
        folder / "results" / f".1.json.{hashlib.sha256(b'1.json').hexdigest()[:8]}.part"
    )  # the temporary name
    blocked.mkdir()
    (folder / "1.tif").write_bytes(tiff("alarm"))
    (folder / "2.tif").write_bytes(tiff("clear"))
    wait_for(folder / "results" / "2.json")
    assert not (folder / "results" / "1.json").exists()
    blocked.rmdir()
    assert json.loads(wait_for(folder / "results" / "1.json").read_text())["decision"] == "ALARM"
