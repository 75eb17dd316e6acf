"""One service: store, files, audit, workers and background maintenance threads, started and stopped together."""

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
from bagscan.service.store.database import Store, StoreError, connect, naming_faults
from bagscan.service.store.files import OLD_S, Files
from bagscan.service.store.migrate import migrate
from bagscan.service.store.tally import check_tally, keep_tally
from bagscan.service.watch import Watcher
from bagscan.workers.process import Target

log = logging.getLogger("bagscan.service")
HOUSE_S = 2.0
CHECK_S = 10.0  # between two checks that the store takes writes
PURGE_S = 3600.0


class Service:
    """Everything behind the HTTP API.

    Args:
        target: what a worker process runs; tests give stand-ins.

    Raises:
        StoreError: the folder is in use by another service, or the store cannot be used. ConfigError: no profile of ``tip_profile``'s name.
    """

    def __init__(self, config: ServiceConfig, target: Target = serve_tasks) -> None:
        self.config = config
        if config.tip_rate:
            load_profile(
                config.tip_profile
            )  # a wrong one is told now, not when the first test image is due
        self._lock = _locked(config.folder)
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
            _instance(config.folder),
            target,
        )
        self.intake = Intake(self.store, self.files, config, self.metrics, self.dispatcher.wake)
        self.passwords = CapacityLimiter(2)  # argon2 takes 64 MB and a tenth of a second each
        self.requests_on_their_way = 0  # of scanners; counted on the event loop alone
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.watchers: list[Watcher] = []
        self.truths: dict[
            str, str
        ] = {}  # what is hidden in scans of the demonstration, in words, by their own id; empty for real ones

    def _open(self, config: ServiceConfig) -> None:
        """Store, files and audit chain, checked before anything is written."""
        engine = connect(config.database_url)
        with naming_faults():
            migrate(engine)
        self.store = Store(engine)
        self.files = Files(config.folder / "objects")
        self.auditor = Auditor(config.folder, self.store)
        with self.store.read() as connection:
            check_tally(config.folder, connection)
        self.clock = Clock(config.folder)

    def start(self) -> str | None:
        """Bring everything up; returns the one-time token for the first admin, where there is none yet."""
        self.store.write(lambda connection: models.add_shipped(connection, self.auditor))
        token = self.store.write(
            lambda connection: accounts.offer_setup(connection, self.clock.now())
        )
        self.dispatcher.start()
        self.watchers = [Watcher(self.intake, folder) for folder in self.config.watch]
        for work in [self._run_maintenance, *(watcher.run for watcher in self.watchers)]:
            thread = threading.Thread(target=work, args=(self._stopping,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return token

    def stop(self) -> None:
        """Stop taking work, end the workers, write the audit head, let go of the store."""
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
        """Why it cannot take and judge scans now: store, workers, watched folders; empty where it can."""
        result = [self.store.trouble, *(watcher.trouble for watcher in self.watchers)]
        if not self.dispatcher.ready:
            result.insert(0, f"no worker is ready: {self.dispatcher.trouble}")
        return "; ".join(one for one in result if one)

    def serving_told(self) -> tuple[str, str]:
        """Ids and thresholds of what serves now, for the headers of answers that are about no scan."""
        try:
            serving, _ = self.dispatcher.serving()
        except StoreError:  # an answer that says so must not fail for want of a header
            serving, _ = self.dispatcher.last_serving
        return ",".join(one.model_id for one in serving) or "none", ",".join(
            f"{one.threshold:.6g}" for one in serving
        ) or "none"

    def keep_head(self) -> None:
        """Write the audit chain's head beside the store."""
        self._keep("audit head", self.auditor.keep_head)

    def keep_tally(self) -> None:
        """Write the number of scans beside the store: less often than the head, since counting goes through all of them."""
        self._keep("number of scans", partial(keep_tally, self.config.folder))

    def _keep(self, what: str, keep: Callable[[Connection], object]) -> None:
        """Write something down beside the store; what cannot be written now is written later."""
        try:
            with self.store.read() as connection:
                keep(connection)
        except (StoreError, AuditError, OSError) as error:
            log.error("the %s is not kept: %s", what, error)

    def _run_maintenance(self, stopping: threading.Event) -> None:
        rng, purged = (
            random.Random(secrets.randbits(64)),
            0.0,
        )  # what a reader could foresee would be no test
        checked = time.monotonic()
        while not stopping.wait(HOUSE_S):
            if jumped := self.clock.tick():
                log.warning("%s", jumped)
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
                log.error("housekeeping: %s", error)
            except Exception:
                log.exception("housekeeping")

    def clean_up(self, older_than_s: float = OLD_S) -> None:
        """Mark what is kept long enough, and remove files that nothing needs."""
        now = self.clock.earliest()
        while self.store.write(lambda c: retention.purge(c, self.config, self.auditor, now)):
            pass
        with self.store.read() as connection:
            needed = retention.referenced(connection)
        self.files.sweep(needed, older_than_s, now)


def _locked(folder: Path) -> IO[str]:
    """Make and hold the folder: two services in one would take each other's scans for left-overs of a kill.

    Raises:
        StoreError: it cannot be written, or another service holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # scans, notes, keys: nobody else's
        lock = (folder / "service.lock").open("w")
    except OSError as error:
        message = f"the service keeps its store in {folder}, which cannot be written"
        raise StoreError(f"{message}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(f"{folder}: another bagscan serve uses this folder") from error
    return lock


def _instance(folder: Path) -> str:
    """A name that stays with the folder."""
    path = folder / "instance"
    if not path.is_file():
        path.write_text(uuid.uuid4().hex)
    return path.read_text().strip()
