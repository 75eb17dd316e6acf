"""Database of the service: SQLite in the service's folder, or PostgreSQL, through SQLAlchemy.

One thread performs all writes and commits those that are waiting as one transaction. Under load one
sync to disk serves many requests, and SQLite's single writer lock is not contended. Each write is a
savepoint, so a failed write does not affect the others.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bagscan.core.errors import BagscanError

T = TypeVar("T")
Write = Callable[[Connection], T]
MAX_AT_ONCE = 64  # writes in a transaction
# SQLSTATEs, or their classes, of PostgreSQL errors that concern the database, not the statement.
REFUSES_WRITES = ("25006", "42501")  # read-only transaction; insufficient privilege
GONE = ("08", "28", "3D", "42P01", "53", "57", "58", "XX")
# Parts of messages that mean that no space is left.
FULL = ("is full", "no space left", "disk i/o error", "could not extend file", "diskfull")


class StoreError(BagscanError):
    """The store cannot be used: it is full, does not answer, or has another version."""


class StoreFull(StoreError):
    """No space is left; nothing of the request was stored."""


def connect(url: str) -> Engine:
    """Create the engine of a database.

    SQLite is set to a write-ahead log, full sync and foreign keys.

    Args:
        url: SQLAlchemy URL.

    Raises:
        StoreError: the URL is invalid or its driver is not installed.
    """
    try:
        if not url.startswith("sqlite"):
            return create_engine(
                url,
                pool_pre_ping=True,
                pool_size=8,
                max_overflow=24,
                connect_args={"connect_timeout": 10} if url.startswith("postgresql") else {},
            )
        engine = create_engine(
            url,
            connect_args={"timeout": 30, "check_same_thread": False},
            pool_size=8,
            max_overflow=24,
        )
    except (ImportError, ValueError, SQLAlchemyError) as error:
        raise StoreError(f"the database {url.split('@')[-1]} cannot be used: {error}") from error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver's own transactions break savepoints
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    )


class Store:
    """A database with reads on any thread and writes on a single one.

    Args:
        engine: from :func:`connect`, migrated.

    Attributes:
        engine: as passed.
        trouble: why the database accepts no writes, from the last attempt; empty if it does.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.trouble = ""
        self._waiting: queue.SimpleQueue[tuple[Write[Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._thread = threading.Thread(target=self._run_writes, name="store writer", daemon=True)
        self._thread.start()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading, which sees a snapshot of the database."""
        with convert_database_errors(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def submit(self, write: Write[T]) -> Future[T]:
        """Queue ``write(connection)`` for the writing thread.

        Returns:
            Future of the return value, available once the write is on disk.

        Raises:
            StoreError: the store is closed.
        """
        future: Future[T] = Future()
        if self._closed:
            raise StoreError("the store is closed")
        self._waiting.put((write, future))
        return future

    def write(self, write: Write[T]) -> T:
        """Run ``write(connection)`` on the writing thread and return its value once it is on disk.

        Raises:
            StoreError: nothing was stored; :class:`StoreFull` if no space is left.
            Exception: as raised by ``write``.
        """
        return self.submit(write).result()

    def check(self) -> None:
        """Check with a write without effect that the database accepts writes.

        Raises:
            StoreError: it does not; ``trouble`` holds the reason until a check succeeds.
        """
        self.write(
            lambda c: c.execute(text("UPDATE alembic_version SET version_num = version_num"))
        )
        self.trouble = ""

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Finish the waiting writes and close the connections."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            self._thread.join(30)
            self.engine.dispose()

    def _run_writes(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._commit(batch)

    def _next_batch(self) -> list[tuple[Write[Any], Future[Any]]] | None:
        first = self._waiting.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < MAX_AT_ONCE:
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._waiting.put(None)
                break
            batch.append(item)
        return batch

    def _commit(self, batch: list[tuple[Write[Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], BaseException]] = []
        try:
            with (
                convert_database_errors(),
                self.engine.connect().execution_options(writes=True) as connection,
                connection.begin(),
            ):
                for write, future in batch:
                    try:
                        with convert_value_errors(), connection.begin_nested():
                            done.append((future, write(connection)))
                    except Exception as error:
                        if _database_error(error) is not None:
                            raise
                        failed.append((future, error))
        except Exception as error:  # the transaction failed: nothing of the batch was stored
            if isinstance(error, StoreError):
                self.trouble = str(error)
            for future, _ in done:
                future.set_exception(error)
            settled = {id(future) for future, _ in done} | {id(future) for future, _ in failed}
            for _, future in batch:
                if id(future) not in settled:
                    future.set_exception(error)
        else:
            for future, answer in done:
                future.set_result(answer)
        for future, reason in failed:
            future.set_exception(reason)


def _database_error(error: BaseException) -> StoreError | None:
    """Return the StoreError for an error of the database; None for a wrong statement or value."""
    if isinstance(error, PoolTimeout):
        return StoreError("the store does not answer: all its connections are in use")
    if not isinstance(error, DBAPIError) or isinstance(error, DataError):
        return None
    reason = str(error.orig).strip().split("\n")[0]
    state = getattr(error.orig, "sqlstate", None) or ""
    # A plain DatabaseError means that the file is not a database.
    is_operational = type(error) in (OperationalError, InternalError, InterfaceError, DatabaseError)
    if is_operational and _is_full(error):
        return StoreFull(f"no space is left in the store: {reason}")
    if state in REFUSES_WRITES or (is_operational and "readonly" in reason):
        return StoreError(f"the store refuses writes ({reason}); nothing was stored")
    if is_operational or error.connection_invalidated or state.startswith(GONE):
        return StoreError(f"the store does not answer: {reason}")
    return None


def _is_full(error: BaseException | None) -> bool:
    """Return True if this error, or an error in its context, means that no space is left.

    A full SQLite drops its savepoints, and the driver then raises an error about these.
    """
    message = str(error).lower()
    if error is not None and error.__context__ is not None and _is_full(error.__context__):
        return True
    return any(phrase in message for phrase in FULL)


@contextmanager
def convert_value_errors() -> Iterator[None]:
    """Convert a driver's error about a value to :class:`ValueError`."""
    try:
        yield
    except (DataError, OverflowError) as error:
        raise ValueError("the store cannot hold a value of this size or type") from error


@contextmanager
def convert_database_errors() -> Iterator[None]:
    """Convert a driver's error about the database to :class:`StoreError`."""
    try:
        with convert_value_errors():
            yield
    except SQLAlchemyError as error:
        store_error = _database_error(error)
        if store_error is None:
            raise
        raise store_error from error
