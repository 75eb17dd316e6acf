"""A scan is never lost, for any failure of any process."""

import os
import signal
import threading
import time

import pytest
from sqlalchemy import select

from bagscan.service.store.tables import jobs, results, scans
from tests.service.conftest import count, send, until
from tests.service.stubs import stub_worker, tiff

REAL_PROCESSES = True  # some workers are killed here


def test_a_scan_is_screened_and_the_answer_says_by_what(house):
    answer = send(house.machine(), tiff("alarm"))
    assert answer.status_code == 200
    outcome = answer.json()
    assert outcome["decision"] == "ALARM"
    assert outcome["findings"][0]["box_xyxy"] == [24, 24, 48, 48]
    assert answer.headers["X-Model-Id"] == outcome["model_id"] == "stub"
    assert float(answer.headers["X-Threshold"]) == outcome["threshold"] == 0.5
    assert len(answer.headers["X-Request-Id"]) == 32
    assert send(house.machine(), tiff("clear")).json()["decision"] == "CLEAR"


def test_a_raw_body_is_one_file(house):
    answer = house.machine().post(
        "/v1/screen?name=7.tif",
        content=tiff("alarm"),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.json()["decision"] == "ALARM"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("hang", "no answer within"),
        ("die", "ended in the middle"),
        ("nan", "malformed"),
        pytest.param("torn", "malformed", marks=pytest.mark.slow),
        pytest.param("lie alarm", "contradicts itself", marks=pytest.mark.slow),
        pytest.param("broken", "sizes of tensors", marks=pytest.mark.slow),
    ],
)
def test_no_fault_of_a_model_is_silent_or_clear(make_house, word, why):
    house = make_house(screen_timeout_s=0.5)
    outcome = send(house.machine(), tiff(word)).json()
    assert outcome["decision"] == "REVIEW"
    assert why in outcome["reasons"][0]
    assert outcome["findings"] == []
    # The control: the same service still scores sound scans.
    assert send(house.machine(), tiff("clear")).json()["decision"] == "CLEAR"
    assert count(house, jobs, jobs.c.attempts == 2) == 1  # exactly one retry


def test_a_worker_that_died_is_replaced_and_the_scan_tried_once_more(house):
    assert send(house.machine(), tiff("once alarm")).json()["decision"] == "ALARM"
    assert count(house, jobs, jobs.c.attempts == 2) == 1


def test_a_file_that_is_no_scan_is_a_problem_and_on_record_as_review(house):
    answer = send(house.machine(), tiff("refuse"))
    assert answer.status_code == 422
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= set(problem)
    assert problem["decision"] == "REVIEW"
    assert count(house, results, results.c.decision == "REVIEW") == 1


