"""Exceptions with messages for users: what is wrong, what was expected, what to do."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

MAX_BESIDE = 10_000  # directory entries compared with a missing name


class BagscanError(Exception):
    """Base class of all errors with a message for the user."""


class ReadError(BagscanError):
    """A file could not be read as what it claims to be. The message names the file."""


class ConfigError(BagscanError):
    """A configuration key or value is wrong. The message names file, line and the nearest key."""


class ModelError(BagscanError):
    """A model folder is missing or altered, or the model does not fit the scan."""


class ModelChangedError(ModelError):
    """The model folder of a run or service now holds another model, which must not be used."""


class UnavailableError(BagscanError):
    """A store, network or disk is temporarily unavailable: retry, never record it as a result."""


class DataError(BagscanError):
    """A dataset is missing, empty, or not laid out as expected."""


class TrainingError(BagscanError):
    """Training cannot continue: the loss became NaN or infinite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else ""


def absent(path: str | Path, what: str = "file or folder") -> str:
    """Return ``"PATH: no such file or folder; did you mean 'x'?"``, a message for a missing path.

    The suggestion is the most similar name in the same directory, if there is any.
    """
    path = Path(path)
    try:
        with os.scandir(path.parent) as siblings:
            names = [entry.name for entry in islice(siblings, MAX_BESIDE)]
        # Hidden files are suggested only for hidden names.
        names = [name for name in names if path.name.startswith(".") or name[0] != "."]
    except OSError:
        names = []
    return f"{path}: no such {what}{nearest(path.name, names)}"
