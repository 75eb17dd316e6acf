"""Who did what: a chain of records, each holding the hash of the one before, numbered and signed (Ed25519).

An edit breaks a hash, a deletion or a new order breaks the numbers, a fork has two records of one number, and records made up
without the key have no signature. A cut tail leaves a valid chain: it is found against the head, which is kept in a file
beside the store, and which anybody may write down elsewhere (``bagscan audit head``).
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
LOCK = 0x6261677363616E  # any number: PostgreSQL's advisory lock of the chain
HEAD = "audit.head"


class AuditError(BagscanError):
    """The chain is broken, or its key is missing."""


class Auditor:
    """Appends to the chain, within the transaction of what it records.

    Args:
        folder: of ``audit.key`` (made with the chain, readable by its owner alone), ``audit.pub`` and ``audit.head``. store: of the chain.

    Raises:
        AuditError: the chain has records and its key is not here; or it does not reach the head that was kept: something was lost.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        with store.read() as connection:
            begun = connection.execute(select(audit.c.seq).limit(1)).first() is not None
        self._key = _key(folder, begun)
        with store.read() as connection:
            self.check_head(connection)

    def check_head(self, connection: Connection) -> None:
        """Hold the chain against the head that was kept of it.

        Raises:
            AuditError: it ends before that, or is another: nothing may be swept, and no lower head kept, over the loss.
        """
        kept = read_head(self.folder / HEAD)
        if kept is None:
            return
        digest = connection.execute(select(audit.c.hash).where(audit.c.seq == kept["seq"])).scalar()
        if digest != kept["hash"]:
            newest = newest_head(connection)
            raise AuditError(
                f"{self.folder}: the store ends at audit record {newest['seq'] if newest else 0}, and record {kept['seq']} was kept of it: it lost what came between, "
                "as a copy without SQLite's -wal file does. Put the whole folder or a back-up back; to go on with the loss on record, move audit.head away"
            )

    def append(
        self,
        connection: Connection,
        actor: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any] | None = None,
    ) -> int:
        """Add one record; returns its number. It stands or falls with the caller's transaction."""
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
        """Write the newest record's number, hash and signature beside the store; returns them. A head is never lowered; errors as :meth:`check_head`."""
        self.check_head(connection)
        head = newest_head(connection)
        if head is None:
            return None
        atomic_write_text(self.folder / HEAD, json.dumps(head))
        return head


def newest_head(connection: Connection) -> dict[str, Any] | None:
    """Number, time, hash and signature of the newest record; None where there is none."""
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
    """SHA-256 over a record's fields in one fixed form."""
    return hashlib.sha256(
        json.dumps([record[name] for name in FIELDS], separators=(",", ":")).encode()
    ).hexdigest()


def read_records(
    connection: Connection, after: int = 0, limit: int | None = None
) -> list[dict[str, Any]]:
    """Records by number, from the one after ``after``."""
    return [
        dict(row)
        for row in connection.execute(
            select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
        ).mappings()
    ]


def verify(
    records: Iterable[Mapping[str, Any]], public_key: str, head: Mapping[str, Any] | None = None
) -> list[str]:
    """What is wrong with a chain, off line; empty where nothing is.

    Args:
        records: by number. public_key: 64 hex digits. head: kept elsewhere, or beside the store; the chain must reach it.
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
                else f"record {seq} comes again or out of order, where {expected} was expected"
            )
        if record["previous"] != previous:
            wrong.append(f"record {seq} does not follow the record before it")
        if record_hash(record) != record["hash"]:
            wrong.append(f"record {seq} was altered: its hash is another")
        elif not _signed(key, record["hash"], record["signature"]):
            wrong.append(f"record {seq} is not signed by this key")
        if head is not None and seq == head["seq"]:
            at_head = record["hash"]
        previous, expected = record["hash"], (seq if isinstance(seq, int) else expected) + 1
    if head is not None and not _signed(key, head["hash"], head["signature"]):
        wrong.append("the head is not signed by this key")
    elif head is not None and at_head != head["hash"]:
        wrong.append(
            f"the head is record {head['seq']}, "
            + (
                "and the chain ends before it: its tail was cut off"
                if at_head is None
                else "and the chain has another of that number"
            )
        )
    return wrong


def read_public_key(path: Path) -> str:
    """The public key of a service's folder, or of a file: 64 hex digits.

    Raises:
        AuditError: there is none.
    """
    path = path / "audit.pub" if path.is_dir() else path
    try:
        result = path.read_text().strip()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(result))
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: no public key of an audit chain") from error
    return result


def read_head(path: Path, must: bool = False) -> dict[str, Any] | None:
    """A head that was kept; None where the file is absent.

    It is read before the records: the chain only grows, and must reach it.

    Raises:
        AuditError: it is no head, or absent where it must not be.
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


def _signed(key: Ed25519PublicKey, digest: Any, signature: Any) -> bool:
    try:
        key.verify(bytes.fromhex(signature), bytes.fromhex(digest))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _key(folder: Path, begun: bool) -> Ed25519PrivateKey:
    path = folder / "audit.key"
    if path.is_file():
        try:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
        except ValueError as error:
            raise AuditError(f"{path}: not a key; restore it from a back-up") from error
    if begun:
        raise AuditError(
            f"{folder}: the audit chain has records, and its audit.key is not here; give the folder that the service runs in, or restore the key"
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
    os.link(temporary, path)  # whole or not at all, and never over another
    temporary.unlink()
    public = key.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    (folder / "audit.pub").write_text(public.hex() + "\n")
    return key
