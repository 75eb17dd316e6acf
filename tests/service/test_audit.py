"""Every way of tampering with the chain is found; the untouched chain is the control."""

import copy
import json
import random

import pytest
from sqlalchemy import delete, update
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.service import audit
from bagscan.service.store import tables
from tests.service.conftest import send
from tests.service.stubs import tiff


@pytest.fixture
def chain(make_house):
    house = make_house()
    service = house.service
    for n in range(20):
        service.store.write(
            lambda c, n=n: service.auditor.append(
                c, "olga", "threshold", f"scan {n}", {"value": "clear", "n": n}
            )
        )
    service.keep_head()
    with service.store.read() as connection:
        records = audit.read_records(connection)
    return (
        records,
        audit.read_public_key(service.config.folder),
        audit.read_head(service.config.folder / "audit.head"),
        house,
    )


def test_the_untouched_chain_is_whole(chain):
    records, key, head, _ = chain
    assert len(records) >= 20
    assert audit.verify(records, key, head) == []
    assert audit.verify(records, key) == []


def edit(records, rng):
    record = records[rng.randrange(len(records))]
    field = rng.choice(
        ["at", "actor", "action", "subject", "detail", "previous", "hash", "signature"]
    )
    record[field] = (
        record[field] + 1
        if field == "at"
        else record[field][:-1] + ("0" if record[field][-1:] != "0" else "1")
    )


def rewrite(records, rng):
    """An edit by somebody who repairs the hashes after it but has no key."""
    at = rng.randrange(len(records))
    records[at]["detail"] = json.dumps({"value": "suspect"})
    for i in range(at, len(records)):
        records[i]["previous"] = records[i - 1]["hash"] if i else audit.START
        records[i]["hash"] = audit.record_hash(records[i])


def drop(records, rng):
    del records[rng.randrange(len(records) - 1)]


def reorder(records, rng):
    a, b = rng.sample(range(len(records)), 2)
    records[a], records[b] = records[b], records[a]


def cut_tail(records, rng):
    del records[rng.randrange(len(records)) :]


def fork(records, rng):
    at = rng.randrange(len(records))
    records.insert(at + 1, {**records[at], "subject": "another story"})


@pytest.mark.parametrize("tamper", [edit, rewrite, drop, reorder, cut_tail, fork])
def test_tampering_is_found_every_time(chain, tamper):
    records, key, head, _ = chain
    for seed in range(60):
        changed = copy.deepcopy(records)
        tamper(changed, random.Random(seed))
        assert changed != records
        assert audit.verify(changed, key, head), f"{tamper.__name__}, seed {seed}"


def test_a_head_of_another_key_is_found(chain, tmp_path):
    records, key, head, _ = chain
    assert audit.verify(records, key, {**head, "signature": "00" * 64})
    from bagscan.service.store.database import Store, connect
    from bagscan.service.store.migrate import migrate

    engine = connect(f"sqlite:///{tmp_path}/other.sqlite")
    migrate(engine)
    other = audit.Auditor(tmp_path, Store(engine))
    assert audit.verify(records, audit.read_public_key(other.folder), head)


def test_verify_off_line_says_so_and_exits_with_3(chain, tmp_path):
    _, _, _, house = chain
    folder = house.service.config.folder
    run = CliRunner().invoke
    assert run(app, ["audit", "verify", "--folder", str(folder)]).exit_code == 0
    exported = tmp_path / "records.jsonl"
    assert run(app, ["audit", "export", str(exported), "--folder", str(folder)]).exit_code == 0
    there = [
        "audit",
        "verify",
        "--records",
        str(exported),
        "--key",
        str(folder / "audit.pub"),
        "--head",
        str(folder / "audit.head"),
    ]
    assert run(app, there).exit_code == 0
    assert "no such file" in str(
        run(
            app, ["audit", "verify", "--folder", str(folder), "--head", str(tmp_path / "typo")]
        ).exception
    )
    exported.write_text("\n".join(exported.read_text().splitlines()[:-1]) + "\n")
    result = run(app, there)
    assert result.exit_code == 3
    assert "truncated" in result.output
    house.service.store.write(
        lambda c: c.execute(
            update(tables.audit).where(tables.audit.c.seq == 3).values(actor="nobody")
        )
    )
    assert "record 3 was altered" in run(app, ["audit", "verify", "--folder", str(folder)]).output


def test_a_decision_s_record_that_cannot_be_read_any_more_is_named(house):
    send(house.machine(), tiff("alarm"))
    reader = house.person("operator")
    scan = reader.post("/v1/queue/claim", json={}).json()["scan_id"]
    assert (
        reader.post(
            f"/v1/scans/{scan}/decisions", json={"value": "clear", "reason": "benign part"}
        ).status_code
        == 201
    )
    for detail in ("{", "[1]"):
        house.service.store.write(
            lambda c, detail=detail: (
                c.execute(
                    update(tables.audit)
                    .where(tables.audit.c.action == "decision")
                    .values(detail=detail)
                )
                and None
            )
        )
        result = house.person("supervisor").get("/v1/audit/verify")
        assert result.status_code == 200
        assert any("was altered" in line for line in result.json()["wrong"]), detail


