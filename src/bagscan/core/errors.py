"""Errors that a user can act on: what was expected, what came, what to do."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

MAX_BESIDE = 10_000  # names of a folder that are compared


class BagscanError(Exception):
    """Anything that bagscan refuses to do, with the reason as its message."""


class ReadError(BagscanError):
    """A file could not be read as what it claims to be. The message names the file."""


class ConfigError(BagscanError):
    """A configuration key or value is wrong. The message names file, line and the nearest key."""


class ModelError(BagscanError):
    """A model folder is missing, altered, or does not fit the scan it was given."""


class ModelChangedError(ModelError):
    """Another model lies where that of a run or of a service lay: nothing may be judged by it in its place."""


class UnavailableError(BagscanError):
    """Something outside a scan is gone for now, a store, a network, a disk: to be tried again, and never a scan's result."""


class DataError(BagscanError):
    """A dataset is absent, empty, or not laid out as expected."""


class TrainingError(BagscanError):
    """Training cannot continue: the loss became NaN or infinite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else ""


def absent(path: str | Path, what: str = "file or folder") -> str:
    """``"PATH: no such file or folder; did you mean 'x'?"``, x being what lies beside it under the nearest name."""
    path = Path(path)
    try:
        with os.scandir(path.parent) as beside:
            names = [entry.name for entry in islice(beside, MAX_BESIDE)]
    except OSError:
        names = []
    return f"{path}: no such {what}{nearest(path.name, names)}"
