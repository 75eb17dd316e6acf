"""Where compiled kernels are kept, so that a machine with a read-only package and home folder screens too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def choose_place() -> None:
    """Name a folder for numba's cache where those that it would find cannot be written: it refuses to compile a kernel that it cannot keep.

    Must be called before numba is imported. What the user has set stays.
    """
    if VARIABLE in os.environ:
        return
    package = Path(__file__).parent
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    if any(_can_be_written(place) for place in (package, home)):
        return
    try:
        os.environ[VARIABLE] = str(Path(tempfile.gettempdir()) / f"bagscan-kernels-{os.getuid()}")
    except FileNotFoundError:  # nowhere at all: numba says so
        return


def is_empty() -> bool:
    """Whether no kernel was compiled yet, so that the first scan waits for them."""
    places = (
        [Path(os.environ[VARIABLE])]
        if VARIABLE in os.environ
        else [Path(__file__).parent, Path("~/.cache/numba").expanduser()]
    )
    return not any(next(place.rglob("*.nbi"), None) for place in places)


def _can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that is there."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return os.access(there, os.W_OK)