def test_a_decision_without_its_record_is_found(house):
    send(house.machine(), tiff("alarm"))
    reader = house.person("operator")
    scan = reader.post("/v1/queue/claim", json={}).json()["scan_id"]
    assert (
        reader.post(
            f"/v1/scans/{scan}/decisions", json={"value": "clear", "reason": "benign part"}
        ).status_code
        == 201
    )
    supervisor = house.person("supervisor")
    assert supervisor.get("/v1/audit/verify").json()["wrong"] == []
    store = house.service.store
    for change in (
        {"value": "suspect"},
        {"account_id": 1},
        {"parts": [0]},
        {"undone_at": 1.0},
        {"note": "x"},
    ):
        before = {
            "value": "clear",
            "account_id": house.ids["operator"],
            "parts": [],
            "undone_at": None,
            "note": "",
        }
        store.write(
            lambda c, change=change: c.execute(update(tables.decisions).values(**change)) and None
        )
        assert (
            "has no matching audit record" in supervisor.get("/v1/audit/verify").json()["wrong"][0]
        ), change
        store.write(
            lambda c, before=before: c.execute(update(tables.decisions).values(**before)) and None
        )
        assert supervisor.get("/v1/audit/verify").json()["wrong"] == []
    store.write(lambda c: c.execute(delete(tables.decisions)) and None)
    assert "missing decision" in supervisor.get("/v1/audit/verify").json()["wrong"][0]


def test_no_decision_is_kept_whose_record_cannot_be(house, monkeypatch):
    send(house.machine(), tiff("alarm"))
    reader = house.person("operator")
    scan = reader.post("/v1/queue/claim", json={}).json()["scan_id"]

    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.service.auditor, "append", fails)
    answer = reader.post(
        f"/v1/scans/{scan}/decisions", json={"value": "clear", "reason": "benign part"}
    )
    assert answer.status_code >= 500
    monkeypatch.undo()
    assert reader.get(f"/v1/scans/{scan}/decisions").json()["decisions"] == []
    assert (
        reader.post(
            f"/v1/scans/{scan}/decisions", json={"value": "clear", "reason": "benign part"}
        ).status_code
        == 201
    )  # the control


def test_every_change_that_matters_is_recorded(house):
    admin = house.person("admin")
    model = admin.get("/v1/models").json()["models"][0]
    assert (
        admin.put(f"/v1/models/{model['id']}/threshold", json={"threshold": 0.7}).status_code == 200
    )
    assert (
        admin.post("/v1/models/rollback", json={"channels": model["channels"]}).status_code == 200
    )
    admin.post("/v1/sessions", json={"name": "operator", "password": "wrong"})
    made = admin.post(
        "/v1/accounts", json={"name": "new", "role": "operator", "password": "long enough"}
    ).json()
    admin.patch(f"/v1/accounts/{made['id']}", json={"role": "supervisor"})
    key = admin.post(f"/v1/accounts/{made['id']}/keys", json={"name": "k"}).json()
    admin.delete(f"/v1/keys/{key['id']}")
    admin.delete("/v1/sessions")
    actions = {
        one["action"]
        for one in house.person("supervisor").get("/v1/audit?limit=1000").json()["records"]
    }
    assert {
        "login",
        "logout",
        "login.fail",
        "threshold",
        "model.rollback",
        "account.create",
        "account.change",
        "key.create",
        "key.revoke",
        "model.add",
        "model.activate",
    } <= actions


def test_an_emptied_chain_does_not_pass_for_a_new_one(chain):
    _, key, head, house = chain
    house.service.store.write(lambda c: c.execute(delete(tables.audit)))
    assert "truncated" in audit.verify([], key, head)[0]


def test_a_key_that_is_lost_or_torn_is_told_and_no_new_one_made(house, make_house):
    folder, store = house.service.config.folder, house.service.store
    with pytest.raises(audit.AuditError, match="has records"):
        audit.Auditor(folder / "objects", store)
    assert not (folder / "objects" / "audit.key").exists()
    (folder / "audit.key").write_text("")
    with pytest.raises(audit.AuditError, match="not a key"):
        audit.Auditor(folder, store)


def test_every_try_to_log_in_is_on_record(house):
    for name, password in (("nobody", "x"), ("operator", "wrong")):
        house.anyone().post("/v1/sessions", json={"name": name, "password": password})
    records = house.person("supervisor").get("/v1/audit?limit=1000").json()["records"]
    assert [one["subject"] for one in records if one["action"] == "login.fail"] == [
        "nobody",
        "operator",
    ]
