"""The database: SQLite within the service's folder, or PostgreSQL, through SQLAlchemy.

Writes go through one thread, which commits whatever waits as one transaction: under load one sync to disk serves many
requests, and SQLite's single writer is never fought over. Each write is a savepoint of its own, so that one that fails takes no
other with it.
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
MAX_AT_ONCE = 64
# SQLSTATEs, or their classes, by which PostgreSQL says that it is the database and no statement of ours.
REFUSES_WRITES = ("25006", "42501")  # a read-only transaction; no permission
GONE = ("08", "28", "3D", "42P01", "53", "57", "58", "XX")


class StoreError(BagscanError):
    """The store cannot be used: it is full, gone, or of another version."""


class StoreFull(StoreError):
    """No space is left: nothing of what was asked for was kept."""


def connect(url: str) -> Engine:
    """An engine with SQLite brought to what a service needs: write-ahead log, full sync, foreign keys.

    Raises:
        StoreError: no such database, or no driver for it.
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
    connection.isolation_level = None  # the driver's own transactions know no savepoints
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    )


class Store:
    """Reads on any thread, writes on one.

    Args:
        engine: of :func:`connect`, migrated.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.trouble = ""  # why the database takes no writes, as of the last try
        self._waiting: queue.SimpleQueue[tuple[Write[Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._thread = threading.Thread(
            target=self._write_for_ever, name="store writer", daemon=True
        )
        self._thread.start()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; what it sees does not change."""
        with naming_faults(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def submit(self, write: Write[T]) -> Future[T]:
        """Have ``write(connection)`` done and committed; the future holds its answer once it is on disk."""
        future: Future[T] = Future()
        if self._closed:
            raise StoreError("the store is closed")
        self._waiting.put((write, future))
        return future

    def write(self, write: Write[T]) -> T:
        """As :meth:`submit`, waiting for it.

        Raises:
            StoreFull, StoreError: nothing was kept. And whatever ``write`` raises.
        """
        return self.submit(write).result()

    def check(self) -> None:
        """Write something that changes nothing, to find out whether the database takes writes.

        Raises:
            StoreFull, StoreError: it does not; ``trouble`` says why until a check succeeds.
        """
        self.write(
            lambda c: c.execute(text("UPDATE alembic_version SET version_num = version_num"))
        )
        self.trouble = ""

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is embedded."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Finish what waits, then let go of the database."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            self._thread.join(30)
            self.engine.dispose()

    def _write_for_ever(self) -> None:
        while (batch := self._batch()) is not None:
            self._commit(batch)

    def _batch(self) -> list[tuple[Write[Any], Future[Any]]] | None:
        first = self._waiting.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < MAX_AT_ONCE:
            try:
                one = self._waiting.get_nowait()
            except queue.Empty:
                break
            if one is None:
                self._waiting.put(None)
                break
            batch.append(one)
        return batch

    def _commit(self, batch: list[tuple[Write[Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], BaseException]] = []
        try:
            with (
                naming_faults(),
                self.engine.connect().execution_options(writes=True) as connection,
                connection.begin(),
            ):
                for write, future in batch:
                    try:
                        with naming_values(), connection.begin_nested():
                            done.append((future, write(connection)))
                    except Exception as error:
                        if _fault_of(error) is not None:
                            raise
                        failed.append((future, error))
        except Exception as error:  # the transaction as a whole: nothing of the batch was kept
            if isinstance(error, StoreError):
                self.trouble = str(error)
            for future, _ in done:
                future.set_exception(error)
            answered = {id(future) for future, _ in done} | {id(future) for future, _ in failed}
            for _, future in batch:
                if id(future) not in answered:
                    future.set_exception(error)
        else:
            for future, answer in done:
                future.set_result(answer)
        for future, reason in failed:
            future.set_exception(reason)


def _fault_of(error: BaseException) -> StoreError | None:
    """What an error says of the database itself; None for a mistake in a statement or a value."""
    if isinstance(error, PoolTimeout):
        return StoreError("the store does not answer: all its connections are in use")
    if not isinstance(error, DBAPIError) or isinstance(error, DataError):
        return None
    reason = str(error.orig).strip().split("\n")[0]
    state = getattr(error.orig, "sqlstate", None) or ""
    ours = type(error) in (
        OperationalError,
        InternalError,
        InterfaceError,
        DatabaseError,
    )  # the last: no database at all
    if ours and _is_full(error):
        return StoreFull(f"no space is left in the store: {reason}")
    if state in REFUSES_WRITES or (ours and "readonly" in reason):
        return StoreError(f"the store refuses writes ({reason}): nothing was kept")
    if ours or error.connection_invalidated or state.startswith(GONE):
        return StoreError(f"the store does not answer: {reason}")
    return None


def _is_full(error: BaseException | None) -> bool:
    """Whether this error, or one that it came of, says so: a full SQLite drops its savepoints, and the driver then complains of these."""
    message = str(error).lower()
    if error is not None and error.__context__ is not None and _is_full(error.__context__):
        return True
    return any(
        sign in message
        for sign in (
            "is full",
            "no space left",
            "disk i/o error",
            "could not extend file",
            "diskfull",
        )
    )


@contextmanager
def naming_values() -> Iterator[None]:
    """Turn a driver's complaint about a value into a :class:`ValueError`."""
    try:
        yield
    except (DataError, OverflowError) as error:
        raise ValueError("a value that the store cannot hold") from error


@contextmanager
def naming_faults() -> Iterator[None]:
    """Turn a driver's complaint about the database itself into one of ours."""
    try:
        with naming_values():
            yield
    except SQLAlchemyError as error:
        fault = _fault_of(error)
        if fault is None:
            raise
        raise fault from error
