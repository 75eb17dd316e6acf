"""Atomic file writes and directory locks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bagscan.core.errors import DataError

LOCK = "_lock"


def refuse_file(out: Path) -> None:
    """Check that an output directory is not a file.

    Raises:
        DataError: it is a file.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out}: is a file; give a directory")


@contextmanager
def atomic_write(path: Path, several: bool = False) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path that replaces ``path`` on success and is deleted on failure.

    A reader always finds the old or the new file, even after a kill. The temporary name starts with a dot, so that readers of
    the directory skip it. It is the same every time, so that a later write replaces the remains of a kill.

    Args:
        several: whether several processes may write the same file at the same time; each then uses its own temporary name.
    """
    own = uuid4().hex if several else hashlib.sha256(path.name.encode()).hexdigest()[:8]
    part = path.with_name(
        f".{path.name[:40]}.{own}.part"
    )  # no longer than file systems take, however long the name
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def held(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Lock a directory against a second run. The lock ends with the process.

    Raises:
        DataError: another run holds the lock.
    """
    import fcntl  # not on every system, where the rest of this module is used

    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{folder}: another run is writing here; wait for it to end, then run the same command to continue"
            ) from None
        except OSError as error:
            report(
                f"{folder}: the file system does not support locks ({error.strerror}); make sure that no second run writes here"
            )
        yield


def atomic_write_text(path: Path, text: str) -> None:
    """Write a small text file atomically. Several processes may write it at the same time."""
    with atomic_write(path, several=True) as part:
        part.write_text(text)
