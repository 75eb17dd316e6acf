"""Cache directory of compiled numba kernels."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def choose_place() -> None:
    """Set numba's cache directory to a temporary directory if its defaults are read-only.

    numba does not compile a kernel that it cannot cache. Call this before numba is imported. A
    directory set by the user is kept.
    """
    if VARIABLE in os.environ:
        return
    package = Path(__file__).parent
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    if any(_is_writable(folder) for folder in (package, home)):
        return
    try:
        os.environ[VARIABLE] = str(Path(tempfile.gettempdir()) / f"bagscan-kernels-{os.getuid()}")
    except FileNotFoundError:  # without a temporary directory, numba reports the error
        return


def is_empty() -> bool:
    """Return True if no kernel is cached, so that the first scan waits for compilation."""
    if VARIABLE in os.environ:
        folders = [Path(os.environ[VARIABLE])]
    else:
        folders = [Path(__file__).parent, Path("~/.cache/numba").expanduser()]
    return not any(next(folder.rglob("*.nbi"), None) for folder in folders)


def _is_writable(folder: Path) -> bool:
    """Return True if the folder, or its nearest existing parent, is writable."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(existing, os.W_OK)
