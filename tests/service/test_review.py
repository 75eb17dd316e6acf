"""The readers' queue: locks, second readers, disputes, test images."""

import io
import random
import time

import numpy as np
import pytest
from PIL import Image

from bagscan.core import View
from bagscan.core.errors import ConfigError
from bagscan.service.http.pictures import picture_png
from bagscan.service.inference.artifacts import packed_pixels
from bagscan.service.review.tip import make_test_image
from tests.service.conftest import send, until
from tests.service.stubs import tiff

CLEAR = {"value": "clear", "reason": "clutter"}
SUSPECT = {"value": "suspect", "reason": "dense block", "note": "see part 1", "parts": [0]}


def claim(reader, scan_id=None):
    return reader.post("/v1/queue/claim", json={"scan_id": scan_id})


def decide(reader, scan_id, what=CLEAR):
    return reader.post(f"/v1/scans/{scan_id}/decisions", json=what)


def test_alarms_come_before_review_and_clear_scans_do_not_come(house):
    machine = house.machine()
    ids = [
        send(machine, tiff(word)).json().get("id")
        for word in ("clear", "alarm score 0.6", "torn", "alarm score 0.95")
    ]
    waiting = house.person("operator").get("/v1/queue").json()["scans"]
    assert [one["scan_id"] for one in waiting] == [ids[3], ids[1], ids[2]]


def test_a_claimed_scan_is_locked_until_it_is_released_or_runs_out(make_house):
    house = make_house(claim_s=0.6)
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    one, two = house.person("operator"), house.person("second")
    assert claim(one).json()["scan_id"] == scan
    assert claim(two, scan).status_code == 409
    assert claim(two).status_code == 404
    assert two.get("/v1/queue").json()["scans"][0]["claim"] == "taken"
    assert decide(two, scan).status_code == 409
    assert claim(one, scan).status_code == 200  # the claim is extended
    one.post(f"/v1/queue/{scan}/release")
    assert claim(two, scan).status_code == 200
    time.sleep(0.7)
    assert claim(one, scan).status_code == 200
    assert decide(two, scan).status_code == 409  # its claim has expired


def test_the_second_reader_is_somebody_else_and_blind(make_house):
    house = make_house(second_reader="all")
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    one, two = house.person("operator"), house.person("second")
    claim(one)
    assert decide(one, scan, SUSPECT).json()["closed"] is False
    assert one.get("/v1/queue").json()["scans"] == []  # not offered to the same account
    assert claim(one, scan).status_code == 404
    shown = two.get("/v1/queue").json()["scans"][0]
    assert shown["state"] == "open"  # nothing shows that there was a first decision
    assert claim(two).json()["scan_id"] == scan
    assert two.get(f"/v1/scans/{scan}").json()["decisions"] == []
    assert two.get(f"/v1/scans/{scan}/decisions").json()["decisions"] == []
    assert (
        one.get(f"/v1/scans/{scan}/decisions").json()["decisions"][0]["note"] == "see part 1"
    )  # it knows its own decision
    assert decide(two, scan, SUSPECT).json()["closed"] is True
    result = two.get(f"/v1/scans/{scan}").json()
    assert result["outcome"] == "suspect"
    assert {one["by"] for one in result["decisions"]} == {"operator", "second"}


def test_a_second_reading_stands(make_house):
    """The answer shows if the first reader agreed; taking it back would exploit that."""
    house = make_house(second_reader="all")
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    one, two = house.person("operator"), house.person("second")
    claim(one)
    decide(one, scan, SUSPECT)
    claim(two)
    made = decide(two, scan, CLEAR).json()
    assert two.delete(f"/v1/scans/{scan}/decisions/{made['decision']}").status_code == 409


def test_who_may_read_the_audit_log_is_no_second_reader(make_house):
    house = make_house(second_reader="all")
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    one = house.person("operator")
    claim(one)
    decide(one, scan, SUSPECT)
    assert claim(house.person("supervisor"), scan).status_code == 404
    assert claim(house.person("second"), scan).status_code == 200


@pytest.mark.parametrize("name", ["00017", "belt-A_2026-11-21_0018", "e", "scan"])
def test_a_test_image_is_called_like_any_other(name):
    from bagscan.service.review.tip import rename_scan

    other = rename_scan(name, random.Random(0))
    assert other != name
    if any(c.isdigit() for c in name):
        assert len(other) == len(name)
        assert [c.isdigit() for c in other] == [c.isdigit() for c in name]


def test_a_disagreement_goes_to_a_supervisor_who_sees_both(make_house):
    house = make_house(second_reader="suspect")
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    for who, what in (("operator", SUSPECT), ("second", CLEAR)):
        reader = house.person(who)
        claim(reader)
        assert decide(reader, scan, what).json()["closed"] is False
    house.add("third", "operator")
    assert house.person("third").get("/v1/queue").json()["scans"] == []
    supervisor = house.person("supervisor")
    assert supervisor.get("/v1/queue").json()["scans"][0]["state"] == "dispute"
    claim(supervisor, scan)
    assert len(supervisor.get(f"/v1/scans/{scan}").json()["decisions"]) == 2
    assert decide(supervisor, scan, CLEAR).json()["closed"] is True
    assert supervisor.get(f"/v1/scans/{scan}").json()["outcome"] == "clear"
    assert supervisor.get("/v1/statistics").json()["agreement"]["k"] == 0


