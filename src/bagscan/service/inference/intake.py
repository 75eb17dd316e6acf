"""What comes in: the files of one bag are checked, kept, and become a job, or nothing is kept."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

from bagscan.core.errors import BagscanError, ReadError
from bagscan.formats.known import begins_as_its_ending, endings_beside
from bagscan.formats.quantities import CHANNEL_NAMES
from bagscan.formats.scans import READERS, VIEWS
from bagscan.service.metrics import Metrics
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store
from bagscan.service.store.files import Files
from bagscan.service.store.tables import jobs, scans

LONGEST_NAME = 250  # signs; a file system takes 255 bytes
LONGEST_ID = 128  # that the store takes
PARTS = (*CHANNEL_NAMES, *VIEWS)
LONGEST_BEGINNING = 200  # bytes by which a file is known
MAX_FILES = 12  # two views of low, high and effective Z, twice over


# Built once: under load, building statements would cost as much as running them.
WAITING = select(func.count()).where(jobs.c.state != "done")
OF_KEY = (
    select(jobs.c.id, jobs.c.scan_id, scans.c.digest)
    .join(scans, scans.c.id == jobs.c.scan_id)
    .where(jobs.c.idempotency_key == bindparam("key"))
)
OF_ACCOUNT, OF_NOBODY = (
    OF_KEY.where(jobs.c.account_id == bindparam("account")),
    OF_KEY.where(jobs.c.account_id.is_(None)),
)
NEW_SCAN, NEW_JOB = insert(scans), insert(jobs)


class Busy(BagscanError):
    """As many scans wait as may: try again later."""


class Conflict(BagscanError):
    """An idempotency key was used before, for another scan."""


@dataclass(frozen=True)
class Upload:
    """One bag's files as they came, checked.

    Attributes:
        files: contents by name, sorted. sums: their SHA-256 by name. digest: of names and contents.
    """

    files: Mapping[str, bytes]
    sums: Mapping[str, str]
    digest: str
    scanner: str = "unknown"
    source: str = ""
    tip: Mapping[str, Any] | None = None


def checked_upload(
    files: Sequence[tuple[str, bytes]],
    scanner: str,
    source: str,
    tip: Mapping[str, Any] | None = None,
) -> Upload:
    """One bag's files, or why they cannot be taken.

    Raises:
        ReadError: none or too many, a name or a type that is not known, contents of another type.
    """
    if not files:
        raise ReadError("no file came")
    if len(files) > MAX_FILES:
        raise ReadError(f"{len(files)} files came, at most {MAX_FILES} make a bag")
    folders = {given.replace("\\", "/").rpartition("/")[0] for given, _ in files}
    if len(folders) > 1:
        raise ReadError(
            f"files of several folders came ({', '.join(sorted(folders))}): one bag's lie in one"
        )
    taken: dict[str, bytes] = {}
    for given, content in files:
        name = given.replace("\\", "/").rpartition("/")[2]
        ending = "." + name.rpartition(".")[2].lower()
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name.startswith("."):
            raise ReadError(
                f"{name[:LONGEST_NAME]!r}: a file's name has 1 to {LONGEST_NAME} printable signs, and begins with no dot"
            )
        beside = _lies_beside(name, files)
        if ending not in READERS and not beside:
            raise ReadError(f"{name}: unknown type {ending!r}; known: {', '.join(sorted(READERS))}")
        if not content:
            raise ReadError(f"{name}: the file is empty (0 bytes)")
        if not beside and not begins_as_its_ending(ending, content[:LONGEST_BEGINNING]):
            raise ReadError(f"{name}: its first bytes are not those of a {ending} file")
        if name in taken:
            raise ReadError(f"{name} came twice")
        taken[name] = content
    ordered = dict(sorted(taken.items()))
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in ordered.items()}
    digest = hashlib.sha256("".join(f"{name}\0{one}\n" for name, one in sums.items()).encode())
    return Upload(ordered, sums, digest.hexdigest(), scanner[:64] or "unknown", source[:160], tip)


def _lies_beside(name: str, files: Sequence[tuple[str, bytes]]) -> bool:
    """Whether a file is the sidecar of a scan that came with it: ``7.yaml`` of ``7.raw``."""
    stem, _, ending = name.rpartition(".")
    others = (other.replace("\\", "/").rpartition("/")[2].rpartition(".") for other, _ in files)
    return any(
        own == stem and f".{ending.lower()}" in endings_beside(f".{kind}")
        for own, _, kind in others
    )


def bag_name(names: Sequence[str]) -> str:
    """What a bag is called: its files' names without the parts that tell views and channels."""
    stem = names[0].rpartition(".")[0]
    for part in PARTS if len(names) > 1 else ():
        if stem.lower().endswith(f"_{part}"):
            stem = stem[: -len(part) - 1]
    return stem[:LONGEST_ID]


