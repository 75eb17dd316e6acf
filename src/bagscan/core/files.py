"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bagscan.core.errors import DataError

LOCK = "_lock"


def refuse_file(out: Path) -> None:
    """Of what is to be a folder.

    Raises:
        DataError: it is a file.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: --out must be a folder")


@contextmanager
def whole(path: Path, several: bool = False) -> Iterator[Path]:
    """A name beside ``path`` to write under; it becomes ``path`` at the end, and goes where writing fails.

    Whoever reads ``path`` meanwhile, or after a kill, finds the old file or the new one. The name begins with a dot, so that
    readers of a whole folder pass it over, and is the same every time, so that what a kill left is written over.

    Args:
        several: processes may write the same file at once; each then has a name of its own.
    """
    own = uuid4().hex if several else hashlib.sha256(path.name.encode()).hexdigest()[:8]
    part = path.with_name(f".{path.name[:40]}.{own}.part")  # no longer than file systems take, however long the name
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def held(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold a folder against a second run into it; the lock goes with the process that holds it.

    Raises:
        DataError: another run is at work there.
    """
    import fcntl  # not on every system, where the rest of this module is used

    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another run is at work there; this line goes on where it ends") from None
        except OSError as error:
            report(f"{folder}: its file system gives no locks ({error.strerror}); see to it that no second run works there")
        yield


def write_whole(path: Path, text: str) -> None:
    """Write a small text file, whole or not at all; several processes may."""
    with whole(path, several=True) as part:
        part.write_text(text)
