"""A folder for scanners that only write files: what comes to rest there becomes a job, and its verdict is laid beside it.

::

    watched/7_below.tif, 7_side.tif     as the scanner writes them
    watched/accepted/                   where they go once the job is safe in the store
    watched/refused/                    where scans go that cannot be taken in, with a .txt of the reason
    watched/results/7.json              the row, as in findings.json; written whole or not at all
    watched/8.raw, 8.yaml               a headerless scan and the sidecar that says how to read it
    watched/7.tif.part, 7.xml           what has no scan's ending is not ours: it is never moved

The job's key is the content's hash, and the next start moves what a kill has left: no bag, and no half of one, is a second job. A file that is
written anew while its bag is taken in stays, and is the next. Folders within are not looked at.
What is of a known type is accepted even if it turns out to be torn: its verdict is then REVIEW, as is that of what is refused.
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
from bagscan.formats.known import endings_beside
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
EVERY_S = 0.5
TOLD_AFTER_S = 600.0
BUSY = object()


class Watcher:
    """Watches one folder.

    Args:
        folder: made where it is absent, with its three folders.
    """

    def __init__(self, intake: Intake, folder: Path) -> None:
        self.intake, self.folder, self.trouble = intake, folder, ""
        self.source = (
            f"watch:{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}:{folder.name}"[:160]
        )  # two gates may both call theirs "in"
        if not folder.is_dir():
            log.warning(
                "the watched folder %s was not there and is made: is it the one that the scanner writes into?",
                folder,
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._make_folders()
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        self._waiting: dict[str, str] = {}
        self._told: set[str] = set()
        self._others: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def run(self, stopping: threading.Event) -> None:
        """Until the service stops."""
        self._try(self._take_up)
        while not stopping.wait(EVERY_S):
            if not self._is_there():
                continue
            self._try(self._answer)
            for bag in self._try(self._at_rest) or []:
                if self._try(self._take, bag) is BUSY:
                    break  # the files lie where they lie: the queue is bounded, the folder is the buffer

    def _make_folders(self) -> None:
        for name in ("accepted", "refused", "results"):
            (self.folder / name).mkdir(exist_ok=True)

    def _is_there(self) -> bool:
        """Whether the folder can be worked in: one that was taken away, or made anew, may come back at any time. Trouble is said once."""
        try:
            self._make_folders()
            trouble = ""
        except OSError as error:
            trouble = f"the watched folder {self.folder} cannot be used: {error.strerror}"
        if trouble != self.trouble:
            log.error("%s", trouble) if trouble else log.info(
                "the watched folder %s can be used again", self.folder
            )
        self.trouble = trouble
        return not trouble

    def _try(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What one file does must not keep the others."""
        try:
            return work(*arguments)
        except Busy:
            return BUSY
        except (BagscanError, OSError) as error:
            self._say(str(error))
        except Exception:
            log.exception("watch %s", self.folder)
        return None

    def _say(self, error: str) -> None:
        """Log an error once, and again every ten minutes while it stays: each look would repeat it."""
        now = time.monotonic()
        if now - self._said.get(error, -TOLD_AFTER_S) >= TOLD_AFTER_S:
            self._said = {text: at for text, at in self._said.items() if now - at < TOLD_AFTER_S}
            self._said[error] = now
            log.error("watch %s: %s", self.folder, error)

    def _at_rest(self) -> list[list[Path]]:
        """Files of bags none of whose files has changed for a while."""
        now = time.monotonic()
        files = [
            path
            for path in sorted(self.folder.iterdir())
            if not path.name.startswith(".") and not path.is_dir()
        ]
        present = [path for path in files if path.suffix.lower() in READERS]
        watched = {*present, *(file for path in present for file in files_of(path))}
        self._tell_of_others([path.name for path in files if path not in watched], now)
        for path in watched:
            stamp = _stamp(path)
            if self._seen.get(path, (None, 0))[0] != stamp:
                self._seen[path] = (stamp, now)
        self._seen = {path: seen for path, seen in self._seen.items() if path in watched}
        bags: dict[tuple[str, ...], list[Path]] = {}
        for group in group_views(find_scans(present), VIEWS):
            bag = sorted({file for path in group.values() for file in files_of(path)})
            bags.setdefault(tuple(map(str, bag)), bag)
        return [bag for bag in bags.values() if self._rested(bag, now)]

    def _tell_of_others(self, others: Sequence[str], now: float) -> None:
        """Say once of each file without a scan's ending that has lain here for long that it is left alone: a scanner may be writing it, or it belongs to somebody."""
        self._others = {name: self._others.get(name, now) for name in others}
        for name in sorted(
            name
            for name, since in self._others.items()
            if now - since > TOLD_AFTER_S and name not in self._told
        ):
            self._told.add(name)
            log.warning(
                "watch %s: %r has none of the endings %s and is left where it is",
                self.folder,
                name,
                ", ".join(sorted(READERS)),
            )

    def _rested(self, files: list[Path], now: float) -> bool:
        """Whether a bag is whole: nothing of it has changed for a while, and a lone view has waited for another."""
        age = min(now - self._seen[file][1] for file in files if file in self._seen)
        lone = (
            len({view for file in files if (view := view_named_by(scan_id_of(file), VIEWS))}) == 1
        )
        lone |= any(
            endings_beside(file.suffix) and files_of(file) == [file] for file in files
        )  # its sidecar may still come
        return age >= (
            max(self.intake.config.settle_s, self.intake.config.pair_s)
            if lone
            else self.intake.config.settle_s
        )

    def _take(self, bag: list[Path]) -> None:
        most = self.intake.config.max_upload_mb << 20
        stamps = {path: _stamp(path) for path in bag}
        try:
            for path in bag:
                check_size(path)  # reading a pipe would never end
            if sum(path.stat().st_size for path in bag) > most:
                raise ReadError(f"more than the {most >> 20} MB allowed")
            upload = checked_upload(
                [(path.name, path.read_bytes()) for path in bag], self.folder.name, self.source
            )
        except (ReadError, OSError) as error:  # a link to nothing among them
            self._refuse(bag, str(error))
            return
        job_id, _, _ = self.intake.take_in(upload, None, f"{self.source[:60]}:{upload.digest[:60]}")
        self._waiting[job_id] = bag_name([path.name for path in bag])
        for path in bag:
            if _stamp(path) == stamps[path]:
                os.replace(path, self.folder / "accepted" / path.name)

    def _refuse(self, bag: list[Path], why: str) -> None:
        # RecordingLog first and moved then: whatever goes wrong with the telling, the bag still lies where it is looked for.
        name, why = as_text(bag_name([path.name for path in bag])), as_text(why)
        _write(
            self._place(name, hashlib.sha256(why.encode()).hexdigest()),
            error_row(self.folder / "refused" / bag[0].name, why) | {"scan_id": name},
        )
        (self.folder / "refused" / f"{as_text(bag[0].name)}.txt").write_text(
            f"{why}\nThis bag was not screened: treat it as REVIEW.\n"
        )
        for path in bag:
            os.replace(path, self.folder / "refused" / path.name)
        self.intake.metrics.refused.labels("watch").inc()

    def _answer(self) -> None:
        """Lay the verdicts of finished jobs into ``results``."""
        if not self._waiting:
            return
        with self.intake.store.read() as connection:
            found = select(jobs.c.id, results.c.row, results.c.scan_id).join(
                results, results.c.scan_id == jobs.c.scan_id
            )
            rows = connection.execute(found.where(jobs.c.id.in_(list(self._waiting)))).all()
        for row in rows:
            self._try(self._lay, row)

    def _lay(self, row: Row[Any]) -> None:
        """One verdict beside the folder; the job is answered once it lies there."""
        _write(self._place(self._waiting[row.id], row.scan_id), row.row | {"id": row.scan_id})
        self.intake.store.write(
            lambda connection: connection.execute(
                update(jobs).where(jobs.c.id == row.id).values(answered_at=time.time())
            )
        )
        del self._waiting[row.id]

    def _place(self, name: str, own: str) -> Path:
        """Where a bag's verdict goes; beside one of the same name that nobody has taken yet."""
        place = self.folder / "results" / f"{name}.json"
        return place.with_name(f"{name}_{own[:8]}.json") if place.exists() else place

    def _take_up(self) -> None:
        """Jobs of this folder whose verdict is not laid out yet: a kill may have come between, and before all their files were moved away."""
        with self.intake.store.read() as connection:
            found = (
                select(jobs.c.id, scans.c.files)
                .join(scans, scans.c.id == jobs.c.scan_id)
                .where(scans.c.source == self.source, jobs.c.answered_at.is_(None))
            )
            rows = connection.execute(found).all()
        self._waiting = {row.id: bag_name([file["name"] for file in row.files]) for row in rows}
        for file in (file for row in rows for file in row.files):
            path = self.folder / file["name"]
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]:
                os.replace(path, self.folder / "accepted" / path.name)


def _stamp(path: Path) -> tuple[int, int]:
    """What tells that a file was written since."""
    result = (
        path.stat() if path.exists() else path.lstat()
    )  # a link to nothing is a file that does not change
    return result.st_size, result.st_mtime_ns


def _write(path: Path, told: dict[str, Any]) -> None:
    try:
        with atomic_write(
            path
        ) as part:  # one process writes here: what a kill leaves is written over
            part.write_text(json.dumps(told, indent=1))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
