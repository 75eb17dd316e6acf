"""Audit log: a hash chain of numbered and signed (Ed25519) records of who did what.

Each record holds the hash of the record before it. An edit breaks a hash, a deletion or a new order
breaks the numbers, a fork repeats a number, and a record forged without the key has no valid
signature. A truncated chain is still valid, so it is compared with its head. The head is stored in
a file beside the store; ``bagscan audit head`` prints it for safekeeping elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, insert, select, text

from bagscan.core.errors import BagscanError, absent
from bagscan.core.files import atomic_write_text
from bagscan.service.store.database import Store
from bagscan.service.store.tables import audit

START = "0" * 64
FIELDS = ("seq", "at", "actor", "action", "subject", "detail", "previous")
LOCK = 0x6261677363616E  # arbitrary key of the chain's advisory lock in PostgreSQL
HEAD = "audit.head"


class AuditError(BagscanError):
    """Broken or incomplete audit chain, or a missing or invalid key or head."""


class Auditor:
    """Writer of the audit chain. Each record belongs to the transaction of the action it records.

    Args:
        folder: directory of ``audit.key`` (created with the chain, readable by its owner only),
            ``audit.pub`` and ``audit.head``.
        store: store that holds the chain.

    Raises:
        AuditError: the chain has records but its key is missing, or the chain does not contain
            the stored head because records were lost.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        with store.read() as connection:
            has_records = connection.execute(select(audit.c.seq).limit(1)).first() is not None
        self._key = _load_key(folder, has_records)
        with store.read() as connection:
            self.check_head(connection)

    def check_head(self, connection: Connection) -> None:
        """Compare the chain with the stored head.

        Raises:
            AuditError: the chain ends before the head or differs from it. Until this is resolved,
                no files are swept and the head is not replaced.
        """
        stored = read_head(self.folder / HEAD)
        if stored is None:
            return
        seq = stored["seq"]
        digest = connection.execute(select(audit.c.hash).where(audit.c.seq == seq)).scalar()
        if digest != stored["hash"]:
            newest = newest_head(connection)
            raise AuditError(
                f"{self.folder}: the audit chain ends at record {newest['seq'] if newest else 0}, "
                f"but its stored head is record {seq}; records are lost, for example by a copy "
                "without SQLite's -wal file; restore the complete folder or a backup, or move "
                "audit.head away to continue with the loss"
            )

    def append(
        self,
        connection: Connection,
        actor: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any] | None = None,
    ) -> int:
        """Add a record within the caller's transaction and return its number."""
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        last = connection.execute(
            select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
        ).first()
        record = {
            "seq": (last.seq if last else 0) + 1,
            "at": time.time(),
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": json.dumps(detail or {}, sort_keys=True),
            "previous": last.hash if last else START,
        }
        digest = record_hash(record)
        signature = self._key.sign(bytes.fromhex(digest)).hex()
        connection.execute(insert(audit).values(**record, hash=digest, signature=signature))
        return int(record["seq"])

    def keep_head(self, connection: Connection) -> dict[str, Any] | None:
        """Store the newest record's number, hash and signature in ``audit.head`` and return them.

        Raises:
            AuditError: the chain does not contain the stored head, which is then kept.
        """
        self.check_head(connection)
        head = newest_head(connection)
        if head is None:
            return None
        atomic_write_text(self.folder / HEAD, json.dumps(head))
        return head


def newest_head(connection: Connection) -> dict[str, Any] | None:
    """Return number, time, hash and signature of the newest record; None for an empty chain."""
    last = (
        connection.execute(
            select(audit.c.seq, audit.c.at, audit.c.hash, audit.c.signature)
            .order_by(audit.c.seq.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    return dict(last) if last else None


def record_hash(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's ``FIELDS`` as compact JSON, in hexadecimal digits."""
    return hashlib.sha256(
        json.dumps([record[name] for name in FIELDS], separators=(",", ":")).encode()
    ).hexdigest()


def read_records(
    connection: Connection, after: int = 0, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return at most ``limit`` records with a number above ``after``, in ascending order."""
    query = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def verify(
    records: Iterable[Mapping[str, Any]], public_key: str, head: Mapping[str, Any] | None = None
) -> list[str]:
    """Verify a chain without access to the store; return the faults, empty for a valid chain.

    Args:
        records: all records, in ascending order.
        public_key: 64 hexadecimal digits.
        head: a head stored earlier; the chain must contain it.
    """
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    wrong: list[str] = []
    previous, expected, at_head = START, 1, None
    for record in records:
        seq = record["seq"]
        if seq != expected:
            wrong.append(
                f"record {expected} is missing"
                if isinstance(seq, int) and seq > expected
                else f"record {seq} is repeated or out of order; expected record {expected}"
            )
        if record["previous"] != previous:
            wrong.append(f"record {seq} does not follow the record before it")
        if record_hash(record) != record["hash"]:
            wrong.append(f"record {seq} was altered: its hash does not match")
        elif not _is_signed(key, record["hash"], record["signature"]):
            wrong.append(f"record {seq} is not signed by this key")
        if head is not None and seq == head["seq"]:
            at_head = record["hash"]
        previous, expected = record["hash"], (seq if isinstance(seq, int) else expected) + 1
    if head is not None and not _is_signed(key, head["hash"], head["signature"]):
        wrong.append("the head is not signed by this key")
    elif head is not None and at_head != head["hash"]:
        problem = (
            "but the chain is truncated before it"
            if at_head is None
            else "but the chain has a different record of that number"
        )
        wrong.append(f"the head is record {head['seq']}, {problem}")
    return wrong


def read_public_key(path: Path) -> str:
    """Read the public key from a file, or from ``audit.pub`` in a service's folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        AuditError: the file is missing or is not a public key.
    """
    path = path / "audit.pub" if path.is_dir() else path
    try:
        public_key = path.read_text().strip()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: not the public key of an audit chain") from error
    return public_key


def read_head(path: Path, must: bool = False) -> dict[str, Any] | None:
    """Read a stored head; return None if the file does not exist.

    Read the head before the records: the chain only grows, so it must contain the head.

    Args:
        must: raise an error if the file does not exist.

    Raises:
        AuditError: the file is not a head, or is required and missing.
    """
    if not path.is_file():
        if must:
            raise AuditError(absent(path, "file"))
        return None
    try:
        head = json.loads(path.read_text())
        return {
            "seq": int(head["seq"]),
            "hash": str(head["hash"]),
            "signature": str(head["signature"]),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise AuditError(f"{path}: not the head of an audit chain") from error


def _is_signed(key: Ed25519PublicKey, digest: Any, signature: Any) -> bool:
    try:
        key.verify(bytes.fromhex(signature), bytes.fromhex(digest))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _load_key(folder: Path, has_records: bool) -> Ed25519PrivateKey:
    """Load ``audit.key``, or create it for an empty chain.

    Raises:
        AuditError: the key is invalid, or it is missing although the chain has records.
    """
    path = folder / "audit.key"
    if path.is_file():
        try:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
        except ValueError as error:
            raise AuditError(f"{path}: not a key; restore it from a backup") from error
    if has_records:
        raise AuditError(
            f"{folder}: the audit chain has records, but audit.key is missing; "
            "use the service's own folder, or restore the key"
        )
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    temporary = folder / f"audit.key.{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(raw.hex())
        file.flush()
        os.fsync(file.fileno())
    os.link(temporary, path)  # atomic, and fails if another process has created the key
    temporary.unlink()
    public = key.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    (folder / "audit.pub").write_text(public.hex() + "\n")
    return key
