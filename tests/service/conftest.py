import itertools
import os
import threading
import time

import pytest
import uvicorn
from argon2 import PasswordHasher
from sqlalchemy import create_engine, func, select, text
from starlette.testclient import TestClient

from bagscan.service import accounts
from bagscan.service.http.app import create_app
from bagscan.service.inference import dispatcher, models
from bagscan.service.service import Service
from bagscan.service.settings import ServiceConfig
from bagscan.workers.process import Worker
from tests.service import postgres
from tests.service.stubs import ThreadWorker, stub_worker

accounts._hasher = PasswordHasher(
    time_cost=1, memory_cost=8, parallelism=1
)  # as strong as tests need, and a hundred times as fast
accounts._nobody = accounts._hasher.hash("nobody")
PASSWORD = "correct horse"
PASSWORD_HASH = accounts.hash_password(PASSWORD)
ROLES = ("scanner", "operator", "supervisor", "admin")
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server():
    if postgres.programs() is None:
        if os.environ.get("BAGSCAN_CI"):
            pytest.fail(postgres.HINT)
        pytest.skip(postgres.HINT)
    with postgres.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return ""
    server = request.getfixturevalue("postgres_server")
    name = f"test{next(_numbers)}"
    admin = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return f"{server}/{name}"


class House:
    """A running service with an account of every role, and clients of them."""

    def __init__(self, service):
        self.service = service
        self.app = create_app(service)
        self.ids = {}

    def add(self, name, role):
        service = self.service
        self.ids[name] = service.store.write(
            lambda c: accounts.create_account(c, service.auditor, "test", name, role, PASSWORD_HASH)
        )

    def person(self, name):
        """A client logged in as a page is: cookie and token."""
        client = TestClient(self.app, raise_server_exceptions=False)
        answer = client.post("/v1/sessions", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        return client

    def machine(self, name="scanner"):
        """A client with an API key."""
        service = self.service
        _, key = service.store.write(
            lambda c: accounts.create_key(c, service.auditor, "test", self.ids[name], "test")
        )
        return TestClient(
            self.app, headers={"Authorization": f"Bearer {key}"}, raise_server_exceptions=False
        )

    def anyone(self):
        return TestClient(self.app, raise_server_exceptions=False)


@pytest.fixture
def make_house(tmp_path, request, monkeypatch):
    """Build services and stop all at the end; workers are threads unless REAL_PROCESSES is set."""
    built = []
    real = getattr(request.module, "REAL_PROCESSES", False)
    monkeypatch.setattr(
        dispatcher,
        "Worker",
        lambda target: (
            ThreadWorker(target) if target is stub_worker and not real else Worker(target)
        ),
    )

    def make(target=stub_worker, folder=None, start=True, **settings):
        config = ServiceConfig(
            **{
                "folder": folder or tmp_path / "service",
                "screen_timeout_s": 5.0,
                "drift_window": 0,
                **settings,
            }
        )
        service = Service(config, target)
        built.append(service)
        house = House(service)
        with service.store.read() as connection:
            fresh = not connection.execute(text("SELECT 1 FROM accounts")).first()
        if fresh:
            for role in ROLES:
                house.add(role, role)
            house.add("second", "operator")
        if start:
            service.start()
        return house

    yield make
    for service in built:
        service.stop()


@pytest.fixture
def house(make_house):
    return make_house()


@pytest.fixture
def listening():
    """Serve on a real port; return the address of each."""
    running = []

    def listen(house):
        server = uvicorn.Server(uvicorn.Config(house.app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        running.append((server, thread))
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield listen
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


def send(client, content, name="bag.tif", path="/v1/screen", **headers):
    return client.post(path, files=[("files", (name, content))], headers=headers)


def count(house, table, *where):
    """Rows of a table."""
    with house.service.store.read() as connection:
        return connection.execute(
            select(func.count()).select_from(table).where(*where)
        ).scalar_one()


def until(true, seconds=20, message="it did not happen in time"):
    """Wait for an effect that follows an answer."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, message
        time.sleep(0.02)


def a_model(service):
    """Id of a model that serves."""
    with service.store.read() as connection:
        return models.serving(connection)[0].model_id