def test_the_same_key_is_the_same_job(house):
    machine = house.machine()
    first = send(machine, tiff("alarm"), path="/v1/jobs", **{"Idempotency-Key": "7"})
    again = send(machine, tiff("alarm"), path="/v1/jobs", **{"Idempotency-Key": "7"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["job_id"] == again.json()["job_id"]
    assert count(house, scans) == 1
    other = send(machine, tiff("clear"), path="/v1/jobs", **{"Idempotency-Key": "7"})
    assert other.status_code == 409
    # Another account's key of the same name is separate.
    assert (
        send(
            house.machine("admin"), tiff("clear"), path="/v1/jobs", **{"Idempotency-Key": "7"}
        ).status_code
        == 202
    )


def test_a_job_can_be_followed_by_who_sent_it(house):
    machine = house.machine()
    job = send(machine, tiff("alarm"), path="/v1/jobs").json()
    until(lambda: machine.get(f"/v1/jobs/{job['job_id']}").json()["state"] == "done")
    outcome = machine.get(f"/v1/jobs/{job['job_id']}").json()
    assert outcome["result"]["decision"] == "ALARM"
    house.add("other", "scanner")
    assert house.machine("other").get(f"/v1/jobs/{job['job_id']}").status_code == 404
    assert house.machine("other").get(f"/v1/scans/{job['scan_id']}").status_code == 404
    assert machine.get(f"/v1/scans/{job['scan_id']}").json()["result"]["decision"] == "ALARM"


def test_more_than_may_wait_are_told_to_come_back(make_house):
    house = make_house(max_waiting=2, screen_timeout_s=3.0)
    machine = house.machine()
    codes = [send(machine, tiff("slow", n), path="/v1/jobs").status_code for n in range(12)]
    assert 429 in codes
    refused = send(machine, tiff("slow", 99), path="/v1/jobs")
    if refused.status_code == 429:
        assert int(refused.headers["Retry-After"]) > 0
    accepted = codes.count(202) + (refused.status_code == 202)
    until(lambda: count(house, jobs, jobs.c.state == "done") == accepted)
    assert send(machine, tiff("clear")).status_code == 200  # normal again


@pytest.mark.slow
def test_killing_workers_loses_nothing_and_does_nothing_twice(house):
    machine = house.machine()
    sent = 60
    stop = threading.Event()
    killed = []

    def kill():
        while not stop.wait(0.05):
            for pid in (
                house.service.dispatcher.worker_pids()
            ):  # of the warm ones: a worker that dies while it starts has no scan to lose
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                except ProcessLookupError:
                    pass

    thread = threading.Thread(target=kill)
    thread.start()
    ids = [
        send(
            machine,
            tiff("slow alarm" if n % 3 else "clear", n),
            path="/v1/jobs",
            **{"Idempotency-Key": str(n)},
        ).json()["job_id"]
        for n in range(sent)
    ]
    until(lambda: len(set(killed)) >= 3, 60)
    stop.set()
    thread.join()
    assert len(set(ids)) == sent
    until(lambda: count(house, jobs, jobs.c.state == "done") == sent, 60)
    assert count(house, results) == sent
    for job_id, n in zip(ids, range(sent), strict=True):
        outcome = machine.get(f"/v1/jobs/{job_id}").json()["result"]
        assert outcome["decision"] in (("ALARM", "REVIEW") if n % 3 else ("CLEAR", "REVIEW"))
        assert outcome["decision"] != "REVIEW" or "ended in the middle" in outcome["reasons"][0]


@pytest.mark.slow
def test_what_ran_when_the_service_ended_is_taken_up_again(make_house, tmp_path):
    house = make_house(folder=tmp_path / "one")
    send(house.machine(), tiff("clear"))
    job = send(house.machine(), tiff("slow alarm"), path="/v1/jobs").json()["job_id"]
    until(lambda: count(house, jobs, jobs.c.state == "running") == 1)
    house.service.dispatcher.stop()  # like a kill: the job stays in the state running
    assert count(house, jobs, jobs.c.state == "running") == 1
    house.service.stop()
    again = make_house(folder=tmp_path / "one", target=stub_worker)
    until(lambda: count(again, jobs, jobs.c.state == "done") == 2)
    with again.service.store.read() as connection:
        assert (
            connection.execute(
                select(results.c.decision)
                .join(jobs, jobs.c.scan_id == results.c.scan_id)
                .where(jobs.c.id == job)
            ).scalar_one()
            == "ALARM"
        )


@pytest.mark.slow
def test_a_store_that_fails_for_a_while_loses_nothing(house, monkeypatch):
    from bagscan.service.inference import jobs as life
    from bagscan.service.store.database import StoreError

    failing = {"finish": 3, "count_attempt": 1, "take": 2}

    def flaky(name):
        real = getattr(life, name)

        def call(*arguments):
            if failing[name]:
                failing[name] -= 1
                raise StoreError("the store does not answer")
            return real(*arguments)

        monkeypatch.setattr(life, name, call)

    for name in failing:
        flaky(name)
    machine = house.machine()
    assert send(machine, tiff("once alarm")).json()["decision"] == "ALARM"
    assert send(machine, tiff("clear", 2)).json()["decision"] == "CLEAR"
    assert not any(failing.values())
    assert count(house, results) == count(house, jobs, jobs.c.state == "done") == 2


@pytest.mark.slow
def test_what_can_never_be_kept_ends_as_review(house, monkeypatch):
    from bagscan.service.inference import results as writer

    real = writer.mark_doubtful

    def broken(row, *arguments):
        if row["decision"] == "ALARM":
            raise RuntimeError("a flaw of our own")
        return real(row, *arguments)

    monkeypatch.setattr(writer, "mark_doubtful", broken)
    outcome = send(house.machine(), tiff("alarm")).json()
    assert outcome["decision"] == "REVIEW"
    assert "never finished" in outcome["reasons"][0]


def test_a_scanner_that_is_not_known_is_review(make_house):
    house = make_house(known_scanners=("gate 1",))
    machine = house.machine()
    assert (
        send(machine, tiff("clear"), path="/v1/screen?scanner=gate%201").json()["decision"]
        == "CLEAR"
    )
    outcome = send(machine, tiff("clear", 2), path="/v1/screen?scanner=gate%209").json()
    assert outcome["decision"] == "REVIEW"
    assert "unknown scanner 'gate 9'" in outcome["reasons"][0]


@pytest.mark.slow
def test_drifting_scores_end_what_is_clear(make_house):
    house = make_house(drift_window=20)
    machine = house.machine()
    early = [
        send(machine, tiff(f"score {0.10 + 0.001 * n}"), path="/v1/screen").json()["decision"]
        for n in range(20)
    ]
    assert set(early) == {"CLEAR"}
    late = [
        send(machine, tiff(f"score {0.40 + 0.001 * n}"), path="/v1/screen").json()
        for n in range(25)
    ]
    assert late[-1]["decision"] == "REVIEW"
    assert "differ from those of the first" in late[-1]["reasons"][0]
    drift = house.service.dispatcher.drift
    assert min(drift.p_values({late[-1]["model_id"]}).values()) < 1e-4
    assert drift.p_values({"another that serves now"}) == {}, (
        "what does not serve any more raises no alert"
    )
    assert house.person("supervisor").get("/v1/statistics").json()["drift_p"] == {}, (
        "the stand-in is none of the models that serve"
    )


def test_two_services_do_not_share_a_folder(house, make_house):
    with pytest.raises(Exception, match="another bagscan serve"):
        make_house()


def test_not_ready_before_a_worker_is_warm(make_house):
    house = make_house(start=False)
    assert house.anyone().get("/v1/health/ready").status_code == 503
    assert house.anyone().get("/v1/health/live").status_code == 200
    house.service.start()
    until(lambda: house.anyone().get("/v1/health/ready").status_code == 200)
    assert {
        one["runtime"].split()[0] for one in house.anyone().get("/v1/health/ready").json()["models"]
    } == {"onnxruntime"}


def test_a_relative_folder_is_as_good_as_any(make_house, tmp_path, monkeypatch):
    from bagscan.service.settings import ServiceConfig

    monkeypatch.chdir(tmp_path)
    config = ServiceConfig(folder="here", watch=("there",))
    assert config.folder == tmp_path / "here"
    assert config.watch == (tmp_path / "there",)


@pytest.mark.slow
def test_a_worker_that_dies_while_it_has_nothing_to_do_is_replaced_before_a_scan_comes(house):
    send(house.machine(), tiff("clear"))
    (pid,) = house.service.dispatcher.worker_pids()
    os.kill(pid, signal.SIGKILL)
    until(lambda: house.service.dispatcher.worker_pids() not in ([pid], []))
    assert send(house.machine(), tiff("alarm")).json()["decision"] == "ALARM"
    assert count(house, jobs, jobs.c.attempts > 1) == 0


def test_a_job_of_a_service_that_never_comes_back_is_taken_up_by_another(house):
    from sqlalchemy import update

    job = send(house.machine(), tiff("alarm"), path="/v1/jobs").json()["job_id"]
    until(lambda: count(house, jobs, jobs.c.state == "done") == 1)
    store = house.service.store
    store.write(lambda c: c.execute(results.delete()) and None)
    store.write(
        lambda c: (
            c.execute(
                update(jobs).values(state="running", instance="gone", started_at=time.time() - 5)
            )
            and None
        )
    )
    time.sleep(1.5)
    assert count(house, jobs, jobs.c.state == "running") == 1  # a worker may still be at work
    from bagscan.service.store.tables import reviews

    store.write(lambda c: c.execute(reviews.delete()) and None)
    store.write(
        lambda c: (
            c.execute(
                update(jobs).values(started_at=time.time() - 10 * house.service.dispatcher.lease_s)
            )
            and None
        )
    )
    until(lambda: count(house, jobs, jobs.c.id == job, jobs.c.state == "done") == 1)


def test_a_body_is_capped_before_it_is_parsed_whoever_asks(house):
    def drip():
        for _ in range(40):
            yield b" " * 4096

    outcome = house.anyone().post(
        "/v1/sessions", content=b" " * 100_000, headers={"Content-Type": "application/json"}
    )
    assert outcome.status_code == 413
    untold = house.anyone().post(
        "/v1/sessions", content=drip(), headers={"Content-Type": "application/json"}
    )
    assert untold.status_code in (400, 413)
    for answer in (outcome, untold):
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.headers["X-Request-Id"]) == 32


def test_a_store_that_is_gone_is_503_with_all_that_an_answer_carries(house, monkeypatch):
    from bagscan.service.store.database import Store, StoreError

    def gone(self):
        raise StoreError("the store does not answer")

    key = house.machine()
    monkeypatch.setattr(Store, "read", gone)
    live, me = house.anyone().get("/v1/health/live"), key.get("/v1/jobs/x")
    monkeypatch.undo()
    assert live.status_code == 200
    assert me.status_code == 503
    assert int(me.headers["Retry-After"]) > 0
    for answer in (live, me):
        assert len(answer.headers["X-Request-Id"]) == 32
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_values_that_the_store_cannot_hold_are_422(make_house, database_url):
    house = make_house(database=database_url)
    assert (
        house.anyone().post("/v1/sessions", json={"name": "a\0b", "password": "x"}).status_code
        == 422
    )
    assert house.person("operator").get("/v1/scans/%00").status_code in (404, 422)
    assert (
        house.person("admin").patch(f"/v1/accounts/{10**23}", json={"unlock": True}).status_code
        == 422
    )
    assert send(house.machine(), tiff("clear"), path="/v1/screen?scanner=%00").status_code == 422
