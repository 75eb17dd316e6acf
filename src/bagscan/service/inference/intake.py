"""Intake of scans: the files of a bag are checked, stored and queued as a job, or rejected."""

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
from bagscan.formats.known import begins_as_its_ending, companion_endings
from bagscan.formats.quantities import CHANNEL_NAMES
from bagscan.formats.scans import READERS, VIEWS
from bagscan.service.metrics import Metrics
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store
from bagscan.service.store.files import Files
from bagscan.service.store.tables import jobs, scans

MAX_NAME = 250  # characters; file systems accept 255 bytes
MAX_ID = 128  # characters of the column scans.source_id
PARTS = (*CHANNEL_NAMES, *VIEWS)
HEADER_BYTES = 200  # bytes of a file that are compared with its type
MAX_FILES = 12  # twice the files of two views of low, high and effective Z


# Statements are built once: under load, building them would cost as much as running them.
WAITING = select(func.count()).where(jobs.c.state != "done")
KEY_QUERY = (
    select(jobs.c.id, jobs.c.scan_id, scans.c.digest)
    .join(scans, scans.c.id == jobs.c.scan_id)
    .where(jobs.c.idempotency_key == bindparam("key"))
)
OF_ACCOUNT, OF_NOBODY = (
    KEY_QUERY.where(jobs.c.account_id == bindparam("account")),
    KEY_QUERY.where(jobs.c.account_id.is_(None)),
)
NEW_SCAN, NEW_JOB = insert(scans), insert(jobs)


class Busy(BagscanError):
    """The queue is full; the client must retry later."""


class Conflict(BagscanError):
    """An idempotency key was used for another scan."""


@dataclass(frozen=True)
class Upload:
    """The checked files of a bag.

    Attributes:
        files: contents by name, sorted by name.
        sums: SHA-256 of each file, by name.
        digest: SHA-256 of all names and contents.
        scanner: name of the scanner, at most 64 characters.
        source: account or directory that the files came from, at most 160 characters.
        tip: ground truth of a test image; None for a real scan.
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
    """Check the files of a bag.

    Args:
        files: name and content of each file.

    Raises:
        ReadError: no files or too many, files of several folders, an invalid or repeated name, an
            unknown type, or content that does not match its type.
    """
    if not files:
        raise ReadError(f"no files given; expected 1 to {MAX_FILES} files of one bag")
    if len(files) > MAX_FILES:
        raise ReadError(f"{len(files)} files given; a bag has at most {MAX_FILES} files")
    folders = {given.replace("\\", "/").rpartition("/")[0] for given, _ in files}
    if len(folders) > 1:
        raise ReadError(
            f"the files are from several folders ({', '.join(sorted(folders))}); "
            "the files of a bag must be in one folder"
        )
    contents: dict[str, bytes] = {}
    for given, content in files:
        name = given.replace("\\", "/").rpartition("/")[2]
        ending = "." + name.rpartition(".")[2].lower()
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name.startswith("."):
            raise ReadError(
                f"{name[:MAX_NAME]!r} is not a valid file name; "
                f"expected 1 to {MAX_NAME} printable characters, the first one not a dot"
            )
        is_sidecar = _is_sidecar(name, files)
        if ending not in READERS and not is_sidecar:
            raise ReadError(f"{name}: unknown type {ending!r}; known: {', '.join(sorted(READERS))}")
        if not content:
            raise ReadError(f"{name}: the file is empty (0 bytes)")
        if not is_sidecar and not begins_as_its_ending(ending, content[:HEADER_BYTES]):
            raise ReadError(f"{name}: the first bytes are not those of a {ending} file")
        if name in contents:
            raise ReadError(f"{name}: the file is given twice")
        contents[name] = content
    ordered = dict(sorted(contents.items()))
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in ordered.items()}
    digest = hashlib.sha256("".join(f"{name}\0{s}\n" for name, s in sums.items()).encode())
    return Upload(ordered, sums, digest.hexdigest(), scanner[:64] or "unknown", source[:160], tip)


def _is_sidecar(name: str, files: Sequence[tuple[str, bytes]]) -> bool:
    """Return True if a file is the sidecar of another one, as ``7.yaml`` is of ``7.raw``."""
    stem, _, ending = name.rpartition(".")
    names = (given.replace("\\", "/").rpartition("/")[2].rpartition(".") for given, _ in files)
    return any(
        scan_stem == stem and f".{ending.lower()}" in companion_endings(f".{kind}")
        for scan_stem, _, kind in names
    )


def bag_name(names: Sequence[str]) -> str:
    """Return the name of a bag: the first file name without its view and channel."""
    stem = names[0].rpartition(".")[0]
    for part in PARTS if len(names) > 1 else ():
        if stem.lower().endswith(f"_{part}"):
            stem = stem[: -len(part) - 1]
    return stem[:MAX_ID]


def keep_files(files: Files, upload: Upload) -> list[dict[str, Any]]:
    """Store the files of an upload.

    Returns:
        ``name``, ``sha256`` and ``bytes`` of each file, as in the scan's row.
    """
    return [
        {"name": name, "sha256": files.put(content, upload.sums[name]), "bytes": len(content)}
        for name, content in upload.files.items()
    ]


def new_id() -> str:
    """Return a unique id for a job or a scan, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def check_acceptable(
    connection: Connection,
    config: ServiceConfig,
    upload: Upload,
    account_id: int | None,
    key: str | None,
) -> tuple[str, str] | None:
    """Check that a scan can be accepted.

    Returns:
        Job id and scan id if the key is known for this scan; None for a new scan.

    Raises:
        Busy: the queue is full.
        Conflict: the key was used for another scan.
    """
    if key is not None:
        row = connection.execute(
            OF_NOBODY if account_id is None else OF_ACCOUNT,
            {"key": key} | ({} if account_id is None else {"account": account_id}),
        ).first()
        if row is not None:
            if row.digest != upload.digest:
                raise Conflict("this idempotency key was used for another scan; use a new key")
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
    """Queue a scan whose files are stored. It is not lost once the transaction is committed.

    Args:
        kept: rows of the stored files, from :func:`keep_files`.
        key: idempotency key of the client; the same key with the same scan is the same job.
        job_id: id of the job if it is new.

    Returns:
        Job id, scan id, and True if the scan is new.

    Raises:
        Busy: the queue is full.
        Conflict: the key was used for another scan.
    """
    known = check_acceptable(connection, config, upload, account_id, key)
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
    """Intake of scans from the API and from watched folders.

    Args:
        wake: called when a job is waiting.
    """

    def __init__(
        self,
        store: Store,
        files: Files,
        config: ServiceConfig,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self.store = store
        self.files = files
        self.config = config
        self.metrics = metrics
        self._wake = wake

    def take_in(
        self, upload: Upload, account_id: int | None, key: str | None, job_id: str | None = None
    ) -> tuple[str, str, bool]:
        """Store an upload and queue it as a job. After this call it is not lost.

        Returns:
            Job id, scan id, and True if the scan is new.

        Raises:
            Busy: the queue is full.
            Conflict: the key was used for another scan.
            StoreError: nothing was stored; :class:`StoreFull` if no space is left.
        """
        with self.store.read() as connection:  # check before writing files
            check_acceptable(connection, self.config, upload, account_id, key)
        kept = keep_files(self.files, upload)

        def write(connection: Connection) -> tuple[str, str, bool]:
            return accept(
                connection, self.config, upload, kept, account_id, key, job_id or new_id()
            )

        try:
            accepted = self.store.write(write)
        except IntegrityError:  # another service on the same store used this key first
            accepted = self.store.write(write)
        self._wake()
        return accepted