def keep_files(files: Files, upload: Upload) -> list[dict[str, Any]]:
    """Keep an upload's files on disk; what the scan's row says of them."""
    return [
        {"name": name, "sha256": files.put(content, upload.sums[name]), "bytes": len(content)}
        for name, content in upload.files.items()
    ]


def new_id() -> str:
    """A name for a job or a scan that nothing else has."""
    return uuid.uuid4().hex


def check_room(
    connection: Connection,
    config: ServiceConfig,
    upload: Upload,
    account_id: int | None,
    key: str | None,
) -> tuple[str, str] | None:
    """Whether a scan may come in: job and scan where it is known by its key, None where it is new.

    Raises:
        Busy: too many wait. Conflict: the key belongs to another scan.
    """
    if key is not None:
        row = connection.execute(
            OF_NOBODY if account_id is None else OF_ACCOUNT,
            {"key": key} | ({} if account_id is None else {"account": account_id}),
        ).first()
        if row is not None:
            if row.digest != upload.digest:
                raise Conflict("this idempotency key was used for another scan")
            return row.id, row.scan_id
    waiting = connection.execute(WAITING).scalar_one()
    if waiting >= config.max_waiting and upload.tip is None:
        raise Busy(f"the queue is full ({waiting} scans waiting); retry later")
    return None


def accept(
    connection: Connection,
    config: ServiceConfig,
    upload: Upload,
    kept: list[dict[str, Any]],
    account_id: int | None,
    key: str | None,
    job_id: str,
) -> tuple[str, str, bool]:
    """Take a scan whose files are kept: (job id, scan id, whether it is new). Once this is committed it is never lost.

    Args:
        key: of the caller; the same key with the same scan is the same job. job_id: for the job, where it is a new one.

    Raises:
        Busy: too many wait. Conflict: the key belongs to another scan.
    """
    known = check_room(connection, config, upload, account_id, key)
    if known is not None:
        return *known, False
    scan_id, now = new_id(), time.time()
    stem = bag_name(list(upload.files))
    tip = dict(upload.tip) if upload.tip else None
    scan = {
        "id": scan_id,
        "source_id": stem,
        "digest": upload.digest,
        "files": kept,
        "scanner": upload.scanner,
        "source": upload.source,
        "received_at": now,
        "tip": tip,
    }
    connection.execute(NEW_SCAN, scan)
    job = {
        "id": job_id,
        "scan_id": scan_id,
        "account_id": account_id,
        "idempotency_key": key,
        "state": "queued",
        "attempts": 0,
        "created_at": now,
    }
    connection.execute(NEW_JOB, job)
    return job_id, scan_id, True


class Intake:
    """Where scans come in, from the API and from watched folders.

    Args:
        wake: called when a job waits.
    """

    def __init__(
        self,
        store: Store,
        files: Files,
        config: ServiceConfig,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self.store, self.files, self.config, self.metrics, self._wake = (
            store,
            files,
            config,
            metrics,
            wake,
        )

    def take_in(
        self, upload: Upload, account_id: int | None, key: str | None, job_id: str | None = None
    ) -> tuple[str, str, bool]:
        """Keep an upload and make it a job: (job id, scan id, whether it is new). After this it is never lost.

        Raises:
            Busy, Conflict: as :func:`accept`. StoreFull, StoreError: nothing was kept.
        """
        with self.store.read() as connection:  # what is refused leaves nothing behind
            check_room(connection, self.config, upload, account_id, key)
        kept = keep_files(self.files, upload)

        def write(connection: Connection) -> tuple[str, str, bool]:
            return accept(
                connection, self.config, upload, kept, account_id, key, job_id or new_id()
            )

        try:
            made = self.store.write(write)
        except IntegrityError:  # another service on the same store was first with this key
            made = self.store.write(write)
        self._wake()
        return made
