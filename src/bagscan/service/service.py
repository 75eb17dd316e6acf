"""Service object: store, files, audit chain, workers and background maintenance threads."""

from __future__ import annotations

import fcntl
import logging
import random
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from anyio import CapacityLimiter
from sqlalchemy import Connection

from bagscan.core.errors import BagscanError
from bagscan.imaging.scanner import load_profile
from bagscan.service import accounts, retention
from bagscan.service.audit import AuditError, Auditor
from bagscan.service.clock import Clock
from bagscan.service.inference import models
from bagscan.service.inference.dispatcher import Dispatcher
from bagscan.service.inference.intake import Intake
from bagscan.service.inference.worker import serve_tasks
from bagscan.service.metrics import Metrics
from bagscan.service.review.tip import make_test_image
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store, StoreError, connect, convert_database_errors
from bagscan.service.store.files import OLD_S, Files
from bagscan.service.store.migrate import migrate
from bagscan.service.store.tally import check_tally, keep_tally
from bagscan.service.watch import Watcher
from bagscan.workers.process import Target

log = logging.getLogger("bagscan.service")
MAINTENANCE_S = 2.0
CHECK_S = 10.0  # between two checks that the store accepts writes
PURGE_S = 3600.0


class Service:
    """Screening service behind the HTTP API. :meth:`start` and :meth:`stop` run its threads.

    Args:
        target: function that a worker process runs; tests pass stubs.

    Raises:
        StoreError: another service uses the folder, or the store cannot be used.
        AuditError: the audit chain is incomplete, or its key is missing.
        ConfigError: the scanner profile ``tip_profile`` does not exist.
    """

    def __init__(self, config: ServiceConfig, target: Target = serve_tasks) -> None:
        self.config = config
        if config.tip_rate:
            load_profile(config.tip_profile)  # fail now, not at the first test image
        self._lock = _lock_folder(config.folder)
        try:
            self._open(config)
        except BaseException:
            self._lock.close()
            raise
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(
            self.store,
            self.files,
            config,
            self.metrics,
            self.clock,
            _instance_id(config.folder),
            target,
        )
        self.intake = Intake(self.store, self.files, config, self.metrics, self.dispatcher.wake)
        self.passwords = CapacityLimiter(2)  # each argon2 hash takes 64 MB and 0.1 s
        self.requests_in_progress = 0  # of scanners; counted on the event loop only
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.watchers: list[Watcher] = []
        # Truth sentences of the demo's simulated scans, by source id; empty for a real service.
        self.truths: dict[str, str] = {}

    def _open(self, config: ServiceConfig) -> None:
        """Open store, files, audit chain and clock; check that no records or scans are lost."""
        engine = connect(config.database_url)
        with convert_database_errors():
            migrate(engine)
        self.store = Store(engine)
        self.files = Files(config.folder / "objects")
        self.auditor = Auditor(config.folder, self.store)
        with self.store.read() as connection:
            check_tally(config.folder, connection)
        self.clock = Clock(config.folder)

    def start(self) -> str | None:
        """Start workers, watchers and maintenance.

        Returns:
            One-time token to create the first admin; None if an admin exists.
        """
        self.store.write(lambda connection: models.add_shipped(connection, self.auditor))
        token = self.store.write(
            lambda connection: accounts.offer_setup(connection, self.clock.now())
        )
        self.dispatcher.start()
        self.watchers = [Watcher(self.intake, folder) for folder in self.config.watch]
        for run in [self._run_maintenance, *(watcher.run for watcher in self.watchers)]:
            thread = threading.Thread(target=run, args=(self._stopping,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return token

    def stop(self) -> None:
        """Stop the threads and workers, write the audit head and the tally, close the store."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(10)
        self.dispatcher.stop()
        self.keep_head()
        self.keep_tally()
        self.clock.keep()
        self.store.close()
        self._lock.close()

    def trouble(self) -> str:
        """Return why scans cannot be accepted or screened now; empty if they can."""
        problems = [self.store.trouble, *(watcher.trouble for watcher in self.watchers)]
        if not self.dispatcher.ready:
            problems.insert(0, f"no worker is ready: {self.dispatcher.trouble}")
        return "; ".join(problem for problem in problems if problem)

    def active_models_header(self) -> tuple[str, str]:
        """Return comma-separated ids and thresholds of the active models, for response headers."""
        try:
            serving, _ = self.dispatcher.serving()
        except StoreError:  # the error response needs these headers too
            serving, _ = self.dispatcher.last_serving
        ids = ",".join(model.model_id for model in serving)
        thresholds = ",".join(f"{model.threshold:.6g}" for model in serving)
        return ids or "none", thresholds or "none"

    def keep_head(self) -> None:
        """Write the head of the audit chain beside the store."""
        self._write_down("audit head", self.auditor.keep_head)

    def keep_tally(self) -> None:
        """Write the number of scans beside the store. This counts all rows: do it rarely."""
        self._write_down("number of scans", partial(keep_tally, self.config.folder))

    def _write_down(self, what: str, write: Callable[[Connection], object]) -> None:
        """Write a value beside the store. A failure is logged, and the next call tries again."""
        try:
            with self.store.read() as connection:
                write(connection)
        except (StoreError, AuditError, OSError) as error:
            log.error("cannot write the %s: %s", what, error)

    def _run_maintenance(self, stopping: threading.Event) -> None:
        rng = random.Random(secrets.randbits(64))  # readers must not be able to predict test images
        purged, checked = 0.0, time.monotonic()
        while not stopping.wait(MAINTENANCE_S):
            if message := self.clock.tick():
                log.warning("%s", message)
            try:
                if self.store.trouble or time.monotonic() - checked > CHECK_S:
                    checked = time.monotonic()
                    self.store.check()
                    self.keep_tally()
                self.keep_head()
                make_test_image(
                    self.store, self.files, self.auditor, self.config, self.dispatcher, rng
                )
                if time.monotonic() - purged > PURGE_S or not purged:
                    purged = time.monotonic()
                    if doubt := self.clock.doubt():
                        log.error("%s", doubt)
                    else:
                        self.clean_up()
            except (BagscanError, OSError, TimeoutError) as error:
                log.error("maintenance: %s", error)
            except Exception:
                log.exception("maintenance")

    def clean_up(self, older_than_s: float = OLD_S) -> None:
        """Purge expired scans, and remove files that no scan needs.

        Args:
            older_than_s: minimum age of the files to remove, in seconds.
        """
        now = self.clock.earliest()
        while self.store.write(lambda c: retention.purge(c, self.config, self.auditor, now)):
            pass
        with self.store.read() as connection:
            needed = retention.find_referenced(connection)
        self.files.sweep(needed, older_than_s, now)


def _lock_folder(folder: Path) -> IO[str]:
    """Create and lock the folder.

    Two services in one folder would take each other's scans for leftovers of a killed process.

    Raises:
        StoreError: the folder cannot be written, or another service has locked it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # scans, notes and keys are private
        lock = (folder / "service.lock").open("w")
    except OSError as error:
        message = f"the folder of the service, {folder}, cannot be written: {error.strerror}"
        raise StoreError(message) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(
            f"{folder}: another bagscan serve uses this folder; stop it, or choose another --folder"
        ) from error
    return lock


def _instance_id(folder: Path) -> str:
    """Return the id of the service in this folder, created at the first start."""
    path = folder / "instance"
    if not path.is_file():
        path.write_text(uuid.uuid4().hex)
    return path.read_text().strip()
