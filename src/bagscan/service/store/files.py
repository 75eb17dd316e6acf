"""Files by content: what is written once is never changed, and the same bytes are kept once."""

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

OLD_S = 3600.0
DIGEST = re.compile(r"[0-9a-f]{64}")


class Files:
    """A folder of files named by their SHA-256.

    Args:
        folder: made where it is absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes, digest: str | None = None) -> str:
        """Keep these bytes, synced to disk under their final name or not at all; returns their SHA-256.

        Args:
            digest: their SHA-256, where it was computed before.

        Raises:
            StoreFull: no space is left.
        """
        digest = digest or hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        with full_disk_told(path), self._locked(fcntl.LOCK_SH):
            if path.exists():
                os.utime(path)  # younger than what a sweep removes
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
        """Where the bytes of this SHA-256 lie, or would.

        Raises:
            ValueError: it is no SHA-256.
        """
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"not a SHA-256: {digest!r}")
        return self.folder / digest[:2] / digest

    def get(self, digest: str) -> bytes:
        """The bytes of this SHA-256, checked.

        Raises:
            StoreError: they are gone, or were altered.
        """
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"the file {digest[:12]} is not there (removed by retention, or lost)"
            ) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"the file {digest[:12]} was altered: its hash is another")
        return content

    def remove(self, digest: str) -> None:
        """Forget these bytes; nothing happens where they are not there."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Every file's SHA-256."""
        for path in sorted(self.folder.glob("??/*")):
            if DIGEST.fullmatch(path.name):
                yield path.name

    def sweep(self, needed: Set[str], older_than_s: float = OLD_S, now: float | None = None) -> int:
        """Remove what a kill left half-written, and files that no row names; returns how many of these.

        Args:
            needed: SHA-256 of the files that rows name. older_than_s: what is younger may belong to a row that is being written.
            now: seconds since 1970 that ages are measured from; by default the machine's clock.
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
    def _locked(self, how: int) -> Iterator[None]:
        """Writers side by side, or a sweep alone; of all processes that share the folder."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, how)
            yield


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Turn "no space left" into :class:`StoreFull`, other faults of the disk into :class:`StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFull(f"no space is left for {path.name}") from error
        raise StoreError(f"{path.name} cannot be written: {error.strerror}") from error
