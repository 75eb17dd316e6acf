"""The store, on SQLite and on PostgreSQL."""

import errno
import json
import os
import tarfile
import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, delete, event, func, insert, select, text, update
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.core.errors import ConfigError
from bagscan.formats.coco import read_coco
from bagscan.service import audit, backup, retention
from bagscan.service.audit import AuditError
from bagscan.service.clock import Clock
from bagscan.service.settings import read_settings
from bagscan.service.store import tables
from bagscan.service.store.database import Store, StoreError, StoreFull, connect
from bagscan.service.store.files import Files
from bagscan.service.store.migrate import migrate, newest, revision
from bagscan.service.store.tables import decisions, metadata, results, reviews, scans
from bagscan.service.store.tally import TALLY
from tests.service.conftest import count, send, until
from tests.service.stubs import tiff


@pytest.fixture
def engine(database_url, tmp_path):
    made = connect(database_url or f"sqlite:///{tmp_path}/store.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def store(engine):
    migrate(engine)
    made = Store(engine)
    yield made
    made.close()


def a_scan(number, **more):
    values = {
        "id": str(number),
        "source_id": "bag",
        "digest": "0" * 64,
        "files": [],
        "scanner": "s",
        "source": "test",
        "received_at": time.time(),
    }
    return insert(scans).values(**(values | more))


def test_migrations_make_the_tables_that_the_code_knows(engine):
    migrate(engine)
    assert revision(engine) == newest()
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    migrate(engine)  # a second time changes nothing


def test_a_store_of_a_newer_bagscan_is_refused(engine):
    migrate(engine)
    with engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer version"):
        migrate(engine)


def test_a_write_that_fails_takes_no_other_with_it(store):
    store.write(lambda c: c.execute(a_scan(0)) and None)
    gate = threading.Event()
    blocked = store.submit(
        lambda c: gate.wait(5)
    )  # so that the others wait together and are committed together
    futures = [
        store.submit(lambda c, n=n: c.execute(a_scan(0 if n == 3 else n)).rowcount)
        for n in range(1, 8)
    ]
    gate.set()
    assert blocked.result(5)
    outcome = [future.exception(5) for future in futures]
    assert [error is None for error in outcome] == [True, True, False, True, True, True, True]
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(scans)).scalar_one() == 7


def test_what_a_reader_sees_does_not_change_under_it(store):
    with store.read() as connection:
        before = connection.execute(select(func.count()).select_from(scans)).scalar_one()
        store.write(lambda c: c.execute(a_scan(1)) and None)
        assert connection.execute(select(func.count()).select_from(scans)).scalar_one() == before
    with store.read() as connection:
        assert (
            connection.execute(select(func.count()).select_from(scans)).scalar_one() == before + 1
        )


