"""How many scans were accepted, kept beside the store: one that knows of fewer has lost some, and says so instead of sweeping up their files."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, func, select

from bagscan.core.files import atomic_write_text
from bagscan.service.store.database import StoreError
from bagscan.service.store.tables import scans

TALLY = "scans.kept"  # rows of scans are never deleted, whatever becomes of their images


def keep_tally(folder: Path, connection: Connection) -> None:
    """Write down how many scans there are, if that has changed."""
    path, count = folder / TALLY, _count(connection)
    if not path.is_file() or path.read_text().strip() != str(count):
        atomic_write_text(path, f"{count}\n")


def check_tally(folder: Path, connection: Connection) -> None:
    """Require that the store has every scan that was written down.

    Raises:
        StoreError: it has fewer, or the stored count is not a number.
    """
    path, count = folder / TALLY, _count(connection)
    if not path.is_file():
        return
    result = path.read_text().strip()
    if not result.isdigit():
        raise StoreError(
            f"{path}: expected a number of scans, got {result[:40]!r}; move it away to go on"
        )
    if count < int(result):
        raise StoreError(
            f"the store in {folder} has {count} scans where {result} were accepted, as a copy without SQLite's -wal file has. "
            f"Put the whole folder or a back-up back; to go on with the loss, move {TALLY} away"
        )


def _count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(scans)).scalar_one())
