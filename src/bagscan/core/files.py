"""Atomic file writes and directory locks."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bagscan.core.errors import DataError

log = logging.getLogger(__name__)

LOCK = "_lock"


def refuse_file(out: Path) -> None:
    """Check that an output directory is not a file.

    Raises:
        DataError: ``out`` is a file.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file; give a directory")


@contextmanager
def atomic_write(path: Path, several: bool = False) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` on success and is deleted on failure.

    A reader always finds the old or the new file, even if the process is killed. The temporary
    name starts with a dot, so that readers of the directory skip it. It does not change between
    writes, so that a later write replaces the remains of a killed process.

    Args:
        path: the file to write.
        several: True if several processes may write the same file at the same time. Each process
            then uses its own temporary name.
    """
    suffix = uuid4().hex if several else hashlib.sha256(path.name.encode()).hexdigest()[:8]
    # File systems limit the length of a name.
    temporary = path.with_name(f".{path.name[:40]}.{suffix}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a directory against a second run. The lock ends with the process.

    Args:
        folder: the directory to lock.

    Raises:
        DataError: another run holds the lock.
    """
    import fcntl  # not available on Windows, where the rest of this module works

    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{folder}: another run is writing to this directory; "
                "wait until it ends, then run the same command to continue"
            ) from None
        except OSError as error:
            log.warning(
                f"{folder}: the file system does not support locks ({error.strerror}); "
                "make sure that no second run writes to this directory"
            )
        yield


def atomic_write_text(path: Path, text: str) -> None:
    """Write a small text file atomically. Several processes may write it at the same time."""
    with atomic_write(path, several=True) as temporary:
        temporary.write_text(text)
