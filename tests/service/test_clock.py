"""Clock jumps: nothing ends, is extended or is removed because of one."""

import time

import pytest
from sqlalchemy import select, update

from bagscan.service import clock as clock_module
from bagscan.service.clock import FOLLOW_S, Clock
from bagscan.service.store import tables
from tests.service.conftest import PASSWORD, send
from tests.service.stubs import tiff

DAY = 86_400.0
JUMPS = (400 * DAY, 3 * DAY, 1_000.0, -1_000.0, -2 * DAY)


class Machine:
    """A machine with a clock and an uptime that the test sets."""

    def __init__(self, monkeypatch):
        self.wall, self.up = time.time(), 5_000.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(clock_module, "_elapsed", lambda: self.up)

    def passes(self, seconds):
        self.wall, self.up = self.wall + seconds, self.up + seconds

    def jumps(self, seconds):
        self.wall += seconds


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


@pytest.mark.parametrize("jump", JUMPS)
def test_time_goes_on_over_a_jump(tmp_path, machine, jump):
    clock = Clock(tmp_path)
    before = clock.now()
    machine.passes(100)
    machine.jumps(jump)
    result = clock.tick()
    assert clock.now() == pytest.approx(before + 100)
    assert ("ahead of" if jump > 0 else "behind") in result
    assert "bagscan store clock" in result
    assert clock.tick() == "", "it is said once"
    machine.jumps(-jump)
    assert "agrees again" in clock.tick()


def test_small_corrections_are_followed(tmp_path, machine):
    clock = Clock(tmp_path)
    for _ in range(50):
        machine.passes(10)
        machine.jumps(FOLLOW_S - 1)
        assert clock.tick() == ""
        assert clock.now() == pytest.approx(machine.wall)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_restart_does_not_help_a_wrong_clock(tmp_path, machine, jump):
    clock = Clock(tmp_path)
    clock.keep()
    before = clock.now()
    machine.passes(500)
    machine.jumps(jump)
    assert Clock(tmp_path).now() == pytest.approx(before + 500, abs=0.01)


@pytest.mark.parametrize(
    ("jump", "after"), [(400 * DAY, 0), (3 * DAY, 3 * DAY), (-1_000, 0), (-2 * DAY, 0)]
)
def test_after_another_boot_time_goes_neither_back_nor_far_ahead(
    tmp_path, machine, monkeypatch, jump, after
):
    clock = Clock(tmp_path)
    clock.keep()
    before = clock.now()
    monkeypatch.setattr(clock_module, "_boot", lambda: "another")
    machine.up = 3.0
    machine.jumps(jump)
    assert Clock(tmp_path).now() == pytest.approx(before + after, abs=0.01)


def test_a_person_may_say_that_the_clock_is_right(tmp_path, machine):
    clock = Clock(tmp_path)
    clock.tick()
    machine.jumps(30 * DAY)
    assert clock.doubt()
    clock.tick()
    Clock(tmp_path).believe()  # bagscan store clock, another process
    assert clock.doubt() == ""
    assert clock.now() == pytest.approx(machine.wall, abs=0.01)


@pytest.mark.parametrize("kept", ["", "x", "1e999 0 a", "nan nan b", "1 2 3 4 5", "\xff", "123"])
def test_a_file_that_says_nothing_does_no_harm(tmp_path, machine, kept):
    (tmp_path / "last_time").write_bytes(kept.encode("latin-1"))
    now = Clock(tmp_path).now()
    assert now == pytest.approx(machine.wall) or kept in ("1 2 3 4 5", "123")


def test_a_file_of_an_earlier_version_is_read(tmp_path, machine):
    (tmp_path / "last_time").write_text(f"{machine.wall - 100:.0f}\n")
    assert Clock(tmp_path).now() == pytest.approx(machine.wall)
    (tmp_path / "last_time").write_text(f"{machine.wall + 100:.0f}\n")
    assert Clock(tmp_path).now() == pytest.approx(machine.wall + 100, abs=1)


def person(house, name):
    """A user whose own clock does not jump, because the client would drop its cookie otherwise."""
    client = house.person(name)
    client.headers["Cookie"] = "; ".join(f"{key}={value}" for key, value in client.cookies.items())
    client.cookies.clear()
    return client


