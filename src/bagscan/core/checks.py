"""Validation helpers for the core types."""

from __future__ import annotations

import math
from typing import Any


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition``."""
    if not condition:
        raise ValueError(message)


def is_number(value: Any) -> bool:
    """Return True for a finite int or float that is not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def freeze(array: Any) -> Any:
    """Return a read-only view of an array, for the fields of a frozen type."""
    view = array.view()
    view.flags.writeable = False
    return view