@pytest.mark.parametrize(
    ("rule", "what", "closed"),
    [
        ("none", SUSPECT, True),
        ("suspect", CLEAR, True),
        ("suspect", SUSPECT, False),
        ("all", CLEAR, False),
    ],
)
def test_who_needs_a_second_reader(make_house, rule, what, closed):
    house = make_house(second_reader=rule)
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    reader = house.person("operator")
    claim(reader)
    assert decide(reader, scan, what).json()["closed"] is closed


def test_a_decision_can_be_taken_back_for_a_while_by_who_made_it(make_house):
    house = make_house(undo_s=0.5)
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    one, two = house.person("operator"), house.person("second")
    claim(one)
    made = decide(one, scan).json()
    path = f"/v1/scans/{scan}/decisions/{made['decision']}"
    assert two.delete(path).status_code == 404  # they must not learn that it exists
    assert one.delete(path).status_code == 200
    assert one.delete(path).status_code == 404
    assert (
        one.get(f"/v1/scans/{scan}").json()["decisions"][0]["undone_at"] is not None
    )  # it stays on record
    made = decide(one, scan, CLEAR).json()  # it has claimed the scan again
    time.sleep(0.6)
    late = one.delete(f"/v1/scans/{scan}/decisions/{made['decision']}")
    assert late.status_code == 409
    assert "taken back for" in late.json()["detail"]


