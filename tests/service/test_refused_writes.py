"""A database that refuses writes: nothing is lost, all clients get an error, it recovers."""

import contextlib
import logging

import pytest
from sqlalchemy import create_engine, event, text
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.service import service as service_module
from bagscan.service.store import tables
from bagscan.service.store.database import Store, StoreError, connect
from bagscan.service.store.migrate import migrate
from tests.service.conftest import PASSWORD, count, send, until
from tests.service.stubs import tiff


@pytest.fixture
def refuse(monkeypatch):
    """Make an engine's database refuse writes within a ``with``, as a server or a disk does."""
    monkeypatch.setattr(service_module, "CHECK_S", 0.1)
    monkeypatch.setattr(service_module, "MAINTENANCE_S", 0.1)

    @contextlib.contextmanager
    def refusing(engine):
        if engine.dialect.name == "sqlite":

            def query_only(connection, _):
                connection.execute("PRAGMA query_only = ON")

            event.listen(engine, "connect", query_only)
            engine.dispose()
            yield
            event.remove(engine, "connect", query_only)
        else:
            set_read_only(engine, "on")
            yield
            set_read_only(engine, "off")
        engine.dispose()

    return refusing


def set_read_only(engine, how):
    admin = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        name = engine.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = {how}"))
    admin.dispose()
    engine.dispose()  # a server that fails over drops its connections


def ready(house):
    return house.anyone().get("/v1/health/ready")


def test_uploads_get_503_and_the_service_is_not_ready_until_it_takes_writes_again(
    make_house, database_url, refuse, caplog
):
    house = make_house(database=database_url)
    machine, reader = house.machine(), house.person("operator")
    scan = send(machine, tiff("alarm")).json()["id"]
    until(lambda: ready(house).status_code == 200)
    reader.post("/v1/queue/claim", json={"scan_id": scan})
    with refuse(house.service.store.engine), caplog.at_level(logging.ERROR):
        for path in ("/v1/screen", "/v1/jobs"):
            answer = send(machine, tiff("alarm", 1), path=path)
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["Retry-After"]) <= 4
            assert "refuses writes" in answer.json()["detail"]
        decision = {"value": "clear", "reason": "clutter"}
        assert reader.post(f"/v1/scans/{scan}/decisions", json=decision).status_code == 503
        person = {"name": "second", "password": PASSWORD}
        assert house.anyone().post("/v1/sessions", json=person).status_code == 503
        until(lambda: ready(house).status_code == 503)
        assert "refuses writes" in ready(house).json()["detail"]
        assert ready(house).headers["Retry-After"]
        assert "bagscan_ready 0.0" in machine.get("/metrics").text
        assert reader.get("/v1/queue").status_code == 200, "reading still works"
        assert house.anyone().get("/v1/health/live").status_code == 200
    assert not [record for record in caplog.records if record.exc_info], "no traceback"
    until(lambda: ready(house).status_code == 200)
    assert count(house, tables.scans) == 1
    assert send(machine, tiff("alarm", 1)).status_code == 200
    assert reader.post(f"/v1/scans/{scan}/decisions", json=decision).status_code == 201


def test_a_store_that_refuses_writes_without_an_upload_is_noticed(make_house, database_url, refuse):
    house = make_house(database=database_url)
    until(lambda: ready(house).status_code == 200)
    with refuse(house.service.store.engine):
        until(lambda: ready(house).status_code == 503)
    until(lambda: ready(house).status_code == 200)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_start_on_a_postgresql_that_refuses_writes_says_so(
    make_house, postgres_server, refuse, tmp_path, fresh
):
    name = f"refusing_{fresh}".lower()
    admin = create_engine(f"{postgres_server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = f"{postgres_server}/{name}"
    if not fresh:
        make_house(database=url).service.stop()
    engine = connect(url)
    line = ["serve", "--folder", str(tmp_path / "service"), "--database", url, "--port", "18799"]
    with refuse(engine):
        result = CliRunner().invoke(app, line)
    assert isinstance(result.exception, StoreError)
    assert "refuses writes (cannot execute" in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_start_on_a_read_only_sqlite_says_so(make_house, tmp_path):
    make_house(folder=tmp_path / "service").service.stop()
    url = f"sqlite:///file:{tmp_path}/service/store.sqlite?mode=ro&immutable=1&uri=true"
    with pytest.raises(StoreError, match="refuses writes"):
        make_house(folder=tmp_path / "service", database=url)


def test_a_folder_that_cannot_be_written_is_named(make_house, tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", read_only)
    with pytest.raises(StoreError, match="Read-only file system"):
        make_house(folder=tmp_path / "there")


@pytest.mark.parametrize(
    "statement",
    ["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT * FROM no_such_table"],
)
def test_other_faults_of_the_database_are_no_unforeseen_errors(postgres_server, statement):
    engine = connect(f"{postgres_server}/postgres")
    store = Store(engine)
    with pytest.raises(StoreError, match="does not answer"):
        store.write(lambda connection: connection.execute(text(statement)) and None)
    with pytest.raises(StoreError, match="does not answer"), store.read() as connection:
        connection.execute(text(statement))
    assert store.write(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1
    store.close()


def test_a_database_that_is_not_there_is_a_fault_of_reads_too():
    store = Store(connect("postgresql+psycopg://bagscan@127.0.0.1:1/none"))
    with pytest.raises(StoreError, match="does not answer"), store.read():
        pass
    store.close()


def test_a_mistake_in_a_value_is_none_of_the_database(tmp_path):
    engine = connect(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(engine)
    store = Store(engine)
    row = {"name": "a", "role": "admin", "failed": 0, "disabled": False, "created_at": 0.0}
    store.write(lambda c: c.execute(tables.accounts.insert().values(**row)) and None)
    with pytest.raises(Exception, match="UNIQUE") as result:
        store.write(lambda c: c.execute(tables.accounts.insert().values(**row)) and None)
    assert not isinstance(result.value, StoreError)
    assert store.trouble == ""
    store.close()
