"""Content-addressed files: a file is never changed, and equal content is stored once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from bagscan.service.store.database import StoreError, StoreFull

OLD_S = 3600.0  # age from which a file without a row is not of a request in progress
DIGEST = re.compile(r"[0-9a-f]{64}")


class Files:
    """Directory of files named by their SHA-256.

    Args:
        folder: the directory; it is created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes, digest: str | None = None) -> str:
        """Store content atomically, synced to disk, and return its SHA-256.

        Args:
            digest: SHA-256 of the content, if it is known.

        Raises:
            StoreFull: no space is left.
            StoreError: the file cannot be written.
        """
        digest = digest or hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        with convert_disk_errors(path), self._locked(fcntl.LOCK_SH):
            if path.exists():
                os.utime(path)  # protects the file from a sweep
                return digest
            if not path.parent.is_dir():
                path.parent.mkdir(exist_ok=True)
                _sync_folder(self.folder)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(name, path)
                _sync_folder(path.parent)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        return digest

    def path(self, digest: str) -> Path:
        """Return the path of the content with this SHA-256, which need not exist.

        Raises:
            ValueError: ``digest`` is not a SHA-256.
        """
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"not a SHA-256: {digest!r}; expected 64 hexadecimal digits")
        return self.folder / digest[:2] / digest

    def get(self, digest: str) -> bytes:
        """Return the content with this SHA-256, verified.

        Raises:
            StoreError: the file is missing or was altered.
        """
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"the file {digest[:12]} is missing (removed by retention, or lost)"
            ) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"the file {digest[:12]} was altered: its SHA-256 differs")
        return content

    def remove(self, digest: str) -> None:
        """Remove the content with this SHA-256, if it exists."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Yield the SHA-256 of every file."""
        for path in sorted(self.folder.glob("??/*")):
            if DIGEST.fullmatch(path.name):
                yield path.name

    def sweep(self, needed: Set[str], older_than_s: float = OLD_S, now: float | None = None) -> int:
        """Remove unfinished files and files that no row refers to.

        Args:
            needed: SHA-256 of the files that rows refer to.
            older_than_s: minimum age; a row that refers to a younger file can still be written.
            now: time for the ages, in seconds since 1970; by default the machine's clock.

        Returns:
            Number of removed files, without the unfinished ones.
        """
        removed, before = 0, (time.time() if now is None else now) - older_than_s
        for path in self.folder.glob("??/*"):
            if path.name in needed:
                continue
            with self._locked(fcntl.LOCK_EX), contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += DIGEST.fullmatch(path.name) is not None
        return removed

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        """Lock the directory for all processes: shared to write, exclusive to sweep."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, mode)
            yield


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def convert_disk_errors(path: Path) -> Iterator[None]:
    """Convert "no space left" to :class:`StoreFull`, other OSErrors to :class:`StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFull(f"no space is left for {path.name}") from error
        raise StoreError(f"{path.name} cannot be written: {error.strerror}") from error
