"""Tally of accepted scans, in a file beside the store.

A store with fewer scans has lost some. The service then fails to start, and does not remove the
files of the lost scans.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, func, select

from bagscan.core.files import atomic_write_text
from bagscan.service.store.database import StoreError
from bagscan.service.store.tables import scans

TALLY = "scans.kept"  # rows of scans are never deleted, even if their images are


def keep_tally(folder: Path, connection: Connection) -> None:
    """Write the number of scans to the tally, if it has changed."""
    path, count = folder / TALLY, _count(connection)
    if not path.is_file() or path.read_text().strip() != str(count):
        atomic_write_text(path, f"{count}\n")


def check_tally(folder: Path, connection: Connection) -> None:
    """Check that the store has at least as many scans as the tally.

    Raises:
        StoreError: the store has fewer scans, or the tally is not a number.
    """
    path, count = folder / TALLY, _count(connection)
    if not path.is_file():
        return
    tally = path.read_text().strip()
    if not tally.isdigit():
        raise StoreError(
            f"{path}: expected a number of scans, got {tally[:40]!r}; remove the file to continue"
        )
    if count < int(tally):
        raise StoreError(
            f"the store in {folder} has {count} scans, but {tally} were accepted; a copy without "
            "SQLite's -wal file is incomplete. Restore the whole folder or a backup; "
            f"to continue without the lost scans, remove {TALLY}"
        )


def _count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(scans)).scalar_one())