def jumped(house, monkeypatch, seconds):
    """The machine's clock jumps; no time passes."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    house.service.clock.tick()


@pytest.mark.parametrize("jump", [3 * DAY, -2 * DAY])
def test_a_jump_ends_no_session_and_no_claim_and_unlocks_nobody(make_house, monkeypatch, jump):
    house = make_house(session_hours=0.2, claim_s=100.0, lock_minutes=15, lock_after=3)
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    reader, second = person(house, "operator"), person(house, "second")
    assert reader.post("/v1/queue/claim", json={"scan_id": scan}).status_code == 200
    for _ in range(3):
        house.anyone().post("/v1/sessions", json={"name": "supervisor", "password": "wrong"})
    jumped(house, monkeypatch, jump)
    assert reader.get("/v1/queue").json()["scans"][0]["claim"] == "yours"
    assert second.get("/v1/queue").json()["scans"][0]["claim"] == "taken"
    assert second.post("/v1/queue/claim", json={"scan_id": scan}).status_code == 409
    result = house.anyone().post("/v1/sessions", json={"name": "supervisor", "password": PASSWORD})
    assert (result.status_code, "locked for 15" in result.json()["detail"]) == (401, True)
    answer = {"value": "clear", "reason": "clutter"}
    made = reader.post(f"/v1/scans/{scan}/decisions", json=answer)
    assert made.status_code == 201
    undone = reader.delete(f"/v1/scans/{scan}/decisions/{made.json()['decision']}")
    assert undone.status_code == 200


@pytest.mark.parametrize("jump", [3 * DAY, -2 * DAY])
def test_a_jump_extends_no_session_no_claim_and_no_lock_out(make_house, monkeypatch, jump):
    house = make_house(session_hours=0.2, claim_s=100.0, lock_minutes=15, lock_after=3)
    service = house.service
    scan = send(house.machine(), tiff("alarm")).json()["id"]
    reader, second = person(house, "operator"), person(house, "second")
    reader.post("/v1/queue/claim", json={"scan_id": scan})
    for _ in range(3):
        house.anyone().post("/v1/sessions", json={"name": "supervisor", "password": "wrong"})
    jumped(house, monkeypatch, jump)
    service.clock._base += 200  # time passes
    answer = second.post("/v1/queue/claim", json={"scan_id": scan})
    assert answer.status_code == 200, "the claim has run out"
    service.clock._base += 800
    assert reader.get("/v1/queue").status_code == 401, "the session has ended"
    name = {"name": "supervisor", "password": PASSWORD}
    assert house.anyone().post("/v1/sessions", json=name).status_code == 201


def test_a_job_at_work_is_not_given_to_another_by_a_jump(make_house, monkeypatch):
    house = make_house(start=False)
    service = house.service
    assert send(house.machine(), tiff("clear"), path="/v1/jobs").status_code == 202
    from bagscan.service.inference import jobs

    def take(instance):
        now = service.clock.now()
        return service.store.write(lambda c: jobs.take(c, instance, 600.0, now))

    assert take("one") is not None
    jumped(house, monkeypatch, 3 * DAY)
    assert take("two") is None
    service.clock._base += 601
    assert take("two") is not None


@pytest.mark.parametrize("jump", [6.5 * DAY, -3000.0])
def test_images_are_kept_for_their_time_whatever_the_clock_says(make_house, monkeypatch, jump):
    house = make_house(keep_clear_days=7)
    service = house.service
    scan = send(house.machine(), tiff("clear")).json()["id"]
    day = time.time() - 6.8 * DAY
    service.store.write(lambda c: c.execute(update(tables.results).values(created_at=day)) and None)
    jumped(house, monkeypatch, jump)
    assert service.clock.doubt() == "", "so near that it is not doubted"
    service.clean_up()
    with service.store.read() as connection:
        assert connection.execute(select(tables.scans.c.purged_at)).scalar() is None
    assert house.person("supervisor").get(f"/v1/scans/{scan}/views/0/pixels").status_code == 200
    service.clock._base += 0.3 * DAY
    monkeypatch.undo()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 0.3 * DAY)
    service.clean_up()
    with service.store.read() as connection:
        assert connection.execute(select(tables.scans.c.purged_at)).scalar() is not None
