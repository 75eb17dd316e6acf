"""Watched folders, for scanners that only write files.

A file that has stopped changing becomes a job, and its verdict is written to ``results/``.

::

    watched/7_below.tif, 7_side.tif     as the scanner writes them
    watched/accepted/                   scans that are stored as jobs
    watched/refused/                    scans that cannot be stored, each with the reason in a .txt
    watched/results/7.json              the row, as in findings.json; written atomically
    watched/8.raw, 8.yaml               a headerless scan, and its sidecar with the format
    watched/7.tif.part, 7.xml           other extensions: never moved

The idempotency key of a job is the hash of its content. After a crash the next start moves the
files of known jobs, so neither a bag nor a part of it becomes a second job. A file that is written
again while its bag is accepted stays, and becomes the next bag. Subdirectories are ignored. A
damaged file of a known type is accepted; its verdict is REVIEW, as for refused files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select, update

from bagscan.core.errors import BagscanError, ReadError
from bagscan.core.files import atomic_write
from bagscan.formats.known import companion_endings
from bagscan.formats.limits import check_size
from bagscan.formats.scans import (
    READERS,
    VIEWS,
    as_text,
    files_of,
    find_scans,
    group_views,
    scan_id_of,
    view_named_by,
)
from bagscan.reporting.findings import error_row
from bagscan.service.inference.intake import Busy, Intake, bag_name, checked_upload
from bagscan.service.store.database import StoreError
from bagscan.service.store.tables import jobs, results, scans

log = logging.getLogger("bagscan.service")
EVERY_S = 0.5  # between two looks at the folder
REPORT_AFTER_S = 600.0  # until an ignored file is reported, or an error again
BUSY = object()


class Watcher:
    """Watcher of one folder.

    Args:
        intake: accepts the scans.
        folder: created with its three subdirectories if it does not exist.
    """

    def __init__(self, intake: Intake, folder: Path) -> None:
        self.intake, self.folder, self.trouble = intake, folder, ""
        # The hash of the path distinguishes folders of the same name.
        path_hash = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        self.source = f"watch:{path_hash}:{folder.name}"[:160]
        if not folder.is_dir():
            log.warning(
                "the watched folder %s did not exist and was created; "
                "check that the scanner writes into it",
                folder,
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._make_folders()
        self._stamps: dict[Path, tuple[tuple[int, int], float]] = {}  # stamp, time of last change
        self._pending: dict[str, str] = {}  # bag names of jobs without a written result, by job id
        self._reported: set[str] = set()  # names of ignored files that were reported
        self._ignored: dict[str, float] = {}  # time when an ignored file was first seen, by name
        self._errors: dict[str, float] = {}  # time when an error was last logged

    def run(self, stopping: threading.Event) -> None:
        """Watch the folder until ``stopping`` is set."""
        self._attempt(self._resume)
        while not stopping.wait(EVERY_S):
            if not self._is_usable():
                continue
            self._attempt(self._write_results)
            for bag in self._attempt(self._settled_bags) or []:
                if self._attempt(self._accept, bag) is BUSY:
                    break  # the files wait in the folder until the queue has space

    def _make_folders(self) -> None:
        for name in ("accepted", "refused", "results"):
            (self.folder / name).mkdir(exist_ok=True)

    def _is_usable(self) -> bool:
        """Return True if the folder is writable; log a change. A removed folder may come back."""
        try:
            self._make_folders()
            trouble = ""
        except OSError as error:
            trouble = f"the watched folder {self.folder} cannot be used: {error.strerror}"
        if trouble and trouble != self.trouble:
            log.error("%s", trouble)
        elif self.trouble and not trouble:
            log.info("the watched folder %s can be used again", self.folder)
        self.trouble = trouble
        return not trouble

    def _attempt(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function and log its errors, so that a bad file does not block the others."""
        try:
            return work(*arguments)
        except Busy:
            return BUSY
        except (BagscanError, OSError) as error:
            self._log_error(str(error))
        except Exception:
            log.exception("watch %s", self.folder)
        return None

    def _log_error(self, error: str) -> None:
        """Log an error once, and every ten minutes while it persists."""
        now = time.monotonic()
        if now - self._errors.get(error, -REPORT_AFTER_S) >= REPORT_AFTER_S:
            recent = {text: at for text, at in self._errors.items() if now - at < REPORT_AFTER_S}
            self._errors = recent | {error: now}
            log.error("watch %s: %s", self.folder, error)

    def _settled_bags(self) -> list[list[Path]]:
        """Return the files of each bag that is complete and has stopped changing."""
        now = time.monotonic()
        files = [
            path
            for path in sorted(self.folder.iterdir())
            if not path.name.startswith(".") and not path.is_dir()
        ]
        scan_files = [path for path in files if path.suffix.lower() in READERS]
        watched = {*scan_files, *(file for path in scan_files for file in files_of(path))}
        self._report_ignored([path.name for path in files if path not in watched], now)
        for path in watched:
            stamp = _stamp(path)
            if self._stamps.get(path, (None, 0))[0] != stamp:
                self._stamps[path] = (stamp, now)
        self._stamps = {path: entry for path, entry in self._stamps.items() if path in watched}
        bags: dict[tuple[str, ...], list[Path]] = {}
        for group in group_views(find_scans(scan_files), VIEWS):
            bag = sorted({file for path in group.values() for file in files_of(path)})
            bags.setdefault(tuple(map(str, bag)), bag)
        return [bag for bag in bags.values() if self._is_settled(bag, now)]

    def _report_ignored(self, names: Sequence[str], now: float) -> None:
        """Log each file with an unknown extension once, after it has been here for a while.

        A scanner may still be writing a new file under such a name.
        """
        self._ignored = {name: self._ignored.get(name, now) for name in names}
        for name, since in sorted(self._ignored.items()):
            if now - since <= REPORT_AFTER_S or name in self._reported:
                continue
            self._reported.add(name)
            log.warning(
                "watch %s: %r has none of the extensions %s and is left where it is",
                self.folder,
                name,
                ", ".join(sorted(READERS)),
            )

    def _is_settled(self, files: list[Path], now: float) -> bool:
        """Return True if the files have not changed for ``settle_s``.

        A single view, or a file without its sidecar, also waits ``pair_s`` for the other file.
        """
        config = self.intake.config
        age = min(now - self._stamps[file][1] for file in files if file in self._stamps)
        views = {view for file in files if (view := view_named_by(scan_id_of(file), VIEWS))}
        lacks_sidecar = any(
            companion_endings(file.suffix) and files_of(file) == [file] for file in files
        )
        if len(views) == 1 or lacks_sidecar:
            return age >= max(config.settle_s, config.pair_s)
        return age >= config.settle_s

    def _accept(self, bag: list[Path]) -> None:
        max_bytes = self.intake.config.max_upload_mb << 20
        stamps = {path: _stamp(path) for path in bag}
        try:
            for path in bag:
                check_size(path)  # reading a pipe would never end
            if sum(path.stat().st_size for path in bag) > max_bytes:
                raise ReadError(f"the files exceed the limit of {max_bytes >> 20} MB")
            upload = checked_upload(
                [(path.name, path.read_bytes()) for path in bag], self.folder.name, self.source
            )
        except (ReadError, OSError) as error:  # for example a broken link
            self._refuse(bag, str(error))
            return
        job_id, _, _ = self.intake.take_in(upload, None, f"{self.source[:60]}:{upload.digest[:60]}")
        self._pending[job_id] = bag_name([path.name for path in bag])
        for path in bag:
            if _stamp(path) == stamps[path]:
                os.replace(path, self.folder / "accepted" / path.name)

    def _refuse(self, bag: list[Path], reason: str) -> None:
        # Report before moving the files, so that the bag is tried again if reporting fails.
        name, reason = as_text(bag_name([path.name for path in bag])), as_text(reason)
        refused = self.folder / "refused"
        _write(
            self._result_path(name, hashlib.sha256(reason.encode()).hexdigest()),
            error_row(refused / bag[0].name, reason) | {"scan_id": name},
        )
        (refused / f"{as_text(bag[0].name)}.txt").write_text(
            f"{reason}\nThis bag was not screened: treat it as REVIEW.\n"
        )
        for path in bag:
            os.replace(path, refused / path.name)
        self.intake.metrics.refused.labels("watch").inc()

    def _write_results(self) -> None:
        """Write the results of finished jobs."""
        if not self._pending:
            return
        with self.intake.store.read() as connection:
            query = select(jobs.c.id, results.c.row, results.c.scan_id).join(
                results, results.c.scan_id == jobs.c.scan_id
            )
            rows = connection.execute(query.where(jobs.c.id.in_(list(self._pending)))).all()
        for row in rows:
            self._attempt(self._write_result, row)

    def _write_result(self, row: Row[Any]) -> None:
        """Write a result, then mark its job as answered."""
        path = self._result_path(self._pending[row.id], row.scan_id)
        _write(path, row.row | {"id": row.scan_id})
        self.intake.store.write(
            lambda connection: connection.execute(
                update(jobs).where(jobs.c.id == row.id).values(answered_at=time.time())
            )
        )
        del self._pending[row.id]

    def _result_path(self, name: str, suffix: str) -> Path:
        """Return the path of a result; a suffix keeps it apart from an earlier one of its name."""
        path = self.folder / "results" / f"{name}.json"
        return path.with_name(f"{name}_{suffix[:8]}.json") if path.exists() else path

    def _resume(self) -> None:
        """Load jobs without a written result, and move files that a crash has left behind."""
        with self.intake.store.read() as connection:
            query = (
                select(jobs.c.id, scans.c.files)
                .join(scans, scans.c.id == jobs.c.scan_id)
                .where(scans.c.source == self.source, jobs.c.answered_at.is_(None))
            )
            rows = connection.execute(query).all()
        self._pending = {row.id: bag_name([file["name"] for file in row.files]) for row in rows}
        for file in (file for row in rows for file in row.files):
            path = self.folder / file["name"]
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]:
                os.replace(path, self.folder / "accepted" / path.name)


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of modification, which change when a file is written."""
    status = path.stat() if path.exists() else path.lstat()  # a broken link does not change
    return status.st_size, status.st_mtime_ns


def _write(path: Path, row: dict[str, Any]) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(row, indent=1))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