def test_the_audit_chain_holds_under_many_writers(store, tmp_path):
    auditor = audit.Auditor(tmp_path, store)
    threads = [
        threading.Thread(
            target=lambda n=n: [
                store.write(lambda c: auditor.append(c, f"t{n}", "x", "y")) for _ in range(25)
            ]
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        records = audit.read_records(connection)
    assert len(records) == 150
    assert audit.verify(records, audit.read_public_key(tmp_path)) == []


def test_services_side_by_side_on_one_postgresql_take_different_jobs(
    make_house, postgres_server, tmp_path
):
    from sqlalchemy import create_engine

    admin = create_engine(f"{postgres_server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE side_by_side"))
    admin.dispose()
    url, objects = f"{postgres_server}/side_by_side", tmp_path / "one"
    one = make_house(database=url, folder=objects)
    (tmp_path / "two").mkdir()
    with pytest.raises(audit.AuditError, match="has records"):  # a new key would fork the chain
        make_house(database=url, folder=tmp_path / "two")
    for name in ("objects", "audit.key", "audit.pub"):  # as on a shared disk
        if (tmp_path / "two" / name).is_dir():
            (tmp_path / "two" / name).rmdir()
        (tmp_path / "two" / name).symlink_to(objects / name)
    make_house(database=url, folder=tmp_path / "two")
    one.ids["scanner"] = 1
    machine = one.machine("scanner")
    for n in range(40):
        assert send(machine, tiff("alarm", n), path="/v1/jobs").status_code == 202
    until(lambda: count(one, results) == 40, 30)


def test_the_whole_service_works_on_either(make_house, database_url):
    house = make_house(database=database_url, second_reader="all")
    assert send(house.machine(), tiff("alarm")).json()["decision"] == "ALARM"
    for who in ("operator", "second"):
        reader = house.person(who)
        scan = reader.post("/v1/queue/claim", json={}).json()["scan_id"]
        assert (
            reader.post(
                f"/v1/scans/{scan}/decisions",
                json={"value": "suspect", "reason": "dense block", "parts": [0]},
            ).status_code
            == 201
        )
    supervisor = house.person("supervisor")
    assert supervisor.get("/v1/audit/verify").json()["wrong"] == []
    outcome = supervisor.get("/v1/statistics").json()
    assert outcome["agreement"]["k"] == outcome["agreement"]["n"] == 1
    assert outcome["outcomes"]["alarms_confirmed"]["k"] == 1


def test_a_back_up_restores_into_either(make_house, database_url, tmp_path):
    house = make_house()
    send(house.machine(), tiff("alarm"))
    reader = house.person("operator")
    scan = reader.post("/v1/queue/claim", json={}).json()["scan_id"]
    reader.post(
        f"/v1/scans/{scan}/decisions", json={"value": "clear", "reason": "clutter", "note": "ä ✓"}
    )
    house.service.keep_head()
    folder = house.service.config.folder
    outcome = backup.back_up(house.service.store, folder, tmp_path / "b.tar")
    assert oct((tmp_path / "b.tar").stat().st_mode & 0o777) == "0o600"  # it holds keys
    with house.service.store.read() as connection:
        before = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    new = tmp_path / "new"
    engine = connect(database_url or f"sqlite:///{tmp_path}/new.sqlite")
    again = backup.restore(tmp_path / "b.tar", new, engine)
    assert again["rows"] == outcome["rows"] == sum(map(len, before.values()))
    with engine.connect() as connection:
        after = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    assert after == before
    assert sorted(Files(new / "objects").digests()) == sorted(Files(folder / "objects").digests())
    assert (new / "audit.key").read_bytes() == (folder / "audit.key").read_bytes()
    assert {
        path.stat().st_mode & 0o077
        for path in new.rglob("*")
        if path.is_file() and path.parent != new
    } == {0}, "not accessible to others"
    with pytest.raises(StoreError, match="holds a store already"):
        backup.restore(tmp_path / "b.tar", new, engine)
    engine.dispose()
    # The restored service goes on: numbers, chain and readers.
    house.service.stop()
    lives = make_house(folder=new, database=database_url or f"sqlite:///{tmp_path}/new.sqlite")
    assert send(house_client(lives), tiff("alarm", 2)).json()["decision"] == "ALARM"
    assert lives.person("supervisor").get("/v1/audit/verify").json()["wrong"] == []


def house_client(house):
    house.add("new scanner".replace(" ", "-"), "scanner")
    return house.machine("new-scanner")


def test_a_restore_over_a_service_that_is_there_changes_nothing_of_it(make_house, tmp_path):
    """The service may hold only accounts and a key; its audit log is verified with that key."""
    house = make_house()
    send(house.machine(), tiff("alarm"))
    backup.back_up(house.service.store, house.service.config.folder, tmp_path / "b.tar")
    other = make_house(folder=tmp_path / "other", database=f"sqlite:///{tmp_path}/other.sqlite")
    other.person("admin")
    other.service.stop()
    key = (tmp_path / "other" / "audit.key").read_bytes()
    engine = connect(f"sqlite:///{tmp_path}/other.sqlite")
    with pytest.raises(StoreError, match="holds a store already"):
        backup.restore(tmp_path / "b.tar", tmp_path / "other", engine)
    assert (tmp_path / "other" / "audit.key").read_bytes() == key
    with pytest.raises(StoreError, match=r"database.*not empty"):
        backup.restore(tmp_path / "b.tar", tmp_path / "new", engine)
    assert not any((tmp_path / "new").iterdir()), "nothing was written"
    engine.dispose()


def test_a_damaged_back_up_is_refused(make_house, tmp_path):
    house = make_house()
    send(house.machine(), tiff("alarm"))
    path = tmp_path / "b.tar"
    backup.back_up(house.service.store, house.service.config.folder, path)
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        member = next(m for m in tar.getmembers() if m.name.startswith("objects/"))
        at = member.offset_data
    for name, content in {
        "flipped": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
        "cut": whole[: len(whole) // 2],
        "none": b"hello",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreError):
            backup.restore(
                tmp_path / name,
                tmp_path / f"{name}-folder",
                connect(f"sqlite:///{tmp_path}/{name}.sqlite"),
            )


def test_retention_removes_images_that_nothing_needs_and_keeps_the_record(make_house):
    house = make_house(keep_clear_days=30, keep_decided_days=365)
    machine, service = house.machine(), house.service
    old = send(machine, tiff("clear")).json()["id"]
    shared = send(machine, tiff("alarm"), name="a.tif").json()["id"]
    same_bytes = send(machine, tiff("alarm"), name="b.tif").json()["id"]
    reader = house.person("operator")
    reader.post("/v1/queue/claim", json={"scan_id": shared})
    reader.post(f"/v1/scans/{shared}/decisions", json={"value": "clear", "reason": "clutter"})
    month = 31 * 86400
    service.store.write(
        lambda c: (
            c.execute(
                update(results)
                .where(results.c.scan_id.in_([old, shared]))
                .values(created_at=time.time() - month)
            )
            and None
        )
    )
    with service.store.read() as connection:
        before = retention.find_referenced(connection)
    service.clean_up(older_than_s=-1)
    with service.store.read() as connection:
        assert set(
            connection.execute(select(scans.c.id).where(scans.c.purged_at.is_not(None))).scalars()
        ) == {old, shared}
        needed = retention.find_referenced(connection, [same_bytes])
    assert needed < before
    assert set(service.files.digests()) == needed  # files that b.tif shares with a.tif still exist
    supervisor = house.person("supervisor")
    outcome = supervisor.get(f"/v1/scans/{old}").json()
    assert outcome["purged"]
    assert outcome["result"]["decision"] == "CLEAR"
    assert supervisor.get(f"/v1/scans/{old}/views/0/pixels").status_code == 410
    assert supervisor.get(f"/v1/scans/{same_bytes}/views/0/pixels").status_code == 200
    assert any(
        one["action"] == "retention"
        for one in supervisor.get("/v1/audit?limit=1000").json()["records"]
    )


class TestFiles:
    def test_bytes_come_back_and_are_kept_once(self, tmp_path):
        files = Files(tmp_path)
        digest = files.put(b"abc")
        assert files.put(b"abc") == digest
        assert files.get(digest) == b"abc"
        assert list(files.digests()) == [digest]

    def test_altered_or_lost_bytes_are_told(self, tmp_path):
        files = Files(tmp_path)
        digest = files.put(b"abc")
        files.path(digest).write_bytes(b"abd")
        with pytest.raises(StoreError, match="altered"):
            files.get(digest)
        files.remove(digest)
        with pytest.raises(StoreError, match="missing"):
            files.get(digest)
        with pytest.raises(ValueError, match="not a SHA-256"):
            files.path("../../etc/passwd")

    def test_a_full_disk_leaves_no_torn_file(self, tmp_path, monkeypatch):
        files = Files(tmp_path)

        def full(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreFull, match="no space"):
            files.put(b"abc")
        monkeypatch.undo()
        assert [
            path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"
        ] == []
        assert files.get(files.put(b"abc")) == b"abc"

    def test_what_a_kill_left_and_what_nothing_names_is_swept_when_it_is_old(self, tmp_path):
        files = Files(tmp_path)
        kept, orphan = files.put(b"abc"), files.put(b"orphan")
        (tmp_path / "ab").mkdir(exist_ok=True)
        (tmp_path / "ab" / ".new-1").write_bytes(b"half")
        assert files.sweep({kept}) == 0  # too young: its row may still come
        assert files.sweep({kept}, older_than_s=-1) == 1
        assert not list(tmp_path.rglob(".new-*"))
        assert list(files.digests()) == [kept]
        assert not files.path(orphan).exists()


def test_a_full_disk_answers_507_and_keeps_nothing(house, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    machine = house.machine()
    monkeypatch.setattr(os, "fsync", full)
    answer = send(machine, tiff("alarm"))
    monkeypatch.undo()
    assert answer.status_code == 507
    assert answer.json()["title"] == "Insufficient Storage"
    with house.service.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(scans)).scalar_one() == 0
    assert send(machine, tiff("alarm")).status_code == 200


def test_a_full_database_keeps_no_decision_and_no_record_and_goes_on(house):
    """SQLite's own limit of pages stands in for a full disk: it fails with the same error."""
    send(house.machine(), tiff("alarm"))
    reader = house.person("operator")
    scan = reader.post("/v1/queue/claim", json={}).json()["scan_id"]
    service = house.service

    @event.listens_for(service.store.engine, "begin")
    def full(connection):
        connection.exec_driver_sql(
            f"PRAGMA max_page_count = {connection.exec_driver_sql('PRAGMA page_count').scalar()}"
        )

    note = "x" * 2000
    codes = []
    for _ in range(30):  # use up the rest of the last page
        answer = reader.post(
            f"/v1/scans/{scan}/decisions",
            json={"value": "suspect", "reason": "dense block", "note": note},
        )
        codes.append(answer.status_code)
        if answer.status_code != 201:
            break
        reader.delete(f"/v1/scans/{scan}/decisions/{answer.json()['decision']}")
    assert codes[-1] == 507
    event.remove(service.store.engine, "begin", full)
    service.store.engine.dispose()  # the limit belongs to the connection
    with service.store.read() as connection:
        records = audit.read_records(connection)
        kept = connection.execute(select(func.count()).select_from(decisions)).scalar_one()
        waits = connection.execute(select(reviews.c.state)).scalar_one()
    assert kept == sum(one["action"] == "decision" for one in records)
    assert waits == "first"
    assert audit.verify(records, audit.read_public_key(service.config.folder)) == []
    assert (
        reader.post(
            f"/v1/scans/{scan}/decisions",
            json={"value": "suspect", "reason": "dense block", "note": note},
        ).status_code
        == 201
    )


def test_exports_name_what_they_hold(make_house, tmp_path):
    from bagscan.service.review.export import export_decided

    house = make_house(second_reader="none", reviewed="all")
    machine, reader = house.machine(), house.person("operator")
    suspect = send(machine, tiff("alarm")).json()["id"]
    cleared = send(machine, tiff("clear")).json()["id"]
    missed = send(machine, tiff("clear", 2)).json()["id"]
    for scan, value, reason, parts in (
        (suspect, "suspect", "dense block", [0]),
        (cleared, "clear", "clutter", []),
        (missed, "suspect", "cannot tell", []),
    ):
        reader.post("/v1/queue/claim", json={"scan_id": scan})
        assert (
            reader.post(
                f"/v1/scans/{scan}/decisions",
                json={"value": value, "reason": reason, "parts": parts},
            ).status_code
            == 201
        )
    with house.service.store.read() as connection:
        outcome = export_decided(connection, house.service.files, tmp_path / "out")
    assert outcome == {"scans": 2, "images": 2, "annotations": 1, "out": str(tmp_path / "out")}
    found = json.loads((tmp_path / "out" / "annotations.json").read_text())
    marked = {a["image_id"] for a in found["annotations"]}
    assert {image["scan_id"] for image in found["images"] if image["id"] in marked} == {suspect}
    assert all(
        (tmp_path / "out" / "images" / image["file_name"]).is_file() for image in found["images"]
    )
    assert len(read_coco(tmp_path / "out" / "annotations.json")) == 2


def test_a_box_that_a_reader_drew_is_kept_signed_and_exported(make_house, tmp_path):
    from bagscan.service.review.export import export_decided

    house = make_house(second_reader="none", reviewed="all")
    reader, scan = house.person("operator"), send(house.machine(), tiff("clear")).json()["id"]
    reader.post("/v1/queue/claim", json={"scan_id": scan})
    view, outcome = next(iter(reader.get(f"/v1/scans/{scan}").json()["views"].items()))
    box = [2, 3, outcome["width"] - 1, 9]
    reading = {
        "value": "suspect",
        "reason": "cannot tell",
        "drawn": [{"view_id": view, "box_xyxy": box}],
    }
    wrong = [
        {"view_id": "top", "box_xyxy": box},
        {"view_id": view, "box_xyxy": [2, 3, outcome["width"] + 1, 9]},
        {"view_id": view, "box_xyxy": [5, 3, 5.5, 9]},
        {"view_id": view, "box_xyxy": [9, 3, 2, 9]},
    ]
    answers = [
        reader.post(f"/v1/scans/{scan}/decisions", json=reading | {"drawn": [one]}) for one in wrong
    ]
    assert [answer.status_code for answer in answers] == [422] * 4
    assert (
        reader.post(
            f"/v1/scans/{scan}/decisions", json=reading | {"value": "clear", "reason": "clutter"}
        ).status_code
        == 422
    )
    assert reader.post(f"/v1/scans/{scan}/decisions", json=reading).status_code == 201
    assert reader.get(f"/v1/scans/{scan}").json()["decisions"][0]["drawn"] == reading["drawn"]
    assert house.person("supervisor").get("/v1/audit/verify").json()["wrong"] == []
    with house.service.store.read() as connection:
        assert export_decided(connection, house.service.files, tmp_path / "out")["annotations"] == 1
    (image,) = read_coco(tmp_path / "out" / "annotations.json")
    assert image.annotations[0].box_xyxy == tuple(box)


def test_the_other_view_of_a_suspect_scan_is_no_negative(make_house, tmp_path):
    from bagscan.service.review.export import export_decided

    house = make_house(second_reader="none")
    files = [("files", (f"7_{view}.tif", tiff("alarm", view))) for view in ("below", "side")]
    scan = house.machine().post("/v1/screen", files=files).json()["id"]
    reader = house.person("operator")
    reader.post("/v1/queue/claim", json={})
    reader.post(
        f"/v1/scans/{scan}/decisions",
        json={"value": "suspect", "reason": "dense block", "parts": [0]},
    )
    with house.service.store.read() as connection:
        outcome = export_decided(connection, house.service.files, tmp_path / "out")
    assert (outcome["images"], outcome["annotations"]) == (1, 1)


def test_what_is_refused_leaves_no_files(make_house):
    house = make_house(max_waiting=1)
    machine = house.machine()
    codes = [send(machine, tiff("slow", n), path="/v1/jobs").status_code for n in range(8)]
    assert 429 in codes
    until(lambda: count(house, results) == codes.count(202))
    with house.service.store.read() as connection:
        needed = retention.find_referenced(connection)
    assert set(house.service.files.digests()) == needed


def test_a_restored_service_screens_with_the_model_that_was_added(make_house, tmp_path):
    import shutil

    from bagscan.model_folder import SHIPPED, write_files

    house = make_house()
    folder = tmp_path / "another"
    shutil.copytree(SHIPPED / "raw", folder)
    (folder / "MODEL_CARD.md").write_text("another")
    (folder / "model.json").write_text((folder / "model.json").read_text() + " ")
    identity = write_files(folder, {})
    admin = house.person("admin")
    files = [
        ("files", (name, (folder / name).read_bytes()))
        for name in sorted(path.name for path in folder.iterdir())
    ]
    assert admin.post("/v1/models", files=files).status_code == 201
    admin.post(f"/v1/models/{identity}/activate")
    backup.back_up(house.service.store, house.service.config.folder, tmp_path / "b.tar")
    house.service.stop()
    engine = connect(f"sqlite:///{tmp_path}/new/store.sqlite")
    (tmp_path / "new").mkdir()
    assert backup.restore(tmp_path / "b.tar", tmp_path / "new", engine)["lost"] == 0
    engine.dispose()
    again = make_house(folder=tmp_path / "new")
    active, _ = again.service.dispatcher.serving()
    tasks = {one.model_id: one.task(again.service.config.models_folder) for one in active}
    assert (tmp_path / "new" / "models" / identity).samefile(tasks[identity]["folder"])
    from bagscan.model_folder import verified_id

    assert all(verified_id(task["folder"]) == task["id"] for task in tasks.values())


@pytest.mark.parametrize("url", ["foo", "nosuch://a/b"])
def test_what_is_no_database_is_told(url):
    with pytest.raises(StoreError, match="cannot be used"):
        connect(url)


def test_a_file_that_is_no_database_is_told(make_house, tmp_path):
    (tmp_path / "store.sqlite").write_bytes(
        b"no database at all, despite its name, and long enough to be one " * 20
    )
    with pytest.raises(StoreError, match="not a database"):
        make_house(folder=tmp_path)
    outcome = CliRunner().invoke(
        app, ["store", "backup", str(tmp_path / "b.tar"), "--folder", str(tmp_path)]
    )
    assert isinstance(outcome.exception, StoreError)


@pytest.mark.parametrize("setting", ["folder=5", "watch=[5]"])
def test_settings_that_are_no_paths_are_told(setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        read_settings(None, [setting])


def test_a_store_that_lost_records_does_not_start_and_keeps_its_head(make_house, tmp_path):
    """For example a copy of the folder without SQLite's -wal file."""
    house = make_house(folder=tmp_path / "store")
    until(lambda: count(house, tables.audit) > 3, 10, "nothing was recorded")
    house.service.stop()
    head = (tmp_path / "store" / "audit.head").read_text()
    engine = create_engine(f"sqlite:///{tmp_path / 'store' / 'store.sqlite'}")
    with engine.begin() as connection:
        last = connection.execute(select(func.max(tables.audit.c.seq))).scalar_one()
        for trigger in (
            connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
            .scalars()
            .all()
        ):
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(delete(tables.audit).where(tables.audit.c.seq == last))
    engine.dispose()
    for _ in range(2):
        with pytest.raises(AuditError):
            make_house(folder=tmp_path / "store")
        assert (tmp_path / "store" / "audit.head").read_text() == head
    (tmp_path / "store" / "audit.head").unlink()
    make_house(folder=tmp_path / "store")


@pytest.mark.parametrize("jump_days", [400, -2])
def test_a_clock_that_jumped_removes_nothing_until_somebody_has_looked(
    tmp_path, monkeypatch, jump_days
):
    clock, now = Clock(tmp_path), time.time()
    assert clock.doubt() == ""
    monkeypatch.setattr(time, "time", lambda: now + 86_400 * jump_days)
    assert clock.doubt()
    assert clock.doubt(), "doubting does not make it right"
    assert CliRunner().invoke(app, ["store", "clock", "--folder", str(tmp_path)]).exit_code == 0
    assert clock.doubt() == ""
    monkeypatch.setattr(time, "time", lambda: now + 86_400 * (jump_days + 1))
    assert clock.doubt() == ""


def test_a_store_that_has_lost_scans_does_not_start(make_house, tmp_path):
    """A copy without the -wal file: scoring leaves no audit record, so the chain looks fine."""
    house = make_house(folder=tmp_path / "store")
    for number in range(2):
        send(house.machine(), tiff("clear", number))
    house.service.stop()
    assert (tmp_path / "store" / TALLY).read_text() == "2\n"
    engine = connect(house.service.config.database_url)
    with engine.begin() as connection:
        last = connection.execute(select(tables.scans.c.id)).scalars().first()
        for table, column in (
            (tables.reviews, "scan_id"),
            (tables.results, "scan_id"),
            (tables.jobs, "scan_id"),
            (tables.scans, "id"),
        ):
            connection.execute(table.delete().where(table.c[column] == last))
    with pytest.raises(StoreError, match="1 scans"):
        make_house(folder=tmp_path / "store")
    (tmp_path / "store" / TALLY).rename(tmp_path / "seen")
    again = make_house(folder=tmp_path / "store")
    again.service.stop()
    assert (tmp_path / "store" / TALLY).read_text() == "1\n"