def test_what_another_reader_has_begun_cannot_be_taken_back(make_house):
    house = make_house(second_reader="all")
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    one, two = house.person("operator"), house.person("second")
    claim(one)
    made = decide(one, scan).json()
    claim(two)
    assert one.delete(f"/v1/scans/{scan}/decisions/{made['decision']}").status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {"value": "maybe", "reason": "clutter"},
        {"value": "clear", "reason": "dense block"},
        {"value": "clear"},
        {"value": "suspect", "reason": "dense block", "parts": [5]},
        {"value": "suspect", "reason": "dense block", "parts": [-1]},
        {"value": "clear", "reason": "clutter", "note": "x" * 2001},
        {"value": "clear", "reason": "clutter", "extra": 1},
    ],
)
def test_decisions_that_are_none(house, body):
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    reader = house.person("operator")
    claim(reader)
    answer = decide(reader, scan, body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert decide(reader, scan, SUSPECT).status_code == 201


def test_test_images_are_hidden_until_they_are_decided_and_counted(make_house, monkeypatch):
    monkeypatch.setattr(
        "bagscan.service.service.MAINTENANCE_S", 3600
    )  # the service makes none of its own meanwhile
    house = make_house(tip_rate=0.5, second_reader="all")
    service = house.service
    machine = house.machine()
    send(machine, tiff("clear"), name="00017_below.tif")
    send(machine, tiff("alarm"), name="00018_below.tif")
    made = make_test_image(
        service.store,
        service.files,
        service.auditor,
        service.config,
        service.dispatcher,
        random.Random(0),
    )
    assert made
    assert (
        make_test_image(
            service.store,
            service.files,
            service.auditor,
            service.config,
            service.dispatcher,
            random.Random(0),
        )
        is None
    )  # half of the queue is enough
    one = house.person("operator")
    until(lambda: len(one.get("/v1/queue").json()["scans"]) >= 2, 10)
    shown = {one["scan_id"]: one for one in one.get("/v1/queue").json()["scans"]}
    assert made in shown
    assert "00017" not in shown[made]["source_id"]
    assert len(shown[made]["source_id"]) == len("00017_below")
    scan = one.get(f"/v1/scans/{made}")
    assert "tip" not in scan.text
    assert "project" not in scan.text
    claim(one, made)
    answer = decide(one, made, SUSPECT).json()
    assert answer["tip"] == {
        "hit": True,
        "kind": "sharp",
        "at": [3, 4],
        "pixels": 7,
        "of": answer["tip"]["of"],
        "file": answer["tip"]["file"],
    }
    assert answer["closed"]  # a test image needs no second reader
    taken_back = one.delete(f"/v1/scans/{made}/decisions/{answer['decision']}")
    assert taken_back.status_code == 409  # nobody earns a hit after the answer is known
    result = house.person("supervisor").get("/v1/statistics").json()
    assert result["readers"][0]["tip_hits"]["k"] == result["readers"][0]["tip_hits"]["n"] == 1
    assert result["scans"] == 2  # test images do not count in the figures of the machine


def test_false_alarms_of_readers_are_counted(make_house):
    house = make_house(second_reader="suspect")
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    for who, what in (("operator", SUSPECT), ("second", CLEAR), ("supervisor", CLEAR)):
        reader = house.person(who)
        claim(reader, scan)
        decide(reader, scan, what)
    readers = {
        one["name"]: one for one in house.person("admin").get("/v1/statistics").json()["readers"]
    }
    assert readers["operator"]["false_alarms"]["k"] == 1
    assert readers["second"]["false_alarms"]["k"] == 0


def test_pictures_and_packed_pixels_of_a_scan(house):
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    reader = house.person("operator")
    views = reader.get(f"/v1/scans/{scan}").json()["views"]
    assert list(views) == ["0"]
    png = reader.get(views["0"]["image.png"])
    assert png.content.startswith(b"\x89PNG")
    svg = reader.get(views["0"]["overlay.svg"]).text
    assert "stroke-dasharray" in svg  # red is dashed: colour is not the only cue
    pixels = reader.get(views["0"]["pixels"])
    assert pixels.content[:4] == b"BSP1"
    assert reader.get(f"/v1/scans/{scan}/views/9/pixels").status_code == 404


def test_a_logarithm_is_shown_as_what_passes():
    passes = np.linspace(0.01, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    shown = [
        np.asarray(
            Image.open(
                io.BytesIO(
                    picture_png(packed_pixels(View(pixels, ("low",), quantity, bit_depth=16)))
                )
            )
        )
        for pixels, quantity in ((passes, "transmission"), (-np.log(passes), "log_attenuation"))
    ]
    assert np.abs(shown[0].astype(int) - shown[1]).max() <= 1
    assert shown[0][0, 0] < 10 < 250 < shown[0][-1, -1], "absorbing pixels are dark"


def test_uploads_are_checked_before_anything_is_kept(house):
    machine = house.machine()
    for files, why in [
        ([("../../etc/passwd", b"x")], "unknown type"),
        ([("a.exe", b"MZ")], "unknown type"),
        ([("a.tif", b"")], "empty"),
        ([("a.tif", b"\x89PNG....")], "first bytes"),
        ([("a.tif", tiff("clear")), ("a.tif", tiff("clear"))], "twice"),
        ([(f"{n}.tif", tiff("clear")) for n in range(13)], ""),
        ([], ""),
    ]:
        answer = (
            machine.post("/v1/screen", files=[("files", file) for file in files])
            if files
            else machine.post("/v1/screen", content=b"")
        )
        assert answer.status_code in (400, 422), (files, answer.text)
        assert why in answer.json()["detail"]
    assert not list(house.service.files.digests())
    assert (
        machine.post(
            "/v1/screen", files=[("files", ("folder/../a.tif", tiff("clear")))]
        ).status_code
        == 200
    )  # only the name is used


def test_more_bytes_than_may_come_are_refused_whatever_the_header_says(make_house):
    house = make_house(max_upload_mb=1)
    machine = house.machine()
    big = tiff("clear") + bytes(1 << 20)
    assert send(machine, big).status_code == 413

    def drip():
        for _ in range(40):
            yield bytes(1 << 15)

    assert (
        machine.post(
            "/v1/screen?name=a.tif",
            content=drip(),
            headers={"Content-Type": "application/octet-stream"},
        ).status_code
        == 413
    )
    assert send(machine, tiff("clear") + bytes(1 << 19)).status_code == 200


def test_deeply_nested_json_is_a_problem_and_no_crash(house):
    client = house.anyone()
    for body in (b"[" * 60_000, b'{"name":' * 8_000, b"\xff\xfe", b"{", b"[" * 200_000):
        answer = client.post(
            "/v1/sessions", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == (413 if len(body) > 1 << 16 else answer.status_code)
        assert answer.status_code in (400, 413, 422)


def test_test_images_are_made_with_the_scanner_of_the_settings(make_house, monkeypatch):
    monkeypatch.setattr("bagscan.service.service.MAINTENANCE_S", 3600)
    house = make_house(tip_rate=0.5, tip_profile="g640_cu")
    service, asked = house.service, []
    send(house.machine(), tiff("clear"), name="00017_below.tif")
    send(house.machine(), tiff("alarm"), name="00018_below.tif")
    ask = service.dispatcher.ask
    monkeypatch.setattr(
        service.dispatcher,
        "ask",
        lambda task, timeout_s: asked.append(task) or ask(task, timeout_s),
    )
    assert make_test_image(
        service.store,
        service.files,
        service.auditor,
        service.config,
        service.dispatcher,
        random.Random(0),
    )
    assert asked[0]["profile"] == "g640_cu"


def test_an_unknown_scanner_for_test_images_is_told_at_the_start(make_house):
    with pytest.raises(ConfigError, match="g640"):
        make_house(tip_rate=0.5, tip_profile="g64")


def test_the_queue_tells_how_many_wait_whatever_it_shows(house):
    machine, reader = house.machine(), house.person("operator")
    for number in range(3):
        send(machine, tiff(f"alarm {number}"))
    result = reader.get("/v1/queue?limit=2").json()
    assert (len(result["scans"]), result["waiting"]) == (2, 3)


def test_what_nobody_could_see_is_not_cleared(make_house):
    house = make_house()
    scan = send(house.machine(), tiff("die")).json()["id"]
    reader = house.person("operator")
    assert claim(reader, scan).status_code == 200
    assert decide(reader, scan, CLEAR).status_code == 422
    assert decide(reader, scan, {"value": "suspect", "reason": "dense block"}).status_code == 201
